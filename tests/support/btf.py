"""An independent reader of BTF, and a judge of whether two split BTFs hold the same types.

Order and ids of types are accidents of how a blob was made, so two blobs are compared as graphs:
every split type starts with a label made of its own fields, and labels are refined with those of
the types it refers to until that separates nothing further. A base type stands for itself by its
id. Blobs over the same base are the same where each label occurs equally often in both.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tests.support.elf import Elf

KINDS = (
    *("VOID", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE"),
    *("CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG"),
    *("TYPE_TAG", "ENUM64"),
)
MAGIC = 0xEB9F
Label = bytes


class BadBtf(Exception):
    """The blob breaks the format; the text says where."""


@dataclass(frozen=True, slots=True)
class Type:
    """One type: `own` are the fields that stand alone, `refs` the ids it refers to, in order."""

    kind: str
    name: str
    own: tuple[object, ...]
    refs: tuple[int, ...]


class Btf:
    """The types of one blob. `base` is what it was split from; ids go on where those end."""

    def __init__(self, raw: bytes, base: Btf | None = None) -> None:
        if len(raw) < 24:
            raise BadBtf("shorter than a BTF header")
        order = "<" if raw[:2] == b"\x9f\xeb" else ">"
        magic, version, _, header, type_at, type_size, str_at, str_size = struct.unpack_from(
            order + "HBBIIIII", raw
        )
        if magic != MAGIC or version != 1:
            raise BadBtf("no BTF magic")
        self.order = order
        self.base = base
        self.type_bytes = raw[header + type_at : header + type_at + type_size]
        self.strings = raw[header + str_at : header + str_at + str_size]
        if len(self.type_bytes) != type_size or len(self.strings) != str_size:
            raise BadBtf("sections reach past the end")
        self.first_string: int = base.end_of_strings if base else 0
        self.end_of_strings: int = self.first_string + str_size
        self.first: int = base.next if base else 1
        try:
            self.types = list(self._read())
        except struct.error as error:
            raise BadBtf(f"cut short: {error}") from error
        self.next: int = self.first + len(self.types)
        for i, one in enumerate(self.types, self.first):
            if any(ref >= self.next for ref in one.refs):
                raise BadBtf(f"type {i} refers to a type that is not there")

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, i: int) -> Type:
        """The type with id `i`, here or in the base."""
        if i < self.first:
            return self.base[i] if self.base else Type("VOID", "void", (), ())
        return self.types[i - self.first]

    def named(self, kind: str, name: str) -> list[Type]:
        """The split types of that kind and name."""
        return [one for one in self.types if one.kind == kind and one.name == name]

    def text(self, offset: int) -> str:
        """The string at `offset`, here or in the base."""
        if offset < self.first_string and self.base:
            return self.base.text(offset)
        start = offset - self.first_string
        end = self.strings.find(b"\0", start)
        if end < 0 or (offset and start >= len(self.strings)):
            if offset == 0:
                return ""
            raise BadBtf(f"string offset {offset} is out of range")
        return self.strings[start:end].decode("utf-8", "surrogateescape")

    def _read(self) -> Iterator[Type]:
        data, at, order = self.type_bytes, 0, self.order

        def words(count: int) -> tuple[int, ...]:
            nonlocal at
            found = struct.unpack_from(f"{order}{count}I", data, at)
            at += 4 * count
            return found

        while at < len(data):
            name, info, word = words(3)
            kind, count, flag = info >> 24 & 0x1F, info & 0xFFFF, info >> 31
            if kind == 0 or kind >= len(KINDS):
                raise BadBtf(f"unknown kind {kind}")
            own, refs = self._fields(KINDS[kind], count, flag, word, words)
            yield Type(KINDS[kind], self.text(name), own, refs)

    def _fields(
        self, kind: str, count: int, flag: int, word: int, words: Callable[[int], tuple[int, ...]]
    ) -> tuple[tuple[object, ...], tuple[int, ...]]:
        """What follows the name of a type: (own fields, references)."""
        match kind:
            case "INT":
                return (word, *words(1)), ()
            case "FLOAT":
                return (word,), ()
            case "FWD":
                return (flag,), ()
            case "ARRAY":
                element, index, length = words(3)
                return (length,), (element, index)
            case "STRUCT" | "UNION":
                members = [words(3) for _ in range(count)]
                shape = tuple((self.text(name), place) for name, _, place in members)
                return (word, flag, shape), tuple(one[1] for one in members)
            case "ENUM" | "ENUM64":
                values = [words(2 if kind == "ENUM" else 3) for _ in range(count)]
                return (word, flag, tuple((self.text(one[0]), *one[1:]) for one in values)), ()
            case "FUNC_PROTO":
                params = [words(2) for _ in range(count)]
                names = tuple(self.text(name) for name, _ in params)
                return (names,), (word, *(one[1] for one in params))
            case "VAR":
                return words(1), (word,)
            case "DATASEC":
                entries = [words(3) for _ in range(count)]
                return (word, tuple(one[1:] for one in entries)), tuple(one[0] for one in entries)
            case "DECL_TAG":
                return (flag, *words(1)), (word,)
            case _:
                return (count, flag), (word,)


def load(path: Path, base: Btf | None = None) -> Btf:
    """From a raw BTF file or an ELF file with exactly one .BTF."""
    data = path.read_bytes()
    if data[:4] == b"\x7fELF":
        elf = Elf(data)
        if sum(s.name == ".BTF" for s in elf.sections) != 1:
            raise BadBtf(f"{path}: not exactly one .BTF section")
        data = elf.contents(".BTF") or b""
    return Btf(data, base)


def _hash(*parts: bytes) -> Label:
    return blake2b(b"".join(parts), digest_size=12).digest()


def labels(btf: Btf) -> list[Label]:
    """The refined label of every split type.

    How many rounds it takes depends on the graph alone: equal graphs get equal labels.
    """
    own = [_hash(repr((t.kind, t.name, t.own)).encode()) for t in btf.types]
    stable = {i: i.to_bytes(12, "little") for t in btf.types for i in t.refs if i < btf.first}
    now, classes, first = own, len(set(own)), btf.first
    while True:
        then = [
            _hash(mine, *(stable[r] if r < first else now[r - first] for r in one.refs))
            for mine, one in zip(own, btf.types, strict=True)
        ]
        found = len(set(then))
        if found == classes:
            return then
        now, classes = then, found


def graph_digest(btf: Btf) -> str:
    """16 hex digits that are the same for blobs with the same types over the same base."""
    return blake2b(b"".join(sorted(labels(btf))), digest_size=8).hexdigest()


def bytes_digest(btf: Btf) -> str:
    """16 hex digits of the type section as it stands. String offsets and ids count."""
    return blake2b(btf.type_bytes, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a comparison. `lines` tell the first differences."""

    same: bool
    bytes_equal: bool
    lines: list[str]


