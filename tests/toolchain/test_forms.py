"""DWARF 2 to 5, in all forms, compressed or not, from compilers and written by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from btfd import _core
from tests.support.btf import bytes_digest
from tests.support.run import KBUILD_FEATURES, must, run
from tests.toolchain.compilers import (
    FLAGS,
    MACHINES,
    SHAPES,
    SOURCES,
    X86_64,
    Compiler,
    Machine,
    Workshop,
    clangs,
    tool,
)
from tests.toolchain.reference import assert_same, encode

GOLDEN = Path(__file__).parent / "golden.json"
FEATURES = KBUILD_FEATURES + ",global_var"
#: What the sources in assembler are made for: their names, and symbols to be assembled with.
BY_HAND: dict[str, tuple[str, dict[str, int]]] = {
    "forms5": ("forms5.s", {}),
    "nameless": ("nameless.s", {}),
    "annotations": ("annotations.s", {"ENDLESS": 0}),
    **{f"forms{version}": ("forms2.s", {"VERSION": version}) for version in (2, 3, 4)},
}
#: What this machine's pahole need not agree with: libbpf of old does not take INTs of odd sizes,
#: and annotations of GCC are read since the one after 1.31.
GOLDEN_ALONE = ("nameless", "annotations")
#: binutils' assembler for RISC-V takes no differences of labels as LEB128.
ASSEMBLED = tuple(machine for machine in MACHINES if machine.name != "riscv64")

#: The component of a tag on all of a declaration.
NO_COMPONENT = 0xFFFFFFFF

of_each_family = pytest.mark.parametrize("family", ["gcc", *clangs()])
of_each_shape = pytest.mark.parametrize("machine", SHAPES, ids=lambda machine: machine.name)


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
@of_each_family
@of_each_shape
def test_versions(
    family: str, machine: Machine, strict: bool, version: int, workshop: Workshop, tmp_path: Path
) -> None:
    """Strict DWARF 2 and 3 have bitfields in the old style."""
    flags = [f"-gdwarf-{version}", *(["-gstrict-dwarf"] if strict else [])]
    assert_same(workshop.module(Compiler(family, machine), *flags), tmp_path, FEATURES)


@pytest.mark.parametrize(
    "flags",
    [
        *("-O0", "-O3", "-Os", "-gdwarf64", "-gz=zlib", "-ffunction-sections -fdata-sections"),
        *("-funsigned-char -fshort-enums", "-fno-eliminate-unused-debug-types", "-fno-inline"),
    ],
)
@of_each_family
def test_flags(family: str, flags: str, workshop: Workshop, tmp_path: Path) -> None:
    for machine in SHAPES[:2]:
        assert_same(workshop.module(Compiler(family, machine), *flags.split()), tmp_path, FEATURES)


@pytest.mark.parametrize("kind", ["zlib-gabi", "zlib-gnu", "zstd"])
@pytest.mark.parametrize("linked", [False, True], ids=["module", "executable"])
@of_each_shape
def test_compressed(
    machine: Machine, linked: bool, kind: str, workshop: Workshop, tmp_path: Path
) -> None:
    """The same bytes as of what was compressed; not every libdw knows zstd."""
    compiler = Compiler("gcc", machine)
    plain = workshop.executable(compiler) if linked else workshop.module(compiler)
    path = tmp_path / "compressed"
    objcopy = compiler.linker().removesuffix("ld") + "objcopy"
    done = run(objcopy, f"--compress-debug-sections={kind}", plain, path)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    assert path.stat().st_size < plain.stat().st_size
    assert encode(path, FEATURES).raw == encode(plain, FEATURES).raw
    if kind != "zstd":
        assert_same(path, tmp_path, FEATURES)


def by_hand(name: str, machine: Machine, workshop: Workshop) -> Path:
    """An object of assembler, from whatever assembler is here."""
    source, symbols = BY_HAND[name]
    compiler = Compiler("gcc", machine)
    if machine is not X86_64 and not shutil.which(f"{machine.triple}-gcc"):
        compiler = Compiler(clangs()[-1], machine)
    return workshop.assembled(compiler, source, **symbols)


@pytest.mark.parametrize("machine", ASSEMBLED, ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str, machine: Machine, workshop: Workshop, tmp_path: Path) -> None:
    path = by_hand(name, machine, workshop)
    expected = json.loads(GOLDEN.read_text())[f"{name}-{machine.name}"]
    assert bytes_digest(encode(path, FEATURES).types()) == expected
    if name not in GOLDEN_ALONE:
        assert_same(path, tmp_path, FEATURES)


def test_registers(workshop: Workshop, tmp_path: Path) -> None:
    """Functions whose name begins with "not_" are left out, all others are there."""
    path = workshop.assembled(Compiler("gcc", X86_64), "registers.s")
    ours = assert_same(path, tmp_path).types()
    found = {one.name for one in ours.types if one.kind == "FUNC"}
    symbols = [line.split()[-2:] for line in must("nm", path).stdout.splitlines()]
    functions = {name for kind, name in symbols if kind == "T"}
    assert found == {name for name in functions if not name.startswith("not_")}
    assert len(found) > 20


def test_annotations(workshop: Workshop) -> None:
    """GCC's tags in the order in which they stand in a source."""
    types = encode(by_hand("annotations", X86_64, workshop), FEATURES).types()
    tags = [one for one in types.types if one.kind == "DECL_TAG"]
    assert [(types[one.refs[0]].name, one.own[1], one.name) for one in tags] == [
        ("tagged", 1, "first"),
        ("tagged", 1, "second"),
        ("tagged", 2, "first"),
        ("tagged", 2, "second"),
        ("tagged", NO_COMPONENT, "second"),
        ("tagged_union", 0, "second"),
        ("tagged_function", 1, "second"),
        ("tagged_function", NO_COMPONENT, "first"),
        ("tagged_function", NO_COMPONENT, "second"),
    ]
    (inner,) = types.named("TYPE_TAG", "inner")
    outer = types[inner.refs[0]]
    assert (outer.kind, outer.name, outer.refs[0]) == ("TYPE_TAG", "outer", 0)
    without = encode(by_hand("annotations", X86_64, workshop), "float").types()
    assert {one.kind for one in without.types}.isdisjoint({"DECL_TAG", "TYPE_TAG"})


def test_annotations_without_end(workshop: Workshop) -> None:
    path = workshop.assembled(Compiler("gcc", X86_64), "annotations.s", ENDLESS=1)
    with pytest.raises(_core.CoreError, match="1024 annotations lead here"):
        encode(path, FEATURES)


def test_annotations_of_gcc(workshop: Workshop) -> None:
    """GCC has tags since 16, none of them on whole types; those of variables are not read."""
    compiler = tool("gcc-16", "gcc-17")
    path = workshop.directory / "tags-of-gcc.o"
    must(compiler, *FLAGS, f"-I{SOURCES}", "-c", "-o", path, SOURCES / "tags.c")
    types = encode(path, FEATURES).types()

    def names(kind: str) -> set[str]:
        return {one.name for one in types.types if one.kind == kind}

    where = ("member", "inner", "bit", "union member", "parameter", "function")
    assert names("DECL_TAG") == {"both", "twice", *(f"on {place}" for place in where)}
    assert names("TYPE_TAG") >= {"rcu", "user", "percpu", "a", "b", "to void", "param", "x"}


def test_forms_say_the_same(workshop: Workshop) -> None:
    """DWARF 2, 3 and 4 of one source give one result."""
    for machine in SHAPES:
        results = {
            encode(by_hand(f"forms{version}", machine, workshop)).raw for version in (2, 3, 4)
        }
        assert len(results) == 1
