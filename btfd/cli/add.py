"""Lets the service follow a kernel build tree (the O= directory), from now on and after a restart.

TREE may also be a directory of external modules, with --base: kbuild never makes their BTF anew
when vmlinux changes, btfd does. --use tells who makes the BTF of modules, where auto.conf does not
tell it right.
"""

import argparse
import os

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core
from btfd.kbuild import CHOICES


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", metavar="TREE")
    parser.add_argument(
        "--base",
        metavar="BASE",
        help="for external modules: vmlinux or build tree of their kernel",
    )
    parser.add_argument("--use", choices=CHOICES, help="who makes the BTF of modules")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    with Client() as client:
        base = None if args.base is None else os.path.abspath(args.base)
        wanted = {"root": os.path.abspath(args.tree), "use": args.use, "base": base}
        reply = client.call("AddTree", wanted)
    out.object(reply)
    out.line(f"{reply['root']}: {'added' if reply['added'] else 'is followed already'}")
    return 0
