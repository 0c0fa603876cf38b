"""Types of modules on disk, so that a change of the base need not read their DWARF again.

Contract: what an encode gave to the core's exact engine is kept, together with the state that the
module's file was left in, the digest of the base and the options. `moved` gives what an encode
over another base would give, the same bytes, where all of that still holds and the core can tell;
else None, and the DWARF has to be read. A file that is damaged, of another program or another
version is as good as none, and nothing here raises over the disk: losing it costs work, never
correctness. Any thread.

Types stay those of the base that they were encoded over, which is kept as well, as raw BTF: from
there they are moved to each later one. Meanwhile both are loaded; `release` lets the old one go.

Cost: 40 KB a module and 4 MB for each of the last `BASES` bases; a module is moved in 0.3 ms, and
300 bytes are written then. What was not written for `KEEP_DAYS` days is removed at the start.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from btfd.engine import Base, Core, Encoded, Rebase, Stamp
from btfd.errors import Problem

#: How a file begins; the digits are the version.
MAGIC = b"btfd-types-1"
#: What is known of a module; its types are in a file of their own.
FIELDS = {"path", "stamp", "base", "options", "vermagic", "warnings", "types"}
TYPES = ".types"
BASES = 3
KEEP_DAYS = 60


@dataclass(frozen=True, slots=True)
class Moved:
    """What an encode would have made (`Encoded`)."""

    btf: bytes
    types: int
    stamp: Stamp
    vermagic: str | None
    warnings: list[str]
    stages: dict[str, float]
    head: dict[str, Any]
    kept: None = None
    ids: None = None
    btf_base: None = None
    full_size: int | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    old: str
    new: str
    rebase: Rebase | None


@dataclass(slots=True)
class Kept:
    """The types of all modules, in one folder."""

    folder: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _way: _Way | None = None

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(self.folder, "bases"), mode=0o700, exist_ok=True)
            self._clean()

    def put(self, path: str, stamp: Stamp, base: Base, options: str, made: Encoded) -> None:
        """Keeps what the encode of a module gave, whose file was then left in this state."""
        place = self._place(path)
        if isinstance(made, Moved):
            with contextlib.suppress(OSError):
                _write(place, _line({**made.head, "stamp": stamp}))
            return
        with contextlib.suppress(OSError):
            _unlink(place)
            # What code reads from .BTF_ids has to be looked for in the file.
            if made.kept is None or made.ids is not None or made.btf_base is not None:
                _unlink(place + TYPES)
                return
            self._remember(base)
            _write(place + TYPES, made.kept)
            head = {
                "path": path,
                "stamp": stamp,
                "base": base.digest,
                "options": options,
                "vermagic": made.vermagic,
                "warnings": made.warnings,
                "types": _digest(made.kept),
            }
            _write(place, _line(head))

    def moved(
        self, core: Core, path: str, stamp: Stamp | None, base: Base, options: str
    ) -> Moved | None:
        """What an encode of the file in this state would give over this base, if that is known."""
        head = self._head(path)
        if head is None or stamp is None:
            return None
        known = (head["path"], tuple(head["stamp"]), head["options"])
        if known != (path, stamp, options):
            return None
        began = time.perf_counter()
        try:
            with open(self._place(path) + TYPES, "rb") as f:
                kept = f.read()
            way = self._find(core, head["base"], base)
            moved = None
            if way is not None and _digest(kept) == head["types"]:
                moved = way.over(kept)
        except (Problem, OSError):
            return None
        if moved is None:
            return None
        btf, types, _ = moved
        stages = {"move": (time.perf_counter() - began) * 1000}
        return Moved(btf, types, stamp, head["vermagic"], head["warnings"], stages, head)

    def release(self) -> None:
        """Lets the old base go; it is loaded again when it is needed."""
        with self._lock:
            self._way = None

    def _find(self, core: Core, old: str, base: Base) -> Rebase | None:
        with self._lock:
            way = self._way
            if way is None or (way.old, way.new) != (old, base.digest):
                self._way = None
                rebase = None
                if old == base.digest:  # back from another
                    rebase = core.rebase(base, base)
                elif os.path.exists(self._base(old)):
                    os.utime(self._base(old))  # those used last are kept
                    loaded = core.load_base(self._base(old))
                    rebase = core.rebase(loaded, base) if loaded.digest == old else None
                way = self._way = _Way(old, base.digest, rebase)
            return way.rebase

    def _place(self, path: str) -> str:
        name = hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
        return os.path.join(self.folder, name)

    def _base(self, digest: str) -> str:
        return os.path.join(self.folder, "bases", f"{digest}.btf")

    def _remember(self, base: Base) -> None:
        place = self._base(base.digest)
        with self._lock:
            if os.path.exists(place):
                return
            _write(place, base.to_bytes())
            with os.scandir(os.path.dirname(place)) as found:
                by_age = sorted(found, key=lambda entry: entry.stat().st_mtime)
            for entry in by_age[:-BASES]:
                os.unlink(entry.path)

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            with open(self._place(path), "rb") as f:
                magic, _, line = f.read().partition(b"\n")
            head = json.loads(line) if magic == MAGIC else None
        except (OSError, ValueError):
            return None
        return head if isinstance(head, dict) and head.keys() >= FIELDS else None

    def _clean(self) -> None:
        oldest = time.time() - KEEP_DAYS * 86400
        with os.scandir(self.folder) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)


def _line(head: dict[str, Any]) -> bytes:
    return MAGIC + b"\n" + json.dumps(head).encode()


def _digest(kept: bytes) -> str:
    return hashlib.blake2b(kept, digest_size=8).hexdigest()


def _unlink(place: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)


def _write(place: str, data: bytes) -> None:
    """Replaces a file: by the new one, or after a kill by none."""
    temporary = f"{place}.{os.getpid()}.{threading.get_ident()}"
    try:
        with open(temporary, "wb") as f:
            f.write(data)
        # Over an old file, ext4 would wait for the new one's data; losing it is no harm here.
        _unlink(place)
        os.rename(temporary, place)
    except OSError:
        _unlink(temporary)
        raise
