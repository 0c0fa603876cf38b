"""Tells why a module is in its state: what is known of it, and what happened to it.

MODULE: a path, or a name such as veth. --json: the reply of io.btfd.Why.
"""

import argparse
import os
import time

from btfd.api.client import Client
from btfd.cli import modules, phrases
from btfd.cli.events import as_event
from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", metavar="MODULE")
    parser.add_argument("--tree", metavar="TREE", help="any path in the tree that is meant")


def named(module: str) -> str:
    """A module as the service takes it: what is a file here is meant by its whole path."""
    return os.path.abspath(module) if os.path.lexists(module) else module


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    tree = None if args.tree is None else os.path.abspath(args.tree)
    with Client() as client:
        found = client.call("Why", {"module": named(args.module), "tree": tree})
    out.object(found)
    module = found["module"]
    out.line(modules.line(module, out, whole=True))
    if module["hint"]:
        out.line(f"  hint: {module['hint']}")
    if module["base"]:
        out.line(f"  over the base {module['base'][:12]}")
    for told in found["events"]:
        event = as_event(told)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        out.line(f"  {when} {event.kind}: {phrases.words(event)}")
    return 0
