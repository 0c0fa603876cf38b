"""The same bytes for every number of threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import tree
from tests.support import sample
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES
from tests.toolchain.compilers import X86_64, Compiler, Workshop
from tests.toolchain.reference import encode

FEATURES = KBUILD_FEATURES + ",global_var"


def assert_deterministic(path: Path, base: bytes | None = None) -> bytes:
    results = {encode(path, FEATURES, base=base, threads=n).raw for n in (1, 2, 8)}
    results.add(encode(path, FEATURES, base=base).raw)
    assert len(results) == 1, path
    return results.pop()


def test_sample(sample_tree: Path) -> None:
    base = assert_deterministic(sample_tree / "vmlinux")
    for name in sample.modules(sample_tree):
        if name not in sample.WITHOUT_DWARF:
            assert_deterministic(sample_tree / name, base)


def test_module(workshop: Workshop) -> None:
    assert_deterministic(workshop.module(Compiler("gcc", X86_64)))


def test_real_module() -> None:
    """Of many CUs, in a tree that is here already."""
    try:
        found = tree.present()
    except tree.NoTree as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip(f"no kernel tree in {tree.cache_dir()}")
    base = Elf.read(found.vmlinux).contents(".BTF")
    for name in ("nf_conntrack", "xfs"):
        assert_deterministic(found.root / found.find(name), base)
