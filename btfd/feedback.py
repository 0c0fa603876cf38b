"""What an edit did to a module's types: changes as values, which matter most, and their memory.

Contract: a `Change` is one thing with a name that is not as it was, as the core found it; `ranked`
puts the most important first. The objects of the core go into events and JSON as they are (schema:
docs/feedback.md); `Memory` gives them for a module against its last result, and None where none is
known or it cannot be compared. Feedback never makes an encode fail.

Cost: a comparison takes well under a millisecond for a small module. `Memory` keeps the BTF of a
tree's modules, about 10 MB for 1,100 of them, at most `limit` bytes, and the bases that they stand
on, at most `BASES`. Results over older ones are of no use any more.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from btfd.engine import Base, Core, Graph
from btfd.errors import Problem

#: Bytes of BTF that `Memory` keeps.
LIMIT = 64 << 20
#: Bases that `Memory` keeps loaded: the one in use, and the one before it.
BASES = 2
#: Source lines are looked up for no more changes than anybody reads.
MOST_PLACED = 100
#: Changes in an event.
MOST_TOLD = 200
#: Section of percpu variables, and the tag of kfuncs.
PERCPU = ".data..percpu"
KFUNC = "bpf_kfunc"

#: What a change can break, as `--fail-on` names it.
TOPICS = (
    *("layout", "proto", "enum", "kfunc", "percpu", "typedef"),
    *("shadow", "removed", "added", "any"),
)

_BODIES = frozenset({"struct", "union"})
_FIELDS = frozenset({"size", "member-added", "member-removed", "member-retyped"}) | frozenset(
    {"member-resized", "member-moved", "member-renamed", "arranged"}
)
#: What may happen to a struct when another one changes.
_FOLLOWS = frozenset({"size", "padding", "member-resized", "member-moved"}) | frozenset(
    {"hole-added", "hole-removed", "hole-resized", "crossing-added", "crossing-removed"}
)
_ORDER = ("shadow", "layout", "kfunc", "proto", "percpu", "enum", "typedef")


class Detail(NamedTuple):
    """One difference; `what` is a word of the schema and says what `old` and `new` are."""

    what: str
    name: str
    old: Any = None
    new: Any = None


class Change(NamedTuple):
    """One thing that was added, removed or changed."""

    kind: str
    name: str
    change: str
    layer: str
    shadows: bool
    size: tuple[int | None, int | None]
    text: tuple[str | None, str | None]
    details: tuple[Detail, ...]
    file: str | None = None
    line: int | None = None
    column: int | None = None
    lines: Mapping[str, tuple[str, int, int]] | None = None
    """Of members and enumerators, where they are known."""

    @staticmethod
    def of(value: Mapping[str, Any]) -> "Change":
        """From the core's object, or one that was JSON."""
        details = tuple(Detail(d["what"], d["name"], d["old"], d["new"]) for d in value["details"])
        return Change(
            value["kind"],
            value["name"],
            value["change"],
            value["layer"],
            value["shadows"],
            (value["size"][0], value["size"][1]),
            (value["text"][0], value["text"][1]),
            details,
            value.get("file"),
            value.get("line"),
            value.get("column"),
            {name: (at[0], at[1], at[2]) for name, at in value.get("lines", {}).items()},
        )

    def as_json(self) -> dict[str, Any]:
        """The object that it was made from, with the topics that it touches."""
        value: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "change": self.change,
            "layer": self.layer,
            "shadows": self.shadows,
            "size": list(self.size),
            "text": list(self.text),
            "details": [
                {"what": d.what, "name": d.name, "old": d.old, "new": d.new} for d in self.details
            ],
            "topics": sorted(self.topics - {"any"}),
        }
        if self.file is not None:
            value |= {"file": self.file, "line": self.line, "column": self.column}
            value["lines"] = {name: list(at) for name, at in (self.lines or {}).items()}
        return value

    @property
    def subject(self) -> str:
        """`struct sk_buff`; functions and variables by their name."""
        return self.name if self.kind in ("func", "var", "typedef") else f"{self.kind} {self.name}"

    @property
    def topics(self) -> frozenset[str]:
        """Which of `TOPICS` it touches."""
        found = {"any"}
        whats = {d.what for d in self.details}
        gone = self.change == "removed"
        if self.change != "changed":
            found.add(self.change)
        if self.shadows:
            found.add("shadow")
        changed = self.change == "changed" or gone
        if self.kind in _BODIES and (gone or whats & _FIELDS):
            found.add("layout")
        if self.kind == "func" and changed and (gone or whats - {"tag-added", "tag-removed"}):
            found.add("proto")
        if self.kind == "enum" and changed:
            found.add("enum")
        if self.kind in ("typedef", "int", "float") and changed:
            found.add("typedef")
        tags = {d.name for d in self.details if d.what in ("tag-added", "tag-removed")}
        if self.kind == "func" and KFUNC in tags:
            found.add("kfunc")
        if self.kind == "var":
            found.add("percpu")
        return frozenset(found)


