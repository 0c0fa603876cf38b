"""Waits until all that was written before is encoded.

Whatever was closed before the call has its BTF when this ends with status 0: of all modules of all
trees, of one tree, or of the modules named.

exit status:
  0  done
  1  a module failed (the reason is on stderr), or there is no service
  2  the time was over; also, as everywhere, a wrong command line
  3  interrupted
"""

import argparse
import os

from btfd.api import wire
from btfd.api.client import Client
from btfd.api.wire import Fault
from btfd.cli.output import Output
from btfd.cli.why import named
from btfd.engine import Core

TIME_OVER = 2
INTERRUPTED = 3
_SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a path or a name")
    parser.add_argument("--tree", metavar="TREE", help="only this tree")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds (default: as long as it takes)"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    wanted = {
        "modules": [named(module) for module in args.modules] or None,
        "tree": None if args.tree is None else os.path.abspath(args.tree),
        "timeout": args.timeout,
    }
    try:
        with Client() as client:
            failed = client.call("Wait", wanted)["failed"]
    except KeyboardInterrupt:
        return INTERRUPTED
    except Fault as e:
        if e.name != f"{wire.INTERFACE}.TimedOut":
            raise
        pending = e.parameters["pending"]
        out.object({"result": "timeout", "pending": pending, "failed": []})
        more = ", ..." if len(pending) > _SHOWN else ""
        names = ", ".join(pending[:_SHOWN]) + more
        out.note(f"the time was over with {len(pending)} modules left" + (names and f": {names}"))
        return TIME_OVER
    out.object({"result": "failed" if failed else "done", "pending": [], "failed": failed})
    for module in failed[:_SHOWN]:
        path = os.path.join(module["tree"], module["module"])
        out.failure(path, module["reason"] or f"stale ({module['because']})", module["hint"])
    if len(failed) > _SHOWN:
        out.note(f"and {len(failed) - _SHOWN} more", "`btfd modules --state failed` lists them all")
    return 1 if failed else 0
