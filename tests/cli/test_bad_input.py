"""Input that cannot be served: status 1, one line that names file and cause, nothing touched."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.elf import Elf
from tests.support.run import btfd, run

MODULE = "kernel/drivers/net/loopy.ko"
State = tuple[bytes, int, int, list[bytes]]


@pytest.fixture
def module(sample_tree: Path, tmp_path: Path) -> Path:
    """A module that encodes, to be spoiled."""
    return Path(shutil.copy2(sample_tree / MODULE, tmp_path))


@pytest.fixture(scope="session")
def base(encoded_tree: Path) -> Path:
    return encoded_tree / "vmlinux"


def state(path: Path) -> State:
    """Everything that must stay as it is: contents, inode, time, and no new neighbours."""
    status = path.stat()
    return (
        path.read_bytes(),
        status.st_ino,
        status.st_mtime_ns,
        sorted(os.listdir(bytes(path.parent))),
    )


def one_line(done: subprocess.CompletedProcess[str], named: Path | str, cause: str) -> str | None:
    """Checks how a refusal is told; returns the hint."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    hints = [line.strip() for line in lines if line.strip().startswith("hint:")]
    errors = [line for line in lines if not line.strip().startswith("hint:")]
    assert len(errors) == 1, done.stderr
    assert len(hints) <= 1, done.stderr
    assert Path(named).name in errors[0]
    assert re.search(cause, errors[0], re.IGNORECASE), errors[0]
    return hints[0] if hints else None


def refused(base: Path, module: Path, cause: str, *, named: Path | None = None) -> str | None:
    """Encodes in place what must be refused; returns the hint."""
    before = state(module)
    done = btfd("encode", "--base", base, module, timeout=60)
    hint = one_line(done, named or module, cause)
    assert state(module) == before
    return hint


# ---- the module --------------------------------------------------------------------------------


def test_good_module_is_accepted(base: Path, module: Path) -> None:
    """Or the tests below prove nothing."""
    done = btfd("encode", "--base", base, module)
    assert done.returncode == 0, done.stderr
    assert Elf.read(module).find(".BTF")


def test_truncated_at_many_lengths(base: Path, module: Path, tmp_path: Path) -> None:
    whole = module.read_bytes()
    lengths = {0, 1, 3, 4, 15, 16, 40, 63, 64, 65, len(whole) - 1, len(whole) - 64}
    lengths |= {len(whole) * i // 24 for i in range(24)}
    paths = []
    for length in sorted(lengths):
        path = tmp_path / f"cut{length:06}.ko"
        path.write_bytes(whole[:length])
        paths.append(path)
    before = [state(path) for path in paths]
    done = btfd("encode", "--base", base, *paths, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if not line.strip().startswith("hint:")]
    for path in paths:
        assert sum(path.name in line for line in told) == 1, (path.name, done.stderr)
    assert [state(path) for path in paths] == before


@pytest.mark.parametrize("part", [0, 10, 64, 5000])
def test_truncated(base: Path, module: Path, part: int) -> None:
    module.write_bytes(module.read_bytes()[:part])
    refused(base, module, r"truncated|cut|short|empty|not an ELF|end|damaged|invalid|out of")


def test_not_an_elf(base: Path, module: Path) -> None:
    module.write_text("#!/bin/sh\nexit 0\n" * 20)
    refused(base, module, r"not an? ELF|no ELF")


def test_no_dwarf(base: Path, sample_tree: Path, tmp_path: Path) -> None:
    (name,) = sample.WITHOUT_DWARF
    copy = Path(shutil.copy2(sample_tree / name, tmp_path))
    assert refused(base, copy, r"DWARF|debug info")


def test_no_symbol_table(base: Path, module: Path) -> None:
    elf = Elf.read(module)
    (headers,) = elf.unpack("Q", 40)
    index = next(i for i, section in enumerate(elf.sections) if section.name == ".symtab")
    elf.pack("I", headers + 64 * index + 4, 1)  # SHT_PROGBITS, and another name
    name = elf.data.index(b"\0.symtab\0") + 1
    elf.data[name : name + 7] = b".nothin"
    module.write_bytes(elf.data)
    refused(base, module, r"symbol")


def test_base_of_another_kernel(base: Path, tmp_path: Path) -> None:
    sample.build(tmp_path / "other", "RELEASE=6.13.1-other")
    module = tmp_path / "other" / MODULE
    assert refused(base, module, r"6\.13\.1-other.*6\.12\.0-sample|6\.12\.0-sample.*6\.13\.1-other")


def test_signed_module(base: Path, module: Path) -> None:
    signature = b"\x30\x82\x01\x00" + bytes(256)
    trailer = struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(signature))
    with module.open("ab") as file:
        file.write(signature + trailer + b"~Module signature appended~\n")
    assert refused(base, module, r"sign")


