"""Loaded bases, shared by trees and clients.

Contract: a base is parsed once for all who ask for the same BTF, under whatever path. `load` gives
what is at a path now; `at` gives it only where it is the file of a stamp; `copy` gives the one of a
digest, from a file that may have been damaged. The `KEEP` paths loaded last stay loaded; others are
dropped as soon as nobody holds them. Safe from any thread; loading is done by one at a time, the
others wait for it.

Cost: reading and hashing 4 MB takes 5 ms, parsing and indexing 15 ms; a base takes about 15 MB.
"""

import hashlib
import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from btfd.encode import BaseInfo, kernel_release
from btfd.engine import Base, Core, Stamp, stamp_of
from btfd.errors import Problem

KEEP = 4


class Bases:
    """Every base of this process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._loaded: WeakValueDictionary[str, Base] = WeakValueDictionary()
        self._recent: OrderedDict[str, tuple[Stamp, BaseInfo]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._loaded)

    def load(self, path: str) -> BaseInfo:
        """The base at `path`. Raises Problem."""
        with self._lock:
            return self._load(path, stamp_of(path))

    def at(self, path: str, stamp: Stamp) -> BaseInfo | None:
        """The base at `path` where that is the file of this stamp; None where it is another."""
        with self._lock:
            if stamp_of(path) != stamp:
                return None
            base = self._load(path, stamp)
            return base if path in self._recent else None

    def copy(self, path: str, digest: str) -> Base | None:
        """The base of this digest: one that is loaded, else the raw BTF at `path` if it is that.

        Raises Problem.
        """
        with self._lock:
            base = self._loaded.get(digest)
            if base is None:
                btf = self._core.read_btf(path)
                if _digest(btf) != digest:
                    return None
                base = self._loaded[digest] = self._core.parse_base(btf, digest)
            return base

    def clear(self) -> None:
        """Drops what no tree holds."""
        with self._lock:
            self._recent.clear()

    def _load(self, path: str, stamp: Stamp | None) -> BaseInfo:
        if stamp is None:
            raise Problem("not there", path=path)
        known = self._recent.get(path)
        if known is not None and known[0] == stamp:
            self._recent.move_to_end(path)
            return known[1]
        self._recent.pop(path, None)
        base = self._shared(self._core.read_btf(path))
        info = BaseInfo(path, base, kernel_release(self._core, path))
        if stamp_of(path) != stamp:
            return info  # changed meanwhile: right for whoever looks again, not to be kept
        self._recent[path] = (stamp, info)
        while len(self._recent) > KEEP:
            self._recent.popitem(last=False)
        return info

    def _shared(self, btf: bytes) -> Base:
        digest = _digest(btf)
        base = self._loaded.get(digest)
        if base is None:
            base = self._loaded[digest] = self._core.parse_base(btf, digest)
        return base


def _digest(btf: bytes) -> str:
    """What `Base.digest` is, too."""
    return hashlib.sha256(btf).hexdigest()
