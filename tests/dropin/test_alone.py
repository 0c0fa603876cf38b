"""Without a daemon: a complete encoder, with pahole's exit statuses and more words."""

from __future__ import annotations

import os
import re
import shutil
import struct
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from btfd import __version__
from tests.dropin.conftest import PROGRAM, Tree
from tests.support import ids
from tests.support.run import btfd, must, run

MODULE = "kernel/drivers/net/loopy.ko"
BARE = "kernel/lib/plain.ko"
NEWEST = (
    "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func"
)
ROOT = Path(__file__).parents[2]


def test_version_is_one_line(tmp_path: Path) -> None:
    done = run(PROGRAM, "--version", cwd=tmp_path, env={"BTFD_SOCKET": "/nonexistent/x"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "v1.31\n", "")


def test_the_socket_is_that_of_this_version() -> None:
    manifest = (ROOT / "core/Cargo.toml").read_text()
    assert f'\nversion = "{__version__}"\n' in manifest


def test_in_place_equals_the_command_line(tree: Tree) -> None:
    names = NEWEST.partition("=")[2]
    copy = tree.root / "copy.ko"
    shutil.copy(tree.root / MODULE, copy)
    base = tree.root / "vmlinux"
    done = btfd("encode", "--base", base, "--btf-features", names, copy)
    assert done.returncode == 0, done.stderr
    (tree.root / MODULE).chmod(0o640)
    done = tree.kbuild(f"-j {NEWEST} --lang_exclude=rust", MODULE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree.btf(MODULE) == tree.btf("copy.ko")
    assert (tree.root / MODULE).stat().st_mode & 0o777 == 0o640


def test_a_module_that_is_right_is_newer_afterwards(tree: Tree) -> None:
    path = tree.root / MODULE
    tree.kbuild("", MODULE)
    content = path.read_bytes()
    os.utime(path, (1, 1))
    before = time.time()
    assert tree.kbuild("", MODULE).returncode == 0
    assert path.read_bytes() == content
    assert path.stat().st_mtime >= before - 1


def test_detached_leaves_the_module_alone(tree: Tree) -> None:
    path = tree.root / MODULE
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    raw = tree.root / "loopy.ko.BTF.1"
    raw.write_bytes(b"x" * 1_000_000)
    words = ("--btf_base", "./vmlinux", f"--btf_encode_detached={raw.name}", MODULE)
    done = tree.run(f"-J -j {NEWEST} --btf_features=layout --lang_exclude=rust", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    tree.kbuild(NEWEST, MODULE)
    assert raw.read_bytes() == tree.btf(MODULE)
    assert before[0] != path.read_bytes(), "in place was the second"
    assert not [name for name in os.listdir(tree.root) if name.startswith(".btfd")]


def test_a_module_may_bring_its_own_base(tree: Tree) -> None:
    """As kbuild asks for modules out of the tree, since 6.11."""
    done = tree.kbuild(f"{NEWEST} --btf_features=distilled_base", MODULE)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree.section(MODULE, ".BTF.base")
    checked = btfd("verify", tree.root / MODULE, "--base", tree.root / "vmlinux")
    assert checked.returncode == 0, checked.stderr
    tree.kbuild(NEWEST, MODULE)
    assert not tree.section(MODULE, ".BTF.base")


def test_verbose_names_the_functions_left_out(tree: Tree) -> None:
    module = "kernel/lib/protos.ko"
    done = tree.run(f"-J -V {NEWEST} --btf_base vmlinux", module)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    named = [line.partition(" : skipping BTF encoding of function due to ") for line in lines]
    assert all(name and reason for name, _, reason in named), lines
    shown = btfd("dump", tree.root / module, "--base", tree.root / "vmlinux").stdout
    assert not [name for name, _, _ in named if f"FUNC '{name}'" in shown]
    assert tree.run(f"-J {NEWEST} --btf_base vmlinux", module).stdout == ""


def test_vmlinux_gets_btf_of_its_own(tree: Tree) -> None:
    done = tree.run(f"-J {NEWEST} -j", "--btf_encode_detached=out.btf", "vmlinux")
    assert (done.returncode, done.stderr) == (0, "")
    done = btfd("encode", "--detached", tree.root / "other.btf", tree.root / "vmlinux")
    assert done.returncode == 0
    raw = (tree.root / "out.btf").read_bytes()
    assert struct.unpack_from("<HBB", raw) == (0xEB9F, 1, 0)
    assert b"\0task" in raw or len(raw) > 1000


def test_a_raw_base_is_as_good(tree: Tree) -> None:
    expected = tree.expected(MODULE)
    raw = tree.section("vmlinux", ".BTF")
    assert raw is not None
    (tree.root / "vmlinux").write_bytes(raw)
    assert tree.expected(MODULE) == expected


def test_a_base_without_bytes_is_named(tree: Tree) -> None:
    debug = tree.root / "vmlinux.debug"
    loaded = tree.root / "vmlinux.loaded"
    must("objcopy", "--set-section-flags", ".BTF=alloc,readonly", tree.root / "vmlinux", loaded)
    must("objcopy", "--only-keep-debug", loaded, debug)
    for base, word in [
        ("vmlinux.debug", "no bytes"),
        ("nowhere", "cannot open"),
        (MODULE, "no .BTF section"),
    ]:
        done = tree.run("-J", "--btf_base", base, MODULE)
        assert done.returncode == 1
        assert f"Failed to parse base BTF '{base}'" in done.stderr
        assert word in done.stderr
        assert tree.btf(MODULE) is None


def test_without_dwarf(tree: Tree) -> None:
    """pahole 1.31 says nothing here; a build goes on all the same."""
    done = tree.kbuild("", BARE)
    assert done.returncode == 0
    assert "plain.ko: it has no DWARF" in done.stderr.replace("no debug information", "no DWARF")
    assert "hint:" in done.stderr
    # resolve_btfids of Linux 7 wants a file, and there are no types to put into it.
    done = tree.run("-J --btf_base vmlinux", "--btf_encode_detached=bare.btf", BARE)
    assert done.returncode == 0
    assert len((tree.root / "bare.btf").read_bytes()) == 24
    must("objcopy", "--strip-debug", tree.root / "vmlinux", tree.root / "stripped")
    done = tree.run("-J", "--btf_encode_detached=v.btf", "stripped")
    assert done.returncode == 1
    assert not (tree.root / "v.btf").exists()


@pytest.mark.parametrize("flags", ["-C list_head", "--nothing", "-J -F btf", "-J a.ko", "--help"])
def test_what_is_not_ours_goes_to_pahole(tree: Tree, flags: str) -> None:
    done = tree.run(flags, MODULE, KEPT="kept")
    said = f"pahole {flags} {MODULE}\n{tree.root}\nkept\n"
    assert (done.returncode, done.stdout, done.stderr) == (7, said, "said\n")


def test_what_is_refused_goes_to_pahole(tree: Tree) -> None:
    (tree.root / "text").write_text("no ELF file")
    done = tree.run("-J --btf_base vmlinux", "text")
    assert done.returncode == 7
    assert done.stderr.startswith("btfd-pahole: text: not an ELF file")
    done = tree.run("-J --btf_base vmlinux", "text", BTFD_REAL_PAHOLE="/nonexistent", PATH="")
    assert done.returncode in (0, 1)
    assert "text: not an ELF file" in done.stderr


def test_it_never_finds_itself(tree: Tree, tmp_path: Path) -> None:
    """By a link it knows itself; by a copy it stops after one step."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "pahole").symlink_to(PROGRAM)
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copy(PROGRAM, copies / "pahole")
    path = f"{bin}:{copies}"
    done = run(PROGRAM, "-C", "x", cwd=tree.root, env={"PATH": path, "BTFD_REAL_PAHOLE": ""})
    assert done.returncode == 64
    assert "install pahole" in done.stderr
    named = {"PATH": "", "BTFD_REAL_PAHOLE": str(PROGRAM)}
    assert run(PROGRAM, "-C", "x", cwd=tree.root, env=named).returncode == 64


def test_help_speaks_of_btf_without_pahole() -> None:
    done = run(PROGRAM, "--help", env={"PATH": "", "BTFD_REAL_PAHOLE": ""})
    assert done.returncode == 0
    assert re.search("BTF", done.stdout)


class TestIds:
    """`.BTF_ids` is what the linker left, for the resolve_btfids that comes next."""

    SET = "bpf_kfuncs"
    MEMBERS = (("kf_c", 1), ("kf_a", 2), ("kf_b", 4))

    def module(self, tree: Tree, flags_like: tuple[int, ...]) -> bytes:
        """Turns a module into one with a set of kfuncs; gives the words that the linker wrote."""
        made = ids.Ids()
        names = [name for name, _ in self.MEMBERS]
        made.flagged_set(self.SET, 1, list(zip(names, flags_like, strict=True)))
        source = tree.root / "kf.c"
        functions = "".join(f"void {n}(int x) {{ (void)x; }}\n" for n in names)
        words = ", ".join(map(str, made.words))
        lines = [
            f'unsigned words[] __attribute__((section(".BTF_ids,\\"a\\"#"))) = {{ {words} }};',
        ]
        for name, at, size in made.symbols:
            lines.append(
                f'__asm__(".set {name}, words + {at}\\n.type {name}, @object\\n'
                f'.size {name}, {size}");'
            )
        source.write_text(functions + "\n".join(lines) + "\n")
        must("gcc", "-g", "-c", "-ffreestanding", "-fno-pic", source, "-o", tree.root / "kf.o")
        must("ld", "-r", "--build-id", tree.root / "kf.o", "-o", tree.root / "kf.ko", cwd=tree.root)
        words_now = tree.section("kf.ko", ".BTF_ids")
        assert words_now == struct.pack(f"<{len(made.words)}I", *made.words)
        return words_now

    def resolve(self, tree: Tree) -> CompletedProcess[str]:
        """As resolve_btfids does it: sorted by id, flags moved along."""
        plain = "var,decl_tag,type_tag,enum64"
        base = tree.root / "vmlinux"
        return btfd("encode", "--base", base, "--btf-features", plain, tree.root / "kf.ko")

    def test_flags_come_back_to_their_functions(self, tree: Tree) -> None:
        pristine = self.module(tree, (1, 2, 4))
        tree.kbuild("", "kf.ko")
        assert tree.section("kf.ko", ".BTF_ids") == pristine, "a fresh link is left alone"
        assert self.resolve(tree).returncode == 0
        resolved = tree.section("kf.ko", ".BTF_ids")
        assert resolved != pristine
        tree.kbuild("", "kf.ko")
        assert tree.section("kf.ko", ".BTF_ids") == pristine
        # Where no resolve_btfids follows, they must be right by themselves.
        assert self.resolve(tree).returncode == 0
        assert tree.run("-J --btf_base vmlinux", "kf.ko").returncode == 0
        assert tree.section("kf.ko", ".BTF_ids") == resolved

    def test_even_after_they_were_mixed_up(self, tree: Tree) -> None:
        """The object file still has the words, whatever somebody did to the module."""
        pristine = self.module(tree, (1, 2, 4))
        self.resolve(tree)
        words = list(struct.unpack("<8I", tree.section("kf.ko", ".BTF_ids") or b""))
        words[3], words[5], words[7] = words[5], words[7], words[3]
        (tree.root / "words").write_bytes(struct.pack("<8I", *words))
        must("objcopy", "--update-section", ".BTF_ids=words", "kf.ko", cwd=tree.root)
        tree.kbuild("", "kf.ko")
        assert tree.section("kf.ko", ".BTF_ids") == pristine