def _of_functions(btf: Btf, one: Type) -> bool:
    """Whether a type only says which functions there are."""
    if one.kind == "DECL_TAG":
        return btf[one.refs[0]].kind == "FUNC"
    return one.kind in ("FUNC", "FUNC_PROTO")


def compare(a: Btf, b: Btf, *, functions: bool = True, most: int = 10) -> Verdict:
    """Whether two split BTFs over the same base hold the same types.

    Without `functions`, FUNC and FUNC_PROTO (and tags on functions) are not counted; a prototype
    that another type refers to still counts through that type's label.
    """
    found: list[dict[Label, list[str]]] = []
    counts: list[Counter[Label]] = []
    for btf in (a, b):
        texts: dict[Label, list[str]] = {}
        for i, (one, label) in enumerate(zip(btf.types, labels(btf), strict=True)):
            if functions or not _of_functions(btf, one):
                name = one.name or "(anon)"
                own = str(one.own)[:100]
                line = f"[{btf.first + i}] {one.kind} {name} {own} -> {one.refs[:6]}"
                texts.setdefault(label, []).append(line)
        found.append(texts)
        counts.append(Counter({label: len(lines) for label, lines in texts.items()}))
    lines = []
    for side, mine, other, texts in (
        ("only first", counts[0], counts[1], found[0]),
        ("only second", counts[1], counts[0], found[1]),
    ):
        for label, extra in (mine - other).items():
            lines += [f"{side}: {text}" for text in texts[label][-extra:]]
    same = not lines
    return Verdict(same, a.type_bytes == b.type_bytes, lines[:most])


def with_grown(raw: bytes, struct_name: str) -> bytes:
    """The same types, but for one struct that is 8 bytes larger."""
    blob = Btf(raw)
    name = struct.pack("<I", blob.strings.index(b"\0" + struct_name.encode() + b"\0") + 1)
    start, at = raw.index(blob.type_bytes), 0
    while (at := raw.find(name, at + 1)) >= 0:
        info, size = struct.unpack_from("<2I", raw, at + 4)
        if (at - start) % 4 == 0 and info >> 24 & 0x1F == KINDS.index("STRUCT"):
            return raw[: at + 8] + struct.pack("<I", size + 8) + raw[at + 12 :]
    raise BadBtf(f"no struct {struct_name}")
