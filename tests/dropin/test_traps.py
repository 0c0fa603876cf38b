"""What kbuild does that is easily forgotten: directories, names, environments, files as they come.

Each is something that some kernel between 5.11 and 7.3 does, or that somebody's tree contains.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from btfd import __version__
from tests.dropin.conftest import PROGRAM, Tree
from tests.dropin.daemon import FakeDaemon, encoded
from tests.support.elf import Elf
from tests.support.run import must

MODULE = "kernel/drivers/net/loopy.ko"
#: A line of Debian's kbuild: -j twice, and defaults on top of a list.
DEBIAN = (
    "-j --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,"
    "consistent_func,decl_tag_kfuncs --btf_features=attributes -j "
    "--btf_features=+reproducible_build --lang_exclude=rust"
)


def attributes(path: Path) -> tuple[int, int, int]:
    """Type, flags and alignment of the one .BTF."""
    (found,) = [s for s in Elf.read(path).sections if s.name == ".BTF"]
    return found.type, found.flags, found.align


def start(
    tree: Tree, folder: Path, *words: str | bytes, **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Runs the drop-in in another directory of the tree."""
    place = {"BTFD_SOCKET": "none", "BTFD_REAL_PAHOLE": str(tree.pahole), "RESOLVE_BTFIDS": "x"}
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env={**os.environ, **place, **env},
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_the_section_is_as_pahole_makes_it(tree: Tree) -> None:
    done = tree.kbuild(DEBIAN, MODULE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert attributes(tree.root / MODULE) == (1, 0, 1)


@pytest.mark.parametrize("absolute", [False, True])
def test_out_of_the_tree_make_stands_where_the_module_is(tree: Tree, absolute: bool) -> None:
    """M= since 6.13: names are relative to the module's directory; before, absolute."""
    expected = tree.expected(MODULE)
    path = tree.root / MODULE
    base = f"{tree.root}/vmlinux" if absolute else "../../../vmlinux"
    done = start(tree, path.parent, "-J", "--btf_base", base, str(path) if absolute else path.name)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert tree.btf(MODULE) == expected


def test_the_daemon_is_told_whole_paths(tree: Tree, tmp_path: Path) -> None:
    path = tree.root / MODULE
    link = path.with_name("linked.ko")
    link.symlink_to(path.name)
    with FakeDaemon(tmp_path / "runtime", encoded(tree.header_only())) as daemon:
        words = ("-J", "--btf_base", "./../../../vmlinux", link.name)
        done = start(tree, path.parent, *words, BTFD_SOCKET=str(daemon.path))
    assert (done.returncode, done.stderr) == (0, b"")
    [call] = daemon.calls
    assert (call["module"], call["base"]) == (str(path), str(tree.root / "vmlinux"))


def test_names_that_are_not_text(tree: Tree, tmp_path: Path) -> None:
    """The daemon's language cannot name such a file; it is encoded without."""
    expected = tree.expected(MODULE)
    name = os.fsencode(tree.root) + b"/with \xff and space.ko"
    shutil.copy(os.fsencode(tree.root / MODULE), name)
    with FakeDaemon(tmp_path / "runtime", encoded(b"theirs")) as daemon:
        words = (b"-J", b"--btf_base", b"vmlinux", b"--btf_encode_detached=raw \xfe", name)
        done = start(tree, tree.root, *words, BTFD_SOCKET=str(daemon.path))
    assert (done.returncode, done.stderr, daemon.calls) == (0, b"", [])
    assert Path(os.fsdecode(os.fsencode(tree.root) + b"/raw \xfe")).read_bytes() == expected


def test_its_usual_place_and_version(tree: Tree, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {"BTFD_SOCKET": "", "XDG_RUNTIME_DIR": str(runtime)}
    words = ("-J", "--btf_base", "vmlinux", MODULE)
    answer = encoded(tree.header_only())
    with FakeDaemon(runtime / "btfd", answer, name="io.btfd-0.0.0") as older:
        assert start(tree, tree.root, *words, **env).returncode == 0
        assert (older.calls, tree.btf(MODULE) == tree.header_only()) == ([], False)
    with FakeDaemon(runtime / "btfd", answer, name=f"io.btfd-{__version__}") as daemon:
        assert start(tree, tree.root, *words, **env).returncode == 0
    assert len(daemon.calls) == 1
    assert tree.btf(MODULE) == tree.header_only()


def test_a_dry_run_is_none(tree: Tree) -> None:
    """These recipes run under `make -n` as well, and what comes after them expects the file."""
    words = ("-J", "--btf_base", "vmlinux", MODULE)
    done = start(tree, tree.root, *words, MAKEFLAGS="nrRs -j2 --jobserver-auth=3,4", MAKELEVEL="2")
    assert (done.returncode, done.stderr) == (0, b"")
    assert tree.btf(MODULE)


def test_no_objcopy_is_needed(tree: Tree) -> None:
    """LLVM_OBJCOPY may be several words, and nothing that runs."""
    words = ("-J", "--btf_base", "vmlinux", MODULE)
    done = start(tree, tree.root, *words, LLVM_OBJCOPY="/nonexistent/ccache objcopy", PATH="")
    assert (done.returncode, done.stderr) == (0, b"")
    assert tree.btf(MODULE)
    assert not list(tree.root.rglob("*.btf"))


def test_vmlinux_in_place_and_beside(tree: Tree) -> None:
    """Up to 6.19 into .tmp_vmlinux1; since 7.0 beside it, and it is linked from as it is."""
    work = tree.root / ".tmp_vmlinux1"
    must("objcopy", "--remove-section=.BTF", tree.root / "vmlinux", work)
    before = (work.read_bytes(), work.stat().st_mtime_ns)
    beside = f"--btf_encode_detached={work.name}.BTF.1"
    done = start(tree, tree.root, "-J", *DEBIAN.split(), beside, work.name)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (work.read_bytes(), work.stat().st_mtime_ns) == before
    raw = work.with_name(f"{work.name}.BTF.1").read_bytes()
    done = start(tree, tree.root, "-J", *DEBIAN.split(), work.name, LLVM_OBJCOPY="objcopy")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert tree.btf(work.name) == raw
    # As link-vmlinux.sh takes it out.
    out = tree.root / "btf.o"
    flags = ("--set-section-flags", ".BTF=alloc,readonly", "--strip-all")
    must("objcopy", "--only-section=.BTF", *flags, work, out)
    assert tree.btf("btf.o") == raw


def test_a_raw_file_gets_the_mode_that_the_umask_leaves(tree: Tree) -> None:
    words = ("-J", "--btf_base", "vmlinux", "--btf_encode_detached=out.BTF.1", MODULE)
    old = os.umask(0o027)
    try:
        assert start(tree, tree.root, *words).returncode == 0
    finally:
        os.umask(old)
    assert (tree.root / "out.BTF.1").stat().st_mode & 0o777 == 0o640


def test_a_raw_file_that_cannot_be_written(tree: Tree) -> None:
    words = ("-J", "--btf_base", "vmlinux", "--btf_encode_detached=nowhere/out.BTF.1", MODULE)
    done = start(tree, tree.root, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(b"btfd-pahole: kernel/drivers/net/loopy.ko: ")
    assert len(done.stderr.splitlines()) <= 2
    assert not (tree.root / "nowhere").exists()


def test_a_module_that_is_not_there(tree: Tree) -> None:
    """pahole 1.31 would say nothing and succeed."""
    words = ("-J", "--btf_base", "vmlinux", "gone.ko")
    done = start(tree, tree.root, *words, BTFD_REAL_PAHOLE="/nonexistent", PATH="")
    assert done.returncode == 1
    assert b"gone.ko: " in done.stderr
    assert not (tree.root / "gone.ko").exists()


def test_a_signature_is_not_dropped_in_silence(tree: Tree) -> None:
    """Every other tool loses it. Beside the module, there is nothing to lose."""
    path = tree.root / MODULE
    expected = tree.expected(MODULE)
    signature = b"\x30\x82\x01\x00" + bytes(256)
    trailer = struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(signature))
    with path.open("ab") as file:
        file.write(signature + trailer + b"~Module signature appended~\n")
    signed = path.read_bytes()
    assert tree.expected(MODULE) == expected
    words = ("-J", "--btf_base", "vmlinux", MODULE)
    done = start(tree, tree.root, *words, BTFD_REAL_PAHOLE="/nonexistent", PATH="")
    assert done.returncode == 0
    assert b"sign" in done.stderr
    assert b"it goes without BTF" in done.stderr
    assert path.read_bytes() == signed
    assert start(tree, tree.root, *words).returncode == 7, "pahole may"
