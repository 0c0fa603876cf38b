"""Modules with `.BTF_ids` written by hand, in every class and byte order, and BTF to go with them.

Only what resolve_btfids and a resolver of ours look at: the section, its symbols, a build id.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

FUNC, FUNC_PROTO, STRUCT, UNION, TYPEDEF = 12, 13, 4, 5, 8
KINDS = {"func": FUNC, "struct": STRUCT, "union": UNION, "typedef": TYPEDEF}
SET_OF_KFUNCS = 1

#: 64 bits or 32, and the byte order as `struct` writes it.
CLASSES = [(True, "<"), (True, ">"), (False, "<"), (False, ">")]


@dataclass(slots=True)
class Ids:
    """A section in the making."""

    words: list[int] = field(default_factory=list)
    symbols: list[tuple[str, int, int]] = field(default_factory=list)

    def id(self, kind: str, name: str) -> None:
        at = len(self.words) * 4
        self.symbols.append((f"__BTF_ID__{kind}__{name}__{len(self.symbols)}{at}", at, 4))
        self.words.append(0)

    def plain_set(self, name: str, members: list[str]) -> None:
        size = 4 + 4 * len(members)
        self.symbols.append((f"__BTF_ID__set__{name}", len(self.words) * 4, size))
        self.words.append(0)
        for member in members:
            self.id("func", member)

    def flagged_set(self, name: str, flags: int, members: list[tuple[str, int]]) -> None:
        size = 8 + 8 * len(members)
        self.symbols.append((f"__BTF_ID__set8__{name}", len(self.words) * 4, size))
        self.words += [0, flags]
        for member, own in members:
            self.id("func", member)
            self.words.append(own)


def btf(order: str, names: list[tuple[str, str]], first_id: int, first_string: int) -> bytes:
    """A layer: one prototype, then a type of each (kind, name)."""
    strings = b"" if first_string else b"\0"
    body = struct.pack(order + "III", 0, FUNC_PROTO << 24, 0)
    for kind, name in names:
        at = first_string + len(strings)
        strings += name.encode() + b"\0"
        third = first_id if kind == "func" else 0
        body += struct.pack(order + "III", at, KINDS[kind] << 24, third)
    sizes = (24, 0, len(body), len(body), len(strings))
    return struct.pack(order + "HBBIIIII", 0xEB9F, 1, 0, *sizes) + body + strings


def elf(ids: Ids, wide: bool, order: str, build_id: bytes = b"\1\2\3\4") -> bytes:
    """A relocatable file with the section."""
    names = b"\0"
    table = bytes(24 if wide else 16)
    for name, at, size in ids.symbols:
        if wide:
            table += struct.pack(order + "IBBHQQ", len(names), 1, 0, 1, at, size)
        else:
            table += struct.pack(order + "IIIBBH", len(names), at, size, 1, 0, 1)
        names += name.encode() + b"\0"
    words = struct.pack(f"{order}{len(ids.words)}I", *ids.words)
    note = struct.pack(order + "III", 4, len(build_id), 3) + b"GNU\0" + build_id
    sections = [
        (".BTF_ids", 1, 2, words, 0, 0, 1, 0),
        (".symtab", 2, 0, table, 3, len(ids.symbols) + 1, 8, 24 if wide else 16),
        (".strtab", 3, 0, names, 0, 0, 1, 0),
        (".note.gnu.build-id", 7, 2, note, 0, 0, 4, 0),
    ]
    text = b"\0" + b"".join(s[0].encode() + b"\0" for s in sections) + b".shstrtab\0"
    sections.append((".shstrtab", 3, 0, text, 0, 0, 1, 0))
    word = "Q" if wide else "I"
    header = f"{order}II4{word}II2{word}"
    body = b""
    start = 64 if wide else 52
    headers = bytes(struct.calcsize(header))
    for name, kind, flags, data, link, info, align, entry in sections:
        body += bytes(-(start + len(body)) % 8)
        place = (text.index(name.encode() + b"\0"), kind, flags, 0, start + len(body), len(data))
        headers += struct.pack(header, *place, link, info, align, entry)
        body += data
    body += bytes(-(start + len(body)) % 8)
    machine = 62 if order == "<" else 22
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    each = struct.calcsize(header)
    rest = (1, machine, 1, 0, 0, start + len(body), 0, start, 0, 0, each)
    rest_of_table = (len(sections) + 1, len(sections))
    return ident + struct.pack(f"{order}HHI3{word}I6H", *rest, *rest_of_table) + body + headers
