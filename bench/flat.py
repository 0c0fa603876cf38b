"""Whether a service keeps what it should give back: what it holds at rest, and the verdict.

Contract: memory is compared only between *rests*, moments in which whoever drives the service has
brought it into one and the same state and left it alone until it gave free memory back. What it
holds then depends on that state and on what has leaked, not on how much it was loaded in between,
nor on the machine. `verdict` compares the lowest rest of the last third with the lowest of the
second; the first third is for caches that fill. A leak of `LEAK` bytes an encode must show, so with
too few encodes in between nothing is proved, and the verdict is False.

Held is anonymous memory, swapped or not: pages of files come and go as the machine likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

#: Bytes that two rests in the same state may be apart, with nothing leaked: the C library keeps up
#: to 2 MB at the end of each of two arenas (`btfd.memory`).
NOISE = 4 << 20
#: Bytes an encode that have to be seen.
LEAK = 2 << 10


@dataclass(frozen=True, slots=True)
class Rest:
    """A service with nothing to do."""

    seconds: int
    encoded: int
    """Modules, up to now."""
    held: int
    """Bytes."""
    descriptors: int
    threads: int


class Meter:
    """What /proc says of a process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def resident(self) -> int:
        """Bytes, pages of files too."""
        return self._status("VmRSS") << 10

    def rest(self, seconds: float, encoded: int) -> Rest:
        """What is held now."""
        held = self._status("RssAnon") + self._status("VmSwap") << 10
        descriptors = len(os.listdir(self._folder / "fd"))
        return Rest(round(seconds), encoded, held, descriptors, self._status("Threads"))

    def cpu(self) -> float:
        """Seconds of processor time up to now."""
        said = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")

    def ran(self) -> float:
        """The same of the threads that live, to the nanosecond."""
        said = [t.read_text() for t in (self._folder / "task").glob("*/schedstat")]
        return sum(int(line.split()[0]) for line in said) / 1e9

    def switches(self) -> int:
        """Voluntary context switches of all threads: how often it woke up."""
        return sum(
            _number(status.read_text(), "voluntary_ctxt_switches")
            for status in (self._folder / "task").glob("*/status")
        )

    def _status(self, key: str) -> int:
        return _number((self._folder / "status").read_text(), key)


def _number(status: str, key: str) -> int:
    for line in status.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise KeyError(key)


def table(rests: Sequence[Rest]) -> Iterator[list[str | int]]:
    """Head and lines, for a file."""
    yield [field.name for field in fields(Rest)]
    for rest in rests:
        yield [getattr(rest, field.name) for field in fields(Rest)]


def verdict(rests: Sequence[Rest]) -> tuple[bool, str]:
    """Whether nothing has grown, and why that is so."""
    size = len(rests) // 3
    if size < 2:
        return False, f"{len(rests)} rests are too few to tell"
    second, last = rests[-2 * size : -size], rests[-size:]

    def lowest(name: str) -> tuple[int, int]:
        return min(getattr(r, name) for r in second), min(getattr(r, name) for r in last)

    before, after = lowest("held")
    work = last[0].encoded - second[0].encoded
    said = (
        f"held at rest: {before / 2**20:.1f} MiB in the second third, {after / 2**20:.1f} in the "
        f"last; {work} encodes between, {(after - before) / max(work, 1):+.0f} bytes for each"
    )
    if after - before > NOISE:
        return False, said
    for name in ("descriptors", "threads"):
        few, many = lowest(name)
        if many > few:
            return False, f"{said}; {few} {name} have become {many}"
    if work * LEAK < 2 * NOISE:
        return False, f"{said}: too few to tell"
    return True, said
