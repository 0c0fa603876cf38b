"""What the service does: its trees, whether each is heard, who makes the BTF there, and how many
modules are in which state.

TREE: any path in a tree, to see that one only. --json: the reply of io.btfd.Status.
"""

import argparse
import os
import time
from typing import Any

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core

_COLOURS = {"ready": "green", "waiting": "yellow", "degraded": "yellow", "starting": "dim"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    tree = None if args.tree is None else os.path.abspath(args.tree)
    with Client() as client:
        status = client.call("Status", {"tree": tree})
    out.object(status)
    out.line(
        f"btfd {status['version']}, process {status['process']}, up "
        f"{span(time.time() - status['started'])}, {status['resident_bytes'] >> 20} MB, "
        f"{plural(status['bases'], 'base')}, {plural(status['encoded'], 'order')} served"
    )
    for found in status["trees"]:
        for line in tree_lines(found, out):
            out.line(line)
    if not status["trees"]:
        out.line("no trees; `btfd add TREE` adds one")
    return 0


def tree_lines(tree: dict[str, Any], out: Output) -> list[str]:
    """A tree for people."""
    state = out.paint(tree["state"], _COLOURS.get(tree["state"], "red"))
    lines = [f"{tree['root']}: {state}" + (f", {tree['reason']}" if tree["reason"] else "")]
    if tree["hint"]:
        lines.append(f"  hint: {tree['hint']}")
    if tree["state"] == "starting":
        return lines
    release = f"Linux {tree['kernel_release']}, " if tree["kernel_release"] else ""
    base = f"base {tree['base'][:12]}" if tree["base"] else "no base"
    counts = ", ".join(f"{n} {state}" for state, n in sorted(tree["modules"].items()))
    total = sum(tree["modules"].values())
    lines.append(f"  {release}{base}, {plural(total, 'module')}" + (counts and f": {counts}"))
    who = {"kbuild": "kbuild makes the BTF", "watcher": "btfd makes the BTF"}.get(tree["use"], "")
    lines.append(f"  {who} ({tree['use_origin']})")
    if tree["queued"] or tree["running"]:
        lines.append(f"  {tree['queued']} queued, {tree['running']} running")
    if tree["losses"]:
        lines.append(f"  events lost {tree['losses']} times, last: {tree['last_loss']}")
    lines += [f"  {warning}" for warning in tree["warnings"]]
    return lines


def plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def span(seconds: float) -> str:
    """A length of time for people."""
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
