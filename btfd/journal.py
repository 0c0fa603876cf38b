"""The ordered history of what happened.

Contract: every event gets the next generation, `<start id>:<number>`; numbers have no gaps. The
start id differs from run to run, so that a generation of another run is never mistaken for one of
this. The newest events stay in memory, at most `keep` of them and at most `limit` bytes; whoever
asks for older ones is told that history is gone (`fresh`), and must look at everything. With `keep`
0 there are only subscribers. They are called in the thread that records. Fields are what JSON can
hold.

Cost: what is kept lies here as JSON, a fifth of what the objects would take: an encode is 600
bytes, with what an edit changed 1 to 100 kB. Recording takes 7 us beside the subscribers, reading
back 6 us an event.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

#: Events that are kept, and the bytes that they may take.
KEEP = 10_000
LIMIT = 8 << 20
#: What an event takes beside its fields.
OVERHEAD = 200


_pack = json.JSONEncoder(separators=(",", ":")).encode


class Event(NamedTuple):
    """Something that happened. `kind` is a word such as encoded, failed, base-changed, lost."""

    generation: str
    time: float
    kind: str
    path: str | None = None
    fields: Mapping[str, Any] = MappingProxyType({})

    def as_json(self) -> dict[str, Any]:
        """The event as one flat object."""
        out: dict[str, Any] = {
            "event": self.kind,
            "generation": self.generation,
            "time": round(self.time, 6),
        }
        if self.path is not None:
            out["path"] = self.path
        out.update(self.fields)
        return out


class History(NamedTuple):
    """Events after a generation. `fresh`: some are gone, treat everything as changed."""

    events: tuple[Event, ...]
    fresh: bool
    generation: str
    """To ask from next time: of the last of them, or what was asked from where there are none."""


class _Kept(NamedTuple):
    """An event at rest."""

    number: int
    time: float
    kind: str
    path: str | None
    fields: bytes

    @property
    def size(self) -> int:
        return OVERHEAD + len(self.fields)


class Journal:
    """History of one run."""

    def __init__(self, keep: int = KEEP, limit: int = LIMIT) -> None:
        self.start_id = os.urandom(4).hex()
        self._keep, self._limit = keep, limit
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._number = 0
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Event], None]] = []

    @property
    def generation(self) -> str:
        """Of the newest event."""
        return self._name(self._number)

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Every later event is handed to `callback`."""
        self._subscribers.append(callback)

    def record(self, kind: str, path: str | None = None, **fields: Any) -> Event:
        """Appends an event."""
        packed = _pack(fields).encode() if self._keep else b""
        with self._lock:
            self._number += 1
            event = Event(self.generation, time.time(), kind, path, fields)
            if self._keep:
                self._append(_Kept(self._number, event.time, kind, path, packed))
        for callback in self._subscribers:
            callback(event)
        return event

    def _append(self, kept: _Kept) -> None:
        self._kept.append(kept)
        self._bytes += kept.size
        while len(self._kept) > self._keep or self._bytes > self._limit:
            self._bytes -= self._kept.popleft().size

    def of(self, tree: str) -> "TreeJournal":
        """This history, for one who records what happens to one tree."""
        return TreeJournal(self, tree)

    def since(self, generation: str | None) -> History:
        """Events after `generation`; all that are kept, and `fresh`, where it is not known."""
        with self._lock:
            number = self._number_of(generation)
            after = -1 if number is None else number
            kept = list(takewhile(lambda k: k.number > after, reversed(self._kept)))[::-1]
            now = self._number
        events = tuple(map(self._event, kept))
        return History(events, number is None or len(kept) < now - number, self._name(now))

    def latest(self, path: str, tree: str, count: int) -> tuple[Event, ...]:
        """The last `count` events that are kept of a path of a tree, oldest first."""
        with self._lock:
            kept = [k for k in self._kept if k.path == path]
        events = filter(lambda e: e.fields.get("tree") == tree, map(self._event, reversed(kept)))
        return tuple(islice(events, count))[::-1]

    def _event(self, kept: _Kept) -> Event:
        fields: dict[str, Any] = json.loads(kept.fields)
        return Event(self._name(kept.number), kept.time, kept.kind, kept.path, fields)

    def _name(self, number: int) -> str:
        return f"{self.start_id}:{number}"

    def _number_of(self, generation: str | None) -> int | None:
        start, _, number = (generation or "").partition(":")
        if start != self.start_id or not number.isdecimal() or int(number) > self._number:
            return None
        return int(number)


class Recorder(Protocol):
    """Where events go."""

    def record(self, kind: str, path: str | None = None, **fields: Any) -> Event:
        """Appends an event."""
        ...


class TreeJournal:
    """A journal in which every event bears the name of a tree."""

    def __init__(self, journal: Journal, tree: str) -> None:
        self.journal, self.tree = journal, tree

    def record(self, kind: str, path: str | None = None, **fields: Any) -> Event:
        return self.journal.record(kind, path, tree=self.tree, **fields)
