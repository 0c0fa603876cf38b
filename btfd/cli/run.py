"""Serves build trees: keeps their BTF right, and answers the other verbs and kbuild's drop-in.

The trees are those of the configuration and those given with `btfd add`. SIGHUP and `btfd reload`
read the configuration again; SIGINT, SIGTERM and `btfd stop` end it.
"""

import argparse

from btfd import service, syslog
from btfd.api import address, wire
from btfd.cli import phrases
from btfd.cli.output import Output
from btfd.engine import Core, native


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    listener = address.listen(wire.socket_path())
    show = syslog.sender() or (lambda event: phrases.show(event, out))
    try:
        return service.start(core or native(), listener, show)
    finally:
        listener.close()