def test_directory(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder.ko"
    folder.mkdir()
    one_line(btfd("encode", "--base", base, folder, timeout=60), folder, r"director|regular")


def test_named_pipe(base: Path, tmp_path: Path) -> None:
    """Must not wait for somebody to write into it."""
    pipe = tmp_path / "pipe.ko"
    os.mkfifo(pipe)
    one_line(btfd("encode", "--base", base, pipe, timeout=60), pipe, r"pipe|fifo|regular|special")


def test_missing_file(base: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.ko"
    one_line(btfd("encode", "--base", base, missing), missing, r"no such file|not found|missing")


def test_others_are_served(base: Path, module: Path, tmp_path: Path) -> None:
    """One bad file does not keep the rest from getting theirs."""
    missing = tmp_path / "missing.ko"
    one_line(btfd("encode", "--base", base, missing, module), missing, r"no such file|missing")
    assert Elf.read(module).find(".BTF")


def test_detached_writes_nothing(base: Path, module: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.btf"
    module.write_bytes(b"\x7fELF")
    one_line(btfd("encode", "--base", base, "--detached", out, module), module, r".")
    assert not out.exists()


# ---- the base ----------------------------------------------------------------------------------


def _cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def _wild_type(raw: bytes) -> bytes:
    """The first type gets a kind that does not exist."""
    header, types = struct.unpack_from("<II", raw, 4)
    at = header + types + 4
    return raw[:at] + struct.pack("<I", 31 << 24) + raw[at + 4 :]


def _wild_length(raw: bytes) -> bytes:
    return raw[:12] + struct.pack("<I", 0xFFFFFFF0) + raw[16:]


@pytest.mark.parametrize(
    "spoil",
    [
        _cut,
        _wild_type,
        _wild_length,
        lambda raw: raw[:10],
        lambda raw: b"",
        lambda raw: b"no BTF" * 9,
    ],
    ids=["cut", "wild-type", "wild-length", "short", "empty", "text"],
)
def test_corrupt_base(
    spoil: Callable[[bytes], bytes], base: Path, module: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.btf"
    bad.write_bytes(spoil(Elf.read(base).contents(".BTF") or b""))
    refused(bad, module, r".", named=bad)


def test_base_without_btf(sample_tree: Path, module: Path) -> None:
    vmlinux = sample_tree / "vmlinux"
    refused(vmlinux, module, r"no \.?BTF", named=vmlinux)


def test_missing_base(module: Path, tmp_path: Path) -> None:
    missing = tmp_path / "vmlinux"
    refused(missing, module, r"no such file|not found|missing", named=missing)


# ---- the place ---------------------------------------------------------------------------------


@contextmanager
def mounted(*arguments: str | Path, at: Path) -> Iterator[None]:
    """A mount for as long as it takes; skips where this user may not mount."""
    done = run("mount", *arguments, at)
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        run("umount", "--lazy", at)


def test_read_only_place(base: Path, module: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if os.geteuid() != 0:
        moved = Path(shutil.copy2(module, place))
        moved.chmod(0o444)
        place.chmod(0o555)
        try:
            refused(base, moved, r"permission|read-only|denied")
        finally:
            place.chmod(0o755)
        return
    with mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", at=place):
        moved = Path(shutil.copy2(module, place))
        if run("mount", "-o", "remount,ro", place).returncode:
            pytest.skip("may not remount here")
        refused(base, moved, r"read-only|permission")


def test_full_disk(base: Path, module: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to mount it")
    place = tmp_path / "place"
    place.mkdir()
    pages = -(-module.stat().st_size // 4096)
    with mounted("-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", at=place):
        moved = Path(shutil.copy2(module, place))
        with (place / "fill").open("wb", buffering=0) as fill:
            try:
                while fill.write(bytes(4096)):
                    pass
            except OSError:
                pass
        refused(base, moved, r"no space|full")


# ---- the name ----------------------------------------------------------------------------------


def test_name_that_is_not_utf8(base: Path, module: Path) -> None:
    name = bytes(module.parent) + b"/caf\xe9.ko"
    os.rename(module, name)
    done = btfd("encode", "--json", "--base", base, name)
    assert done.returncode == 0, done.stderr
    assert Elf(Path(os.fsdecode(name)).read_bytes()).find(".BTF")


def test_missing_name_that_is_not_utf8(base: Path, tmp_path: Path) -> None:
    done = btfd("encode", "--base", base, bytes(tmp_path) + b"/caf\xe9.ko")
    one_line(done, "caf", r"no such file|missing")
