"""Lets the service follow a tree no longer.

A tree of the configuration comes back with the next start.
"""

import argparse
import os

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", metavar="TREE", help="any path in the tree")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    with Client() as client:
        reply = client.call("RemoveTree", {"root": os.path.abspath(args.tree)})
    out.object(reply)
    out.line(f"{reply['root']}: removed")
    return 0
