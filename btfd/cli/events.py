"""Shows what happens, as it happens: one line an event.

--since G goes on after generation G, as --json tells it of every event; where some events since
then are not known any more, that is said first. --json: one object an event; one with
`"fresh": true` stands for a gap.
"""

import argparse
import os

from btfd.api.client import Client
from btfd.cli import phrases
from btfd.cli.output import Output
from btfd.engine import Core
from btfd.journal import Event


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE", help="any path in a tree")
    parser.add_argument("--since", metavar="G", help="events after this generation")
    parser.add_argument("-n", "--number", type=_count, metavar="N", help="end after so many events")
    parser.add_argument(
        "--now", action="store_true", help="end when everything known by now is shown"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    tree = None if args.tree is None else os.path.abspath(args.tree)
    since = args.since if args.since is not None or not args.now else ""
    wanted = {"since": since, "tree": tree}
    left = args.number
    with Client() as client:
        replies = iter([client.call("Events", wanted)]) if args.now else None
        for reply in replies or client.stream("Events", wanted):
            if reply["fresh"] and args.since is not None:
                out.object({"fresh": True, "generation": reply["generation"]})
                if not out.json:
                    out.note("some events since then are not known any more")
            for event in reply["events"]:
                phrases.show(as_event(event), out)
                if left is not None:
                    left -= 1
                    if not left:
                        return 0
    return 0


def as_event(told: dict[str, object]) -> Event:
    """The event that `Event.as_json` told of."""
    known = ("event", "generation", "time", "path")
    return Event(
        str(told["generation"]),
        float(str(told["time"])),
        str(told["event"]),
        None if told.get("path") is None else str(told["path"]),
        {key: value for key, value in told.items() if key not in known},
    )
