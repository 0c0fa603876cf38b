"""A live view of the service: trees, queue, the last encodes, the slowest, what failed.

Keys: q ends it. It follows the size of the terminal. Without a terminal on stdout, or with --once,
one view is printed and that is all.
"""

import argparse
import contextlib
import io
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from btfd.api.client import Client
from btfd.cli import changes
from btfd.cli.events import as_event
from btfd.cli.output import Output
from btfd.cli.status import span
from btfd.engine import Core
from btfd.feedback import ranked
from btfd.journal import Event

#: Seconds between two looks.
EVERY = 0.5
#: Events that are kept for the view, and the slowest encodes among them.
KEPT = 200
SLOWEST = 5
_DONE = frozenset({"encoded", "unchanged"})
#: What changed in vmlinux itself.
BASE_TYPES = "base-types"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE", help="any path in a tree")
    parser.add_argument("--once", action="store_true", help="print one view")


@dataclass
class View:
    """What is shown: the last status, and what happened lately."""

    status: Mapping[str, Any] = field(default_factory=dict)
    failed: Sequence[Mapping[str, Any]] = ()
    last: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT))

    def take(self, events: Sequence[Event]) -> None:
        told = _DONE | {"failed", BASE_TYPES}
        self.last.extend(e for e in events if e.kind in told)

    def slowest(self) -> list[Event]:
        done = {e.path: e for e in self.last if e.kind in _DONE}
        return sorted(done.values(), key=lambda e: -_took(e))[:SLOWEST]


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    tree = None if args.tree is None else os.path.abspath(args.tree)
    view = View()
    with Client() as client:
        since = _look(client, tree, view, "")
        if out.json:
            out.object({"status": view.status, "events": [e.as_json() for e in view.last]})
            return 0
        if args.once or not sys.stdout.isatty():
            size = shutil.get_terminal_size((80, 24))
            for line in render(view, size.columns, max(size.lines, 24), out):
                out.line(line)
            return 0
        with _screen() as key:
            while True:
                size = shutil.get_terminal_size((80, 24))
                lines = render(view, size.columns, size.lines, out)
                # Each line is cleared by itself, so that nothing flickers; what is below only where
                # there is something: behind a full line, that would take its last character.
                text = "\r\n".join(f"\x1b[2K{line}" for line in lines)
                rest = "\r\n\x1b[J" if len(lines) < size.lines else ""
                sys.stdout.write(f"\x1b[H{text}{rest}")
                sys.stdout.flush()
                if key(EVERY) in ("q", "Q", "\x03"):
                    return 0
                since = _look(client, tree, view, since)


def _look(client: Client, tree: str | None, view: View, since: str) -> str:
    view.status = client.call("Status", {"tree": tree})
    told = client.call("Events", {"tree": tree, "since": since})
    view.take([as_event(e) for e in told["events"]])
    if any(t["modules"].get("failed") for t in view.status["trees"]):
        found = client.call("Modules", {"tree": tree, "states": ["failed"]})
        view.failed = found["modules"]
    else:
        view.failed = ()
    generation: str = told["generation"]
    return generation


