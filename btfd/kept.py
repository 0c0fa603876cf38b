"""Types of modules on disk, so that a change of the base need not read their DWARF again.

Contract: `put` keeps what an encode gave, and says how it can be found again (`Held`). Whoever
remembers that, together with the state that the module's file was left in and the options, may have
`move` put the module's BTF over another base into the file, as long as both are the same: the same
bytes as an encode would give. Where only the DWARF can tell, or anything else is not as it should
be, the module is left as it is, and an encode will say why. A file that is damaged, of another
module, program or version is as good as none, and nothing here raises over the disk: losing it
costs work, never correctness. Any thread.

Types stay those of the base that they were encoded over: from there they are moved to each later
one, so that a change of the base writes nothing here. Each of these bases has a folder, with the
raw BTF of the base and what is kept of modules. At most `BASES` bases stay, those of which most
modules are; what nobody asked for in `KEEP_DAYS` days goes at the start.

Cost: 8 kB a module, 300 where something about it was doubtful (one in nine), and 4 MB a base; a
module is moved in 0.02 or 0.1 ms beside its install, in 1 ms where the change touches what was
doubtful, and a way to another base takes 25 ms.
`release` lets go of the ways and of the bases that they begin at.
"""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from btfd.engine import Base, Core, Encoded, Moved, Order, Rebase, Stamp
from btfd.errors import Problem
from btfd.store import Held

BASES = 3
KEEP_DAYS = 60
#: Bytes of a mark.
MARK = 8
#: In each folder, the BTF of the base; the modules' names are hexadecimal digits.
_BASE = "base.btf"


class Movable(NamedTuple):
    """A module whose file must be in the state `stamp`, and what is kept of it."""

    path: str
    stamp: Stamp
    held: Held
    link: tuple[str, bytes] | None = None
    """Build id, and the words that the linker wrote into `.BTF_ids`; None where there are none."""


class Kept:
    """The types of a tree's modules, in one folder. `load`: `Bases.copy`."""

    def __init__(self, folder: str, core: Core, load: Callable[[str, str], Base | None]) -> None:
        self._folder = folder
        self._core = core
        self._load = load
        self._lock = threading.Lock()
        self._ways: dict[str, Rebase | None] = {}
        self._target = ""
        """The digest of the base that the ways lead to."""
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.utime(folder)
            _clean(os.path.dirname(folder))

    def put(self, path: str, base: Base, made: Encoded) -> Held | None:
        """Keeps what the encode of a module over `base` gave; None where that cannot be."""
        kept = made.kept  # a copy each time
        if kept is None or made.btf_base is not None:
            return None
        # What a resolver warns of, it would warn of once more.
        if made.ids is not None and (made.ids.build_id is None or made.warnings):
            return None
        held = Held(base.digest, os.urandom(MARK))
        try:
            self._remember(base)
            _write(self._place(path, held), held.mark + kept)
        except OSError:
            return None
        return held

    def forget(self, path: str, held: Held) -> None:
        """What is kept of a module is of no use any more."""
        with contextlib.suppress(OSError):
            _unlink(self._place(path, held))

    def move(
        self, modules: Sequence[Movable], base: Base, release: str | None
    ) -> list[Moved | None]:
        """Puts the BTF of modules over `base` into their files; None for each that is as it was.

        `release`: of the kernel, where modules of another are not to be touched.
        """
        found: dict[str, Moved | None] = {}
        for origin in {module.held.origin for module in modules}:
            some = [module for module in modules if module.held.origin == origin]
            try:
                way = self.way(origin, base)
                if way is None:
                    continue
                moved = way.install([self._order(m) for m in some], release=release)
            except (Problem, OSError):
                continue
            found.update(zip((module.path for module in some), moved, strict=True))
        return [found.get(module.path) for module in modules]

    def way(self, origin: str, base: Base) -> Rebase | None:
        """The way from a base that is kept here to another; None where there is none."""
        with self._lock:
            if self._target != base.digest:
                self._target, self._ways = base.digest, {}
            if origin not in self._ways:
                self._ways[origin] = self._find(origin, base)
            return self._ways[origin]

    def release(self) -> None:
        """Lets the ways go; they are found again when they are needed."""
        with self._lock:
            self._target, self._ways = "", {}

    def _find(self, origin: str, base: Base) -> Rebase | None:
        try:
            if origin == base.digest:  # back from another
                return self._core.rebase(base, base)
            place = os.path.join(self._folder, origin, _BASE)
            old = self._load(place, origin)
            if old is None:
                _unlink(place)  # whoever puts something there writes it anew
                return None
            return self._core.rebase(old, base)
        except (Problem, OSError):
            return None

    def _order(self, module: Movable) -> Order:
        place = self._place(module.path, module.held)
        return (module.path, module.stamp, place, module.held.mark, module.link)

    def _place(self, path: str, held: Held) -> str:
        name = hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
        return os.path.join(self._folder, held.origin, name)

    def _remember(self, base: Base) -> None:
        """Sees to it that a base is kept."""
        folder = os.path.join(self._folder, base.digest)
        place = os.path.join(folder, _BASE)
        if os.path.exists(place):
            return
        with self._lock:
            if os.path.exists(place):
                return
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _write(place, base.to_bytes())
            others = [entry.path for entry in os.scandir(self._folder) if entry.path != folder]
        for other in sorted(others, key=lambda path: len(os.listdir(path)))[: 1 - BASES]:
            _remove(other)


def _clean(folder: str) -> None:
    """Removes what is kept of trees that nobody asked for."""
    oldest = time.time() - KEEP_DAYS * 86400
    for entry in os.scandir(folder):
        if entry.stat(follow_symlinks=False).st_mtime < oldest:
            if entry.is_dir(follow_symlinks=False):
                _remove(entry.path)
            else:
                os.unlink(entry.path)


def _remove(folder: str) -> None:
    import shutil  # hardly ever, and it brings three compressors along

    shutil.rmtree(folder, ignore_errors=True)


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


def _unlink(place: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)
