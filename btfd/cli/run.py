"""Serves build trees: keeps their BTF right, and answers the other verbs and kbuild's drop-in.

The trees are those of the configuration and those given with `btfd add`. SIGHUP and `btfd reload`
read the configuration again, SIGINT, SIGTERM and `btfd stop` end it.
"""

import argparse
import asyncio

from btfd import config
from btfd.api import address, wire
from btfd.cli.output import Output
from btfd.engine import Core, native
from btfd.service import Service

SUMMARY = "the service: many trees, and the interface for everything else"


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load({})
    core = core or native()
    listener = address.listen(wire.socket_path())

    async def serve() -> int:
        return await Service(core, settings, listener).run()

    return asyncio.run(serve())
