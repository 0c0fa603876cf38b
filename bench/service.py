"""A `btfd watch --json` under measurement: its events with their times, and its memory.

Contract: times are those of the daemon's own events (seconds since 1970), so a slow reader does not
lengthen them. `until` waits for what it names; after `PATIENCE` it fails with what the daemon said.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import CannotMeasure
from tests.support.run import KBUILD_FEATURES

#: Seconds until a daemon that says nothing counts as broken.
PATIENCE = 600.0

Event = dict[str, Any]


#: Modules of packages have kbuild's BTF, made with what its pahole knew at the time.
ENCODER = {"BTFD_USE": "watcher", "BTFD_BTF_FEATURES": KBUILD_FEATURES.replace(",", ":")}


class Service:
    """The daemon over one tree, with a cache of its own. A context manager."""

    def __init__(self, tree: Path, cache: Path, jobs: int) -> None:
        self.said: list[Event] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "btfd", "watch", str(tree), "--json", f"-j{jobs}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env={
                **os.environ,
                **ENCODER,
                "XDG_CACHE_HOME": str(cache),
                "XDG_RUNTIME_DIR": str(cache),
            },
        )
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event that is `wanted`; all up to it are in `said`."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise CannotMeasure(self._trouble("the daemon says nothing")) from None
            if event is None:
                raise CannotMeasure(self._trouble("the daemon ended"))
            self.said.append(event)
            if wanted(event):
                return event

    def until_modules(self, count: int) -> Event:
        """The event of the last of `count` modules that are done with, from now on."""
        left = set[str]()

        def last(event: Event) -> bool:
            if event["event"] == "failed":
                raise CannotMeasure(f"{event.get('path')}: {event.get('reason')}")
            if event["event"] in ("encoded", "unchanged", "skipped"):
                left.add(event["path"])
            return len(left) == count

        return self.until(last)

    def memory(self) -> int:
        """Resident bytes at this moment."""
        return self._status("VmRSS")

    def cpu(self) -> float:
        """Seconds of processor time up to now."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
        raise CannotMeasure(f"no {key} of the daemon")

    def _trouble(self, what: str) -> str:
        return f"{what}: {''.join(self._errors[-3:]).strip() or self.said[-1:]}"


def is_a(kind: str) -> Callable[[Event], bool]:
    """Whether an event is of this kind."""
    return lambda event: event["event"] == kind
