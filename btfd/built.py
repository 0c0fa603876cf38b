"""What a source file's structs are as they were last built: layouts, sizes, differences.

Contract: `Built` answers for source files of build trees. A module's types are those of its .BTF,
and where the linker just left it without one, those of its DWARF. A file that is part of no module
is answered from vmlinux. `look` finds out what was built anew since the last look. A reference, to
tell differences from, is a baseline or else the running kernel, for the modules that it has loaded.
Nothing is written and nothing is built. Thread-safe. Troubles with one file are no errors: it is
answered as it was before, or not at all.

Cost: a stat a module for each look and each question. The first question about a tree loads its
base (0.2 s, 60 MB), the first one about a header may walk the tree (seconds); after that an answer
takes a millisecond.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from btfd import baseline, kbuild, sources
from btfd.baseline import Snapshot
from btfd.bases import Bases
from btfd.config import TreeSettings
from btfd.engine import Base, Core, Encoded, Graph, Stamp, stamp_of
from btfd.errors import Problem
from btfd.feedback import Change, ranked
from btfd.kbuild import EncoderOptions

#: Where the running kernel shows its BTF, a file a module.
RUNNING = "/sys/kernel/btf"
#: Seconds after which a file without modules is looked for again.
AGAIN = 5.0
#: Bits.
CACHE_LINE = 512
#: A header is part of hundreds of modules; so many are asked.
MOST_MODULES = 8


#: The struct that a member is, or points to; or the first word of its type, which may be a typedef.
_HELD = re.compile(r"(?:(?:const|volatile) )*((?:struct |union )?\w+)")


@dataclass(frozen=True, slots=True)
class Laid:
    """A struct as it lies in memory; `rows` as `btfd layout --json` has them."""

    name: str
    where: str
    """The module that was asked, relative to its tree, or `vmlinux`."""
    size: int
    text: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Placed:
    """A member in its struct. Bits from the start of the struct; `hole`: bits behind it."""

    laid: Laid
    row: Mapping[str, Any]
    hole: int = 0

    @property
    def offset(self) -> int:
        return int(self.row["offset"])

    @property
    def bits(self) -> int:
        return int(self.row["bits"])

    @property
    def lines(self) -> tuple[int, int]:
        """The first and the last cache line that it lies on, of 64 bytes, from 0."""
        last = self.offset + max(self.bits, 1) - 1
        return self.offset // CACHE_LINE, last // CACHE_LINE


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a module's BTF takes, in bytes; `full` without a base, where that can be said."""

    module: str
    types: int | None
    split: int
    full: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A struct that a reference has otherwise."""

    change: Change
    module: str
    reference: str


@dataclass(slots=True)
class _Module:
    """A module as it was last seen."""

    stamp: Stamp
    graph: Graph
    made: Encoded | None = None
    """Encoded with its full size, once somebody asked."""
    layouts: dict[str, Laid | None] = field(default_factory=dict)
    differences: list[Difference] | None = None


@dataclass(frozen=True, slots=True)
class _Home:
    """The tree of a file, and the modules that the file is part of."""

    tree: str
    base: str
    modules: tuple[str, ...]
    sought: float


class Built:
    """Answers about source files; see the module."""

    def __init__(
        self,
        core: Core,
        trees: Sequence[TreeSettings],
        options: Callable[[str], EncoderOptions],
        *,
        guard: str | None = None,
        running: str = RUNNING,
    ) -> None:
        """`options`: what modules are encoded with, by the tree of their kernel; `guard`: a
        baseline's file. Raises Problem where that is none.
        """
        self._core = core
        self._trees = tuple(trees)
        self._options = options
        self._guard = None if guard is None else (guard, baseline.load(guard))
        self._running = running
        self._bases = Bases(core)
        self._homes: dict[str, _Home | None] = {}
        self._modules: dict[str, _Module] = {}
        self._seen: dict[str, Stamp | None] = {}
        self._empty: bytes | None = None
        self._lock = threading.RLock()

    def forget(self, path: str) -> None:
        """Finds out anew which modules a file is part of, when it is asked about next."""
        with self._lock:
            self._homes.pop(path, None)

    def modules(self, path: str) -> tuple[str, ...]:
        """The modules that a file is part of, relative to their tree."""
        with self._lock:
            home = self._home(path)
            return home.modules if home is not None else ()

    def look(self, paths: Sequence[str]) -> list[str]:
        """Those of the files whose modules were built since the last look."""
        with self._lock:
            return [path for path in paths if self._is_news(path)]

    def layout(self, path: str, name: str) -> Laid | None:
        """A struct (`struct x`, `union x`, or a typedef's name) as a file's modules have it."""
        with self._lock:
            home = self._home(path)
            if home is None:
                return None
            for module in home.modules:
                found = self._read(home, module)
                if found is None:
                    continue
                if name not in found.layouts:
                    found.layouts[name] = self._lay_out(found.graph, name, module)
                if found.layouts[name] is not None:
                    return found.layouts[name]
            if home.modules:
                return None
            try:
                base = self._bases.load(home.base).base
                # Laid out from a layer without types: over a warm base that takes no parsing.
                return self._lay_out((self._nothing(base), base, None), name, kbuild.BASE)
            except Problem:
                return None

    def member(self, path: str, name: str, chain: Sequence[str]) -> Placed | None:
        """The member that `chain` leads to from a struct on, through the structs that it holds."""
        laid = self.layout(path, name)
        rows = laid.rows if laid is not None else ()
        for step, wanted in enumerate(chain):
            at = place_of(rows, wanted)
            if laid is None or at is None:
                return None
            if step == len(chain) - 1:
                return Placed(laid, rows[at], _hole(rows, at))
            if "close" in rows[at]:
                rows = rows[_opening(rows, at) + 1 : at]
                continue
            held = _HELD.match(str(rows[at]["type"]))
            laid = self.layout(path, held[1] if held is not None else "")
            rows = laid.rows if laid is not None else ()
        return None

    def sizes(self, path: str) -> list[Sizes]:
        """What the BTF of a file's modules takes. Encodes each once more, to know both."""
        with self._lock:
            home = self._home(path)
            if home is None:
                return []
            found = []
            for module in home.modules:
                read = self._read(home, module)
                if read is None:
                    continue
                split, types, full = len(read.graph[0]), None, None
                try:
                    read.made = made = read.made or self._encode(home, module, full=True)
                    types, full = made.types, made.full_size
                except Problem:
                    pass  # its DWARF is gone, the BTF is there
                found.append(Sizes(module, types, split, full))
            return found

    def differences(self, path: str) -> list[Difference]:
        """Structs and unions of a file's modules whose layout the reference has otherwise."""
        with self._lock:
            home = self._home(path)
            if home is None:
                return []
            found: dict[tuple[str, str], Difference] = {}
            for module in home.modules:
                read = self._read(home, module)
                if read is None:
                    continue
                if read.differences is None:
                    read.differences = self._compare(module, read.graph)
                for one in read.differences:
                    found.setdefault((one.change.kind, one.change.name), one)
            return list(found.values())

    # How

    def _home(self, path: str) -> _Home | None:
        if path not in self._homes:
            self._homes[path] = self._find(path)
        return self._homes[path]

    def _find(self, path: str) -> _Home | None:
        tree = sources.root_of(path, tuple(tree.root for tree in self._trees))
        if tree is None:
            return None
        try:
            modules = sources.modules_of(tree, path)
        except Problem:
            modules = []
        base = sources.base_of(tree, self._trees)
        return _Home(tree, base, tuple(modules[:MOST_MODULES]), time.monotonic())

    def _is_news(self, path: str) -> bool:
        home = self._home(path)
        if home is not None and not home.modules and path.endswith(".c"):
            # It may have been built for the first time, or is part of vmlinux.
            if time.monotonic() - home.sought < AGAIN:
                return False
            self.forget(path)
            home = self._home(path)
        news = False
        for module in home.modules if home is not None else ():
            whole = os.path.join(home.tree, module) if home is not None else module
            stamp = stamp_of(whole)
            news |= stamp is not None and stamp != self._seen.get(whole)
            self._seen[whole] = stamp
        return news

    def _read(self, home: _Home, module: str) -> _Module | None:
        """A module as it is now; as it was, while it cannot be read."""
        path = os.path.join(home.tree, module)
        stamp = stamp_of(path)
        known = self._modules.get(path)
        if stamp is None or (known is not None and known.stamp == stamp):
            return known
        try:
            base = self._bases.load(home.base).base
            graph, made = self._graph(home, module, base)
        except Problem:
            return known
        if stamp_of(path) == stamp:
            self._modules[path] = known = _Module(stamp, graph, made)
        return known

    def _graph(self, home: _Home, module: str, base: Base) -> tuple[Graph, Encoded | None]:
        try:
            btf, distilled = self._core.read_layers(os.path.join(home.tree, module))
        except Problem:
            made = self._encode(home, module, full=True)
            return (made.btf, base, None), made
        return (btf, base, distilled), None

    def _encode(self, home: _Home, module: str, *, full: bool) -> Encoded:
        options = self._options(os.path.dirname(home.base))
        return self._core.encode(
            os.path.join(home.tree, module),
            self._bases.load(home.base).base,
            [name for name in options.features if name != "distilled_base"],
            lang_exclude=options.lang_exclude,
            threads=len(os.sched_getaffinity(0)),
            full=full,
            resolve=False,
            earlier=None,
        )

    def _lay_out(self, graph: Graph, name: str, where: str) -> Laid | None:
        try:
            found = self._core.layout(graph, name)
        except Problem:
            return None
        return None if found is None else Laid(name, where, _size(found[0]), *found)

    def _nothing(self, base: Base) -> bytes:
        """A layer without types over a base."""
        if self._empty is None:
            self._empty = empty_layer(base.to_bytes())
        return self._empty

    def _compare(self, module: str, graph: Graph) -> list[Difference]:
        try:
            old, reference = self._reference(module, graph)
            if old is None:
                return []
            if old[2] is not None and graph[2] is None and graph[1] is not None:
                graph = baseline.distilled(self._core, graph)
            values = self._core.diff(old, graph)
        except Problem:
            return []
        return [
            Difference(change, module, reference)
            for change in ranked(values)
            if change.kind in ("struct", "union")
            and change.change == "changed"
            and "layout" in change.topics
        ]

    def _reference(self, module: str, graph: Graph) -> tuple[Graph | None, str]:
        """What a module is held against, and how that is called."""
        if self._guard is not None:
            name, snapshots = self._guard
            return _snapshot(snapshots, module), name
        name = kbuild.module_name(module)
        path = os.path.join(self._running, name)
        if not os.path.exists(path):
            return None, ""
        base = self._bases.load(os.path.join(self._running, kbuild.BASE)).base
        return (self._core.read_btf(path), base, None), "the running kernel"


def _snapshot(snapshots: Sequence[Snapshot], module: str) -> Graph | None:
    """The types that a baseline has of a module: by its path, by its name, or the only ones."""
    names = (module, os.path.basename(module))
    found = [s.graph for s in snapshots if s.name in names]
    return found[0] if found else None


def place_of(rows: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """The row of the member of this name, be it a nameless struct's."""
    for at, row in enumerate(rows):
        if row.get("name") == name or str(row.get("close", "")).split("[")[0] == name:
            return at
    return None


def _hole(rows: Sequence[Mapping[str, Any]], at: int) -> int:
    behind = rows[at + 1] if at + 1 < len(rows) else {}
    return int(behind.get("hole", 0))


def _opening(rows: Sequence[Mapping[str, Any]], at: int) -> int:
    """The row that opens what the one at `at` closes."""
    depth = 0
    for index in range(at, -1, -1):
        depth += ("close" in rows[index]) - ("open" in rows[index])
        if depth == 0:
            return index
    return 0


def _size(text: str) -> int:
    """Bytes, as the summary of a layout says."""
    _, _, rest = text.rpartition("/* size: ")
    digits = rest.partition(",")[0]
    return int(digits) if digits.isdigit() else 0


def empty_layer(below: bytes) -> bytes:
    """BTF without types, in the byte order of what it stands on."""
    order = "little" if below[:2] == b"\x9f\xeb" else "big"
    magic, length = (0xEB9F).to_bytes(2, order), (24).to_bytes(4, order)  # type: ignore[arg-type]
    return magic + b"\x01\x00" + length + bytes(16)
