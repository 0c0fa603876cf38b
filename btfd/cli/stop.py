"""Ends the service, after what is running. systemd may start it again on the next call."""

import argparse

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    with Client() as client:
        reply = client.call("Stop")
    out.object(reply)
    out.line("stopping")
    return 0