def _weight(change: Change) -> tuple[int, int, int, int, int, str, str]:
    topics = change.topics
    whats = {d.what for d in change.details}
    # What came anew breaks nobody, and a variable elsewhere in its section hardly anybody.
    quiet = (change.change == "added" and not change.shadows) or whats == {"place"}
    topic = next((i for i, name in enumerate(_ORDER) if name in topics), len(_ORDER))
    topic += len(_ORDER) * (whats == {"place"})
    base = int(change.layer == "base")
    # Where the edit was comes before what moved because of it.
    follows = int(change.change == "changed" and whats <= _FOLLOWS)
    fate = {"changed": 0, "removed": 1, "added": 2}[change.change]
    return (int(quiet), base, follows, topic, fate, change.kind, change.name)


def ranked(values: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Changes, the most important first; the same order for the same changes."""
    return sorted(map(Change.of, values), key=_weight)


def foremost(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """As much as goes into an event, the most important first.

    Thousands may differ where a tree was switched, and an event is kept for long.
    """
    return sorted(values, key=lambda value: _weight(Change.of(value)))[:MOST_TOLD]


def counts(changes: Sequence[Change]) -> dict[str, int]:
    """How many were changed, added and removed."""
    found = {"changed": 0, "added": 0, "removed": 0}
    for change in changes:
        found[change.change] += 1
    return found


def place(core: Core, path: str, values: list[dict[str, Any]]) -> None:
    """Adds `file`, `line`, `column` and `lines` to what the DWARF of `path` still declares."""
    wanted = [
        (value["kind"], value["name"])
        for value in values
        if value["change"] != "removed" and not value["name"].startswith("{")
    ]
    if not wanted or len(wanted) > MOST_PLACED:
        return
    try:
        found = core.lines(path, wanted)
    except Problem:
        return
    for value in values:
        at = found.get((value["kind"], value["name"]))
        if at is not None and value["change"] != "removed":
            value["file"], value["line"], value["column"] = at[0]
            touched = {d["name"] for d in value["details"]}
            value["lines"] = {name: list(at[1][name]) for name in sorted(touched & at[1].keys())}


class _Result(NamedTuple):
    """BTF, the digest of its base, and the distilled base that came with it."""

    btf: bytes
    base: str | None
    distilled: bytes | None

    @property
    def size(self) -> int:
        return len(self.btf) + len(self.distilled or b"")


class Memory:
    """The last result of each module. Thread-safe."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: OrderedDict[str, _Result] = OrderedDict()
        # By digest: a base that was loaded again is the same one.
        self._bases: OrderedDict[str, Base] = OrderedDict()
        self._standing: Counter[str | None] = Counter()
        self._lock = threading.Lock()

    def remember(self, path: str, graph: Graph) -> None:
        """This is what the module has now."""
        with self._lock:
            self._drop(path)
            self._keep(path, graph)
            while self._bytes > self._limit:
                self._drop(next(iter(self._kept)))

    def forget(self, path: str) -> None:
        """What the module had is no longer known."""
        with self._lock:
            self._drop(path)

    def release_bases(self) -> None:
        """Lets bases go; results are compared again once their base is in use again."""
        with self._lock:
            self._bases.clear()

    def knows(self, path: str) -> bool:
        """Whether there is something to compare with."""
        with self._lock:
            return path in self._kept

    def news(self, core: Core, path: str, graph: Graph) -> list[dict[str, Any]] | None:
        """Remembers `graph` and says what changed; None where nothing was remembered."""
        with self._lock:
            before = self._recall(path, graph[1])
        self.remember(path, graph)
        if before is None:
            return None
        try:
            values = core.diff(before, graph)
        except Problem:
            return None
        kept = foremost(values)
        place(core, path, kept)
        return kept

    def look(self, core: Core, path: str, base: Base) -> list[dict[str, Any]] | None:
        """`news` of what somebody else has put into the file."""
        try:
            btf, distilled = core.read_layers(path)
        except Problem:
            return None
        return self.news(core, path, (btf, base, distilled))

    def fill(self, core: Core, base: Base, paths: Iterable[str]) -> None:
        """Remembers what is in files that are up to date over `base`."""
        for path in paths:
            if self.knows(path):
                continue
            try:
                btf, distilled = core.read_layers(path)
            except Problem:
                continue
            with self._lock:
                if path not in self._kept and self._bytes < self._limit:
                    self._keep(path, (btf, base, distilled))

    def _recall(self, path: str, now: Base | None) -> Graph | None:
        """What a module had; None where that, or its base, is not there any more."""
        kept = self._kept.get(path)
        if kept is None or kept.base is None:
            return None if kept is None else (kept.btf, None, kept.distilled)
        if now is not None and now.digest == kept.base:
            return (kept.btf, now, kept.distilled)
        base = self._bases.get(kept.base)
        return None if base is None else (kept.btf, base, kept.distilled)

    def _keep(self, path: str, graph: Graph) -> None:
        btf, base, distilled = graph
        result = _Result(btf, None if base is None else base.digest, distilled)
        self._kept[path] = result
        self._bytes += result.size
        self._standing[result.base] += 1
        if base is None:
            return
        new = base.digest not in self._bases
        self._bases[base.digest] = base
        self._bases.move_to_end(base.digest)
        if new and len(self._bases) > BASES:
            self._bases.popitem(last=False)
            gone = [p for p, r in self._kept.items() if r.base and r.base not in self._bases]
            for other in gone:
                self._drop(other)

    def _drop(self, path: str) -> None:
        old = self._kept.pop(path, None)
        if old is not None:
            self._bytes -= old.size
            self._standing[old.base] -= 1
            if not self._standing[old.base]:
                del self._standing[old.base]
                self._bases.pop(old.base or "", None)
