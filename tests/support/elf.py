"""Just enough ELF for the tests: section headers of a 64-bit file, by hand.

Kept apart from the core and from pyelftools, so that a test never trusts the code it tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

SHT_NULL = 0
SHT_NOBITS = 8
SHF_ALLOC = 2


class BadElf(Exception):
    """The bytes are not an ELF file that this reader understands."""


@dataclass(slots=True)
class Section:
    """One section header; `name` is the text, `name_offset` what the header holds."""

    name: str
    name_offset: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


class Elf:
    """An ELF file in memory; `data` may be changed in place."""

    def __init__(self, data: bytes | bytearray) -> None:
        if data[:4] != b"\x7fELF" or len(data) < 64:
            raise BadElf("not an ELF file")
        if data[4] != 2:
            raise BadElf("not a 64-bit ELF file")
        self.data = bytearray(data)
        self.order = "<" if data[5] == 1 else ">"
        try:
            self.sections = self._sections()
        except (struct.error, ValueError) as error:
            raise BadElf(f"damaged section headers: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Elf:
        return cls(path.read_bytes())

    def _sections(self) -> list[Section]:
        (at,) = self.unpack("Q", 40)
        size, count, names = self.unpack("HHH", 58)
        first = self.unpack("IIQQQQIIQQ", at) if at else ()
        if at and count == 0:
            count = first[5]
        if at and names == 0xFFFF:
            names = first[6]
        raw = [self.unpack("IIQQQQIIQQ", at + i * size) for i in range(count)]
        if not raw:
            return []
        table = raw[names][4]
        return [Section(self.string(table + header[0]), *header) for header in raw]

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self.data, offset)

    def pack(self, form: str, offset: int, *values: int) -> None:
        struct.pack_into(self.order + form, self.data, offset, *values)

    def string(self, offset: int) -> str:
        return self.data[offset : self.data.index(0, offset)].decode("latin-1")

    def find(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, name: str) -> bytes | None:
        section = self.find(name)
        if section is None:
            return None
        return bytes(self.data[section.offset : section.offset + section.size])

    def modinfo(self, key: str) -> list[str]:
        """Values of `key` in .modinfo."""
        text = (self.contents(".modinfo") or b"").decode("latin-1")
        return [line[len(key) + 1 :] for line in text.split("\0") if line.startswith(key + "=")]
