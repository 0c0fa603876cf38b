"""What is this file, and why can it not be encoded? Files are made by gcc and binutils."""

import os
import subprocess
from pathlib import Path

import pytest

from btfd import elf


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return compile_object(tmp_path, "int answer(int x) { return x + 42; }\n")


def compile_object(folder: Path, source: str) -> Path:
    (folder / "m.c").write_text(source)
    target = folder / "m.ko"
    command = ["gcc", "-g", "-c", "-o", str(target), str(folder / "m.c")]
    subprocess.run(command, check=True)
    return target


def test_a_module(module: Path) -> None:
    found = elf.identify(str(module))
    assert (found.form, found.type, found.bits) == ("elf", "ET_REL", 64)
    assert found.is_module
    assert found.has_dwarf
    assert found.has_symbols
    assert not (found.has_btf or found.signed or found.damage)
    assert elf.why_not(str(module)) is None
    assert not elf.is_bare(str(module))


def test_without_dwarf_or_symbols(module: Path) -> None:
    subprocess.run(["strip", "--strip-debug", str(module)], check=True)
    assert elf.is_bare(str(module))
    cause = elf.why_not(str(module))
    assert cause is not None
    assert cause[0] == "no DWARF"


def test_every_length_has_an_answer(module: Path) -> None:
    whole = module.read_bytes()
    for length in range(0, len(whole), 37):
        module.write_bytes(whole[:length])
        assert elf.why_not(str(module)) is not None
        assert not elf.is_bare(str(module))


def test_damage_anywhere_is_survived(module: Path) -> None:
    whole = module.read_bytes()
    for at in range(4, 64):
        module.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        elf.identify(str(module))


def test_other_files(tmp_path: Path, module: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x9f\xeb\x01\x00")
    assert elf.identify(str(path)).form == "raw-btf"
    path.write_bytes(b"")
    assert elf.identify(str(path)).form == "empty"
    path.write_bytes(b"#!/bin/sh\n")
    assert elf.identify(str(path)).form == "other"
    os.mkfifo(tmp_path / "pipe")
    assert elf.identify(str(tmp_path / "pipe")).form == "special"
    with module.open("ab") as f:
        f.write(elf.SIGNATURE)
    assert elf.identify(str(module)).signed
    cause = elf.why_not(str(module))
    assert cause is not None
    assert "signed" in cause[0]


def test_the_build_id(tmp_path: Path, module: Path) -> None:
    linked = str(tmp_path / "linked")
    subprocess.run(["ld", "-r", "--build-id=0xabcdef01", "-o", linked, str(module)], check=True)
    assert elf.identify(linked).build_id == "abcdef01"
