"""Every machine, compiler, and way to link, with every feature that changes what is encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import btf
from tests.support.run import KBUILD_FEATURES
from tests.toolchain.compilers import MORE, Compiler, Machine, Workshop, clangs, compilers
from tests.toolchain.reference import assert_same, encode

every_compiler = pytest.mark.parametrize("compiler", compilers(), ids=str)
FEATURES = {
    "kbuild": KBUILD_FEATURES,
    "variables of all sections": KBUILD_FEATURES + ",global_var",
    "every function": "float,var,enum64",
    "without enum64": "float,decl_tag,type_tag,consistent_func",
    "none": "",
}
#: The first LLVM that needs nobody else for such a machine.
LLVM_SINCE = {"loongarch64": 16, "sparc64": 16, "armeb": 17}


@every_compiler
def test_objects(compiler: Compiler, workshop: Workshop, tmp_path: Path) -> None:
    """Each source alone: CUs without `int`, without functions, without variables."""
    for path in workshop.objects(compiler):
        assert assert_same(path, tmp_path).warnings == []


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@every_compiler
def test_module(compiler: Compiler, features: str, workshop: Workshop, tmp_path: Path) -> None:
    assert_same(workshop.module(compiler), tmp_path, features)


@pytest.mark.parametrize("features", list(FEATURES.values())[:2], ids=list(FEATURES)[:2])
@every_compiler
def test_executable(compiler: Compiler, features: str, workshop: Workshop, tmp_path: Path) -> None:
    """Addresses instead of offsets in sections; relocations are applied."""
    assert_same(workshop.executable(compiler), tmp_path, features)


@every_compiler
def test_split(compiler: Compiler, workshop: Workshop, tmp_path: Path) -> None:
    """Over a base made of one of its sources."""
    base = encode(workshop.object(compiler, "types.c")).raw
    ours = assert_same(workshop.module(compiler), tmp_path, base=base)
    assert 0 < len(ours.types(btf.Btf(base))) < len(encode(workshop.module(compiler)).types())


@pytest.mark.parametrize("machine", MORE, ids=lambda machine: machine.name)
def test_relocations_are_applied(machine: Machine, workshop: Workshop) -> None:
    """Machines that not every libdw can relocate: a module has the types of a linked executable."""
    family = clangs()[-1]
    version = family.removeprefix("clang-")
    needed = LLVM_SINCE.get(machine.name, 0)
    if not (version.isdigit() and int(version) >= needed):
        pytest.skip(f"LLVM assembles and links {machine.name} by itself since {needed}")
    compiler = Compiler(family, machine)
    features = "float,decl_tag,type_tag,enum64"
    module = encode(workshop.module(compiler), features).types()
    executable = encode(workshop.executable(compiler), features).types()
    verdict = btf.compare(module, executable, functions=False)
    assert verdict.same, "\n".join(verdict.lines)
