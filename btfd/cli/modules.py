"""Lists the modules of the trees that the service follows, and the state of their BTF.

The states: encoded, kept (made by kbuild, and right), stale, failed, skipped (no DWARF). --json:
one object a module, as in io.btfd.
"""

import argparse
import os
from typing import Any

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core

STATES = ("encoded", "kept", "stale", "failed", "skipped")

_COLOURS = {"encoded": "green", "kept": "green", "stale": "yellow", "failed": "red"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE", help="any path in a tree")
    parser.add_argument(
        "--state", action="append", choices=STATES, help="only those in this state; may be repeated"
    )


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    tree = None if args.tree is None else os.path.abspath(args.tree)
    with Client() as client:
        found = client.call("Modules", {"tree": tree, "states": args.state})["modules"]
    several = len({module["tree"] for module in found}) > 1
    for module in found:
        out.object(module)
        out.line(line(module, out, whole=several))
    return 0


def line(module: dict[str, Any], out: Output, *, whole: bool = False) -> str:
    """One module for people. `whole`: with its tree."""
    path = os.path.join(module["tree"], module["module"]) if whole else module["module"]
    state = out.paint(module["state"], _COLOURS.get(module["state"], "dim"))
    text = f"{path}: {state}"
    if module["types"] is not None:
        text += f", {module['types']} types, {module['split_bytes']} bytes"
    if module["because"]:
        text += f" ({module['because']})"
    if module["reason"]:
        text += f": {module['reason']}"
    return text