@contextlib.contextmanager
def _screen() -> Iterator[Any]:
    """The other screen of the terminal, without echo; gives a function that waits for a key."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor) if sys.stdin.isatty() else None
    # A pipe makes a resize end the wait.
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    old = signal.signal(signal.SIGWINCH, lambda *_: None)
    old_descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def key(seconds: float) -> str:
        watched = [reader] + ([descriptor] if before is not None else [])
        ready, _, _ = select.select(watched, [], [], seconds)
        if reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
        return os.read(descriptor, 1).decode(errors="replace") if descriptor in ready else ""

    try:
        if before is not None:
            tty.setcbreak(descriptor)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[?7l")
        yield key
    finally:
        sys.stdout.write("\x1b[?7h\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        signal.set_wakeup_fd(old_descriptor)
        signal.signal(signal.SIGWINCH, old)
        if before is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        os.close(reader)
        os.close(writer)


def render(view: View, width: int, height: int, out: Output) -> list[str]:
    """The view in at most `height` lines of at most `width` columns."""
    status = view.status
    now = time.time()
    head = (
        f"btfd {status['version']}  process {status['process']}  up "
        f"{span(now - status['started'])}  {status['resident_bytes'] >> 20} MB"
    )
    lines: list[tuple[str, str | None]] = [(head, "bold")]
    for tree in status["trees"]:
        counts = [f"{n} {state}" for state, n in sorted(tree["modules"].items()) if n]
        counts += [f"{tree['queued']} queued", f"{tree['running']} running"]
        colour = None if tree["state"] == "ready" else "yellow"
        lines.append((f"{_left(tree['root'], width // 2)}  {tree['state']}", colour))
        lines.append((f"  {', '.join(counts)}", None))
        if tree["reason"]:
            lines.append((f"  {tree['reason']}", "yellow"))
    column = _column(view, width)
    blocks: list[tuple[str, list[tuple[str, str | None]]]] = []
    if view.failed:
        rows: list[tuple[str, str | None]] = [
            (f"{_name(m['module'], column)}  {m['reason'] or m['because']}", "red")
            for m in view.failed
        ]
        blocks.append((f"failed ({len(rows)})", rows))
    slow: list[tuple[str, str | None]] = [
        (f"{_name(e.path or '', column)}  {_took(e):8.1f} ms  {_stages(e)}", None)
        for e in view.slowest()
    ]
    blocks.append(("slowest", slow))
    last: list[tuple[str, str | None]] = []
    for event in reversed(view.last):
        last.append((_event(event, column), "red" if event.kind == "failed" else None))
        told = ranked(event.fields.get("feedback") or ())
        plain = Output(stdout=io.StringIO())  # colours come line by line
        said = changes.lines(told, plain, most=3, whole=event.fields.get("counts"))
        last += [(f"    {text}", "dim") for text in said]
    blocks.append(("last", last or [("  nothing yet", "dim")]))
    # What failed and what was last get the room; the rest is cut.
    room = height - len(lines)
    for index, (title, rows) in enumerate(blocks):
        later = len(blocks) - index - 1
        most = max(1, room - 2 - 3 * later)
        if room < 3:
            break
        if index < len(blocks) - 1:
            most = min(most, SLOWEST)
        lines.append(("", None))
        lines.append((title, "bold"))
        lines += [("  " + text if not text.startswith(" ") else text, c) for text, c in rows[:most]]
        room = height - len(lines)
    cut = [(_fit(text, width), colour) for text, colour in lines[:height]]
    return [out.paint(text, colour) if colour else text for text, colour in cut]


def _event(event: Event, column: int) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(event.time))
    name = _name(event.path or "", column)
    if event.kind == "failed":
        return f"{when}  {name}  {event.fields.get('reason')}"
    if event.kind == BASE_TYPES:
        said = changes.counted(event.fields["counts"]) or "no type changed"
        return f"{when}  {name}  {said}"
    size = f"{event.fields.get('split_bytes') or 0:>8} bytes"
    full = event.fields.get("full_bytes")
    whole = f" of {full}" if full else ""
    word = "" if event.kind == "encoded" else f"  {event.kind}"
    return f"{when}  {name}  {_took(event):8.1f} ms  {size}{whole}{word}"


def _took(event: Event) -> float:
    return float(sum(event.fields["milliseconds"].values()))


def _stages(event: Event) -> str:
    stages = sorted(event.fields["milliseconds"].items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {ms:.1f}" for name, ms in stages[:3])


def _column(view: View, width: int) -> int:
    """How wide the column of names is: as the longest of them, but a third of the width at most."""
    names = [e.path or "" for e in view.last] + [str(m["module"]) for m in view.failed]
    return min(max(16, width // 3), max(map(len, names), default=0))


def _name(path: str, column: int) -> str:
    """A module in its column."""
    return f"{_left(path, column):<{column}}"


def _left(text: str, most: int) -> str:
    """The end of a path matters most."""
    return text if len(text) <= most else "…" + text[-(most - 1) :]


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
