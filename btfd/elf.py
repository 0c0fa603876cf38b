"""What is this file, and why can it not be encoded?

Contract: looks at one file once, with pyelftools, and never raises over what it finds in it: a
damaged file is an answer too. Nothing here decides about bytes; the core does, and this room only
turns "no" into a sentence that helps.

Cost: the section table and a few small sections, 1 to 20 ms, and at the first call 30 for the
import of pyelftools. The cold path only: never called for a module that encodes.
"""

import os
import stat
from typing import Any, BinaryIO, NamedTuple

SIGNATURE = b"~Module signature appended~\n"
_RAW_BTF = (b"\x9f\xeb", b"\xeb\x9f")
#: What pyelftools raises over damaged input, besides its own errors.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)


class Identity(NamedTuple):
    """What a file is. `form` is elf, raw-btf, empty, special (no regular file), or other."""

    form: str
    bits: int = 0
    little_endian: bool = True
    type: str = ""
    machine: str = ""
    has_btf: bool = False
    has_dwarf: bool = False
    has_symbols: bool = False
    signed: bool = False
    build_id: str | None = None
    damage: str | None = None

    @property
    def is_module(self) -> bool:
        """A relocatable object, as a `.ko` is."""
        return self.type == "ET_REL"


def identify(path: str) -> Identity:
    """Looks into the file. Raises OSError where it cannot be opened."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return Identity("special")  # opening a pipe would wait for a writer
    with open(path, "rb") as f:
        magic = f.read(4)
        if not magic:
            return Identity("empty")
        if magic[:2] in _RAW_BTF:
            return Identity("raw-btf", little_endian=magic[:2] == _RAW_BTF[0], has_btf=True)
        if magic != b"\x7fELF":
            return Identity("other")
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        signed = _is_signed(f)
        f.seek(0)
        try:
            return _identify_elf(ELFFile(f), signed)
        except (ELFError, *_DAMAGE) as e:
            return Identity("elf", signed=signed, damage=str(e).split("\n")[0] or "damaged")


def _is_signed(f: BinaryIO) -> bool:
    size = f.seek(0, os.SEEK_END)
    f.seek(max(0, size - len(SIGNATURE)))
    return f.read() == SIGNATURE


def _identify_elf(elf: Any, signed: bool) -> Identity:
    end = elf.stream.seek(0, os.SEEK_END)
    table_end = elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"]
    damage = "cut off before its section table" if table_end > end else None
    names: set[str] = set()
    build_id = None
    if damage is None:
        for section in elf.iter_sections():
            names.add(section.name)
            if section["sh_type"] == "SHT_NOTE" and build_id is None:
                build_id = _build_id(section)
            section_end = section["sh_offset"] + section["sh_size"]
            if section["sh_type"] != "SHT_NOBITS" and section_end > end:
                damage = f"cut off inside section {section.name}"
    return Identity(
        "elf",
        bits=elf.elfclass,
        little_endian=elf.little_endian,
        type=str(elf["e_type"]),
        machine=str(elf["e_machine"]),
        has_btf=".BTF" in names,
        has_dwarf=bool(names & {".debug_info", ".zdebug_info"}),
        has_symbols=".symtab" in names,
        signed=signed,
        build_id=build_id,
        damage=damage,
    )


def _build_id(section: Any) -> str | None:
    for note in section.iter_notes():
        if note["n_type"] == "NT_GNU_BUILD_ID":
            return str(note["n_desc"])
    return None


def why_not(path: str) -> tuple[str, str | None] | None:
    """Cause and hint when the file plainly cannot be encoded; None when it seems fit."""
    try:
        found = identify(path)
    except OSError:
        return None
    match found.form:
        case "special":
            return "not a regular file", None
        case "empty":
            return "empty file", "it may still be being linked"
        case "raw-btf":
            return "raw BTF, not an ELF file", "raw BTF can only serve as a base"
        case "other":
            return "not an ELF file", None
    if found.damage is not None:
        return found.damage, "it may still be being linked, or the disk was full"
    if found.signed:
        return (
            "the module is signed, and encoding would break the signature",
            "encode in the build tree, before modules_install signs",
        )
    if not found.has_dwarf:
        return "no DWARF", "build with CONFIG_DEBUG_INFO, and encode before strip"
    if not found.has_symbols:
        return "no symbol table", "encode before strip"
    return None


def is_bare(path: str) -> bool:
    """Whether it is a sound ELF file without any DWARF."""
    try:
        found = identify(path)
    except OSError:
        return False
    return found.form == "elf" and found.damage is None and not found.has_dwarf
