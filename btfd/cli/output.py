"""How the command line speaks: data on stdout, everything else on stderr.

Contract: colour only on a terminal, never with NO_COLOR or TERM=dumb. With --json, stdout carries
one object a line and nothing else. An error is `btfd: <file>: <cause>`, then `hint: ...` on its own
line. The progress bar appears on a terminal's stderr only, and only after half a second. File names
pass through byte by byte, whatever their encoding.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from btfd.errors import Problem

_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_BAR_AFTER = 0.5
_BAR_EVERY = 0.1


class Output:
    """Where words go."""

    def __init__(
        self, *, json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.json = json
        self._out = stdout or sys.stdout
        self._err = stderr or sys.stderr
        for stream in (self._out, self._err):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                with contextlib.suppress(ValueError, OSError):
                    reconfigure(errors="surrogateescape")
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        terminals = [s for s in (self._out, self._err) if s is not None and s.isatty()]
        self._coloured = frozenset[TextIO]() if plain else frozenset(terminals)
        self._has_bar = self._err in terminals
        self._started = time.monotonic()
        self._drawn = 0.0
        self._bar = False
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def paint(self, text: str, colour: str, stream: TextIO | None = None) -> str:
        """The text in colour where the stream is a terminal that wants it."""
        if (stream or self._out) not in self._coloured:
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

    def line(self, text: str) -> None:
        """A line of text for people; nothing with --json."""
        if not self.json:
            self._clear_bar()
            self._write(self._out, text)

    def object(self, value: Mapping[str, Any]) -> None:
        """A line of JSON; nothing without --json."""
        if self.json:
            self._clear_bar()
            self._write(self._out, json.dumps(value, separators=(",", ":")))

    def text(self, text: str) -> None:
        """Data as it is."""
        self._clear_bar()
        self._out.write(text)

    def note(self, text: str, hint: str | None = None) -> None:
        """A remark on stderr, and what can be done about it."""
        self._clear_bar()
        self._write(self._err, f"btfd: {text}" + (f"\nhint: {hint}" if hint else ""))

    def _write(self, stream: TextIO, text: str) -> None:
        """Whole lines: several trees may speak at once."""
        with self._lock:
            stream.write(text + "\n")
            stream.flush()

    def note_once(self, text: str) -> None:
        """The same remark about many files is made once."""
        if text not in self._said:
            self._said.add(text)
            self.note(text)

    def problem(self, problem: Problem) -> None:
        """An error with its hint on stderr."""
        self.failure(problem.path, problem.cause, problem.hint)

    def failure(self, path: str | None, cause: str, hint: str | None = None) -> None:
        """`btfd: path: cause`, then the hint."""
        where = f"{path}: " if path else ""
        self.note(f"{where}{self.paint(cause, 'red', self._err)}", hint)

    def progress(self, done: int, total: int) -> None:
        """Draws the bar, if there is a terminal and the work is long."""
        if not self._has_bar or total < 2:
            return
        now = time.monotonic()
        if now - self._started < _BAR_AFTER or now - self._drawn < _BAR_EVERY:
            return
        self._drawn = now
        if done >= total:
            self._clear_bar()
            return
        full = 30 * done // total
        bar = "#" * full + "." * (30 - full)
        self._err.write(f"\r[{bar}] {done}/{total} ")
        self._err.flush()
        self._bar = True

    def _clear_bar(self) -> None:
        if self._bar:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._bar = False
