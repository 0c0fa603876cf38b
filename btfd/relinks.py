"""The units of modules that somebody is at work on, so that an edit costs what it changed.

Contract: `before` says what an encode of a module may begin with, None where that is not worth
while; `after` takes what the encode remembers. Only modules of `FEW` units or more are remembered,
those that were linked last, up to `LIMIT` bytes. Nothing depends on it but time. Any thread.

Cost: the memory, 20 MB for a module of 100 units (xfs). An encode that remembers takes a tenth
longer, the next one half as long or less.
"""

import threading
from collections import OrderedDict

from btfd.engine import Core, Encoded, Remembered

#: Of fewer units, the one that was edited is most.
FEW = 4
#: Bytes of all that is remembered.
LIMIT = 40 << 20


class Relinks:
    """What was remembered of the modules of a tree."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Remembered] = OrderedDict()
        self._whole: dict[str, int] = {}
        """Modules that are read whole each time, and how many units they had at the time."""

    def has(self, path: str) -> bool:
        """Whether anything is remembered of a module."""
        with self._lock:
            return path in self._known

    def before(self, path: str) -> Remembered | None:
        """What an encode may begin with."""
        with self._lock:
            if path in self._whole:
                return None
            return self._known.get(path) or self._core.remember_nothing()

    def after(self, path: str, made: Encoded) -> None:
        """Takes what an encode remembers of a module."""
        remembered, units = made.remembered, made.units[0]
        with self._lock:
            if remembered is None:
                if units >= FEW > self._whole.get(path, FEW):
                    del self._whole[path]  # it has grown: the next encode remembers
                return
            self._known.pop(path, None)
            if units < FEW or not 0 < remembered.size <= LIMIT:
                self._whole[path] = units
                return
            self._known[path] = remembered
            while sum(known.size for known in self._known.values()) > LIMIT:
                self._known.popitem(last=False)

    def forget(self) -> None:
        """Lets all memory go."""
        with self._lock:
            self._known.clear()
