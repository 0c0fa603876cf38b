"""`btfd check` finds what is wrong on disk, with the real core on the sample tree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.run import btfd, must

BITS = "kernel/drivers/misc/bits.ko"
LOOPY = "kernel/drivers/net/loopy.ko"


@pytest.fixture
def tree(encoded_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("BTFD_SOCKET", raising=False)
    return Path(shutil.copytree(encoded_tree, tmp_path / "tree", symlinks=True))


def check(tree: Path, *words: str) -> tuple[int, Mapping[str, str]]:
    done = btfd("check", tree, "--json", *words)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {item["module"]: item["state"] for item in found}


def take_btf(tree: Path, source: str, target: str) -> None:
    """Gives one module the BTF of another."""
    raw = tree / "raw"
    must("objcopy", f"--dump-section=.BTF={raw}", tree / source, tree / "unused")
    must("objcopy", f"--update-section=.BTF={raw}", tree / target)


def test_what_we_made_is_right(tree: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*.ko")}
    status, found = check(tree)
    assert status == 0
    modules = set(sample.modules(tree))
    assert {m for m, state in found.items() if state == "skipped"} == set(sample.WITHOUT_DWARF)
    assert {m for m, s in found.items() if s == "right"} == modules - set(sample.WITHOUT_DWARF)
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*.ko")}


def test_the_btf_of_another_module_is_wrong(tree: Path) -> None:
    take_btf(tree, LOOPY, BITS)
    status, found = check(tree)
    assert status == 1
    assert [m for m, state in found.items() if state == "wrong"] == [BITS]
    # Where kbuild makes it, BTF of another make passes as long as it fits vmlinux.
    assert check(tree, "--use", "kbuild") == (0, {**found, BITS: "foreign"})


def test_no_btf_is_wrong(tree: Path) -> None:
    must("objcopy", "--remove-section=.BTF", tree / BITS)
    done = btfd("check", tree)
    assert done.returncode == 1
    assert f"{BITS}: wrong: " in done.stderr
    assert "1 wrong" in done.stdout


def test_btf_over_another_base_is_wrong(tree: Path) -> None:
    # The base loses its types: nothing that the modules refer to is there any more.
    take_btf(tree, LOOPY, "vmlinux")
    status, found = check(tree, "--use", "kbuild")
    assert status == 1
    assert "right" not in found.values()


def test_without_dwarf_there_is_nothing_to_compare_with(tree: Path) -> None:
    must("objcopy", "--strip-debug", tree / BITS)
    status, found = check(tree)
    assert (status, found[BITS]) == (0, "foreign")


def test_no_tree_and_no_base(tree: Path, tmp_path: Path) -> None:
    assert btfd("check", tmp_path / "nothing").returncode == 2
    (tree / "vmlinux").unlink()
    done = btfd("check", tree)
    assert done.returncode == 1
    assert "vmlinux: no vmlinux in the tree" in done.stderr
