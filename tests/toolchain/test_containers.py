"""Ways in which DWARF is split, merged or referred to, and languages other than C."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from btfd import _core
from tests.support import btf
from tests.support.run import KBUILD_FEATURES, must
from tests.toolchain.compilers import (
    FLAGS,
    MACHINES,
    SOURCES,
    X86_64,
    Compiler,
    Machine,
    Workshop,
    clangs,
    tool,
)
from tests.toolchain.reference import assert_same, encode, pahole

GCC = Compiler("gcc", X86_64)
PLAIN = ["types.c", "functions.c", "functions_b.c", "data.c"]
GLOBAL = KBUILD_FEATURES + ",global_var"
of_each_clang = pytest.mark.parametrize("family", clangs())


def note(path: Path, value: int) -> Path:
    """An object with the kernel's word on whether its CUs refer to each other."""
    source = path.with_suffix(".s")
    source.write_text(
        f'.section .note.Linux,"a",%note\n.long 6, 4, 0x101\n.asciz "Linux"\n.balign 4\n'
        f".long {value}\n"
    )
    must(*GCC.command(), "-c", "-o", path, source)
    return path


# ---- link-time optimization --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["-flto", "-flto -ffat-lto-objects"])
def test_gcc_lto(kind: str, workshop: Workshop, tmp_path: Path) -> None:
    flags = kind.split()
    objects = [workshop.object(GCC, source, *flags) for source in PLAIN]
    for path in objects:
        assert_same(path, tmp_path)
    out = tmp_path / "lto.ko"
    must(*GCC.command(), *FLAGS, *flags, "-r", "-flinker-output=nolto-rel", "-o", out, *objects)
    assert_same(out, tmp_path, GLOBAL)
    must(*GCC.command(), *FLAGS, *flags, "-nostdlib", "-static", "-Wl,-e,many", "-o", out,
         "-Wl,--unresolved-symbols=ignore-all", *objects)  # fmt: skip
    assert_same(out, tmp_path, GLOBAL)


def clang_lto(family: str, kind: str, workshop: Workshop, out: Path) -> Path:
    compiler = Compiler(family, X86_64)
    objects = [workshop.object(compiler, source, kind) for source in PLAIN]
    return compiler.link_module(out, *objects)


@pytest.mark.parametrize("kind", ["-flto", "-flto=thin"])
@of_each_clang
def test_clang_lto(family: str, kind: str, workshop: Workshop, tmp_path: Path) -> None:
    """CUs refer to each other with DW_FORM_ref_addr."""
    path = clang_lto(family, kind, workshop, tmp_path / "lto.ko")
    assert assert_same(path, tmp_path, GLOBAL).warnings == []


@of_each_clang
def test_lto_note(family: str, workshop: Workshop, tmp_path: Path) -> None:
    """A note that admits it changes nothing; one that denies it is not believed."""
    compiler = Compiler(family, X86_64)
    path = clang_lto(family, "-flto", workshop, tmp_path / "lto.ko")
    plain = encode(path).raw
    yes = compiler.link_module(tmp_path / "yes.ko", path, note(tmp_path / "1.o", 1))
    assert_same(yes, tmp_path)
    assert encode(yes).raw == plain
    no = compiler.link_module(tmp_path / "no.ko", path, note(tmp_path / "0.o", 0))
    assert encode(no).raw == plain


@pytest.mark.parametrize("value", [0, 1])
def test_note_without_lto(value: int, workshop: Workshop, tmp_path: Path) -> None:
    """A note alone makes all units be read as one."""
    out = tmp_path / "noted.ko"
    GCC.link_module(out, workshop.module(GCC), note(tmp_path / "note.o", value))
    assert_same(out, tmp_path, GLOBAL)


# ---- other languages ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("excluded", ["", "asm"])
def test_assembler(version: int, excluded: str, workshop: Workshop, tmp_path: Path) -> None:
    judge = pahole()
    if excluded and judge and not judge.is_reference:
        pytest.skip("pahole 1.24 has no name for this language")
    labels = tmp_path / "labels.o"
    must(*GCC.command(), "-c", f"-Wa,--gdwarf-{version}", "-o", labels, SOURCES / "labels.s")
    module = GCC.link_module(tmp_path / "asm.ko", *workshop.objects(GCC)[1:3], labels)
    ours = assert_same(module, tmp_path, lang_exclude=excluded)
    if version == 5:  # gas describes functions since then
        assert bool(ours.types().named("FUNC", "asm_function")) == (excluded == "")


@pytest.fixture(scope="session")
def rust_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rust") / "rust.o"
    must(
        *(tool("rustc"), "--crate-type=lib", "--emit=obj", "-g", "-C", "panic=abort"),
        *("-C", "opt-level=2", "--edition=2024", "-o", out, SOURCES / "no_std.rs"),
    )
    return out


@pytest.mark.parametrize("excluded", ["", "rust"])
def test_rust(excluded: str, rust_object: Path, workshop: Workshop, tmp_path: Path) -> None:
    judge = pahole()
    if excluded == "" and judge and not judge.is_reference:
        pytest.skip("pahole 1.24 leaves the members of Rust structs as they are written")
    first, *rest = workshop.objects(GCC)
    module = GCC.link_module(tmp_path / "rust.ko", first, rust_object, *rest)
    types = assert_same(module, tmp_path, GLOBAL, lang_exclude=excluded).types()
    assert len(types.named("STRUCT", "Point")) == (excluded == "")


def test_rust_members_ascend(rust_object: Path) -> None:
    """The kernel takes no others."""
    for one in encode(rust_object, lang_exclude="").types().types:
        if one.kind == "STRUCT":
            members = one.own[2]
            assert isinstance(members, tuple)
            offsets = [offset for _, offset in members]
            assert offsets == sorted(offsets), one.name


def test_nothing_left(rust_object: Path) -> None:
    """Every CU is in a language that is left out: no types, and the reason."""
    ours = encode(rust_object)
    assert len(ours.types()) == 0
    assert ours.warnings == ["nothing to encode: all of its CUs are in languages left out"]


@pytest.mark.parametrize("compiler", ["g++", *(c.replace("clang", "clang++") for c in clangs())])
def test_cpp(compiler: str, tmp_path: Path) -> None:
    def compiled(source: str) -> Path:
        out = tmp_path / f"{source}.o"
        must(tool(compiler), "-O2", "-g", "-ffreestanding", "-fno-exceptions", "-c", "-o", out,
             SOURCES / source)  # fmt: skip
        return out

    assert_same(compiled("plain.cpp"), tmp_path)
    with pytest.raises(_core.CoreError) as caught:
        encode(compiled("classes.cpp"))
    assert caught.value.kind == "dwarf"
    assert "classes.cpp): BTF has no kind for a DW_TAG_reference_type" in str(caught.value)


# ---- what BTF has no kind for ------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gcc", *clangs()])
def test_atomic(family: str, workshop: Workshop, tmp_path: Path) -> None:
    """As if there were no _Atomic, and the user is told where it was."""
    compiler = Compiler(family, X86_64)
    ours = encode(workshop.object(compiler, "atomics.c"))
    plain = assert_same(workshop.object(compiler, "atomics.c", "-DPLAIN"), tmp_path)
    verdict = btf.compare(ours.types(), plain.types())
    assert verdict.same, "\n".join(verdict.lines)
    assert plain.warnings == []
    (warning,) = ours.warnings
    for name in ("_Atomic flag_t", "counters.head", "counters.members"):
        assert name in warning


@pytest.mark.parametrize("family", ["gcc", *clangs()])
def test_complex(family: str, workshop: Workshop, tmp_path: Path) -> None:
    """A struct of two numbers where there are FLOATs, else a wide INT as pahole has it."""
    path = workshop.object(Compiler(family, X86_64), "complexes.c")
    without_floats = "decl_tag,type_tag"
    assert encode(path, without_floats).warnings == []
    judge = pahole()
    if judge and judge.is_reference:  # those of old give a number of 32 bytes up
        assert_same(path, tmp_path, without_floats)
    ours = encode(path)
    assert len(ours.warnings) == 1 and "complex numbers" in ours.warnings[0]
    types = ours.types()
    (signal,) = types.named("STRUCT", "signal")
    assert signal.own[0] == 32
    shapes = [types[ref] for ref in signal.refs]
    assert [(one.kind, one.name, one.own[0]) for one in shapes[:2]] == [
        ("STRUCT", "", 8),
        ("STRUCT", "", 16),
    ]
    assert shapes[1].own[2] == (("real", 0), ("imag", 64))
    assert {types[ref].name for ref in shapes[1].refs} == {"double"}
    assert len(types.named("FLOAT", "double")) == 1
    assert types.named("STRUCT", "node")


# ---- refused -----------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(_core.CoreError) as caught:
        encode(path)
    assert caught.value.kind == "dwarf"
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("family", ["gcc", *clangs()])
def test_split_dwarf(family: str, version: int, tmp_path: Path) -> None:
    out = tmp_path / "split.o"
    compiler = Compiler(family, X86_64)
    compiler.compile(SOURCES / "types.c", out, f"-gdwarf-{version}", "-gsplit-dwarf")
    assert refusal(out) == "its DWARF is split off into .dwo files"


@pytest.mark.parametrize("version", [4, 5])
def test_type_units(version: int, workshop: Workshop) -> None:
    flags = (f"-gdwarf-{version}", "-fdebug-types-section")
    for path in (workshop.object(GCC, "types.c", *flags), workshop.executable(GCC, *flags)):
        assert "type units" in refusal(path)


def test_dwz(workshop: Workshop, tmp_path: Path) -> None:
    tool("dwz")
    alone, first, second = (tmp_path / name for name in ("alone", "first", "second"))
    must("dwz", "-o", alone, workshop.executable(GCC))
    assert "dwz" in refusal(alone)
    for path in (first, second):
        shutil.copy(workshop.executable(GCC), path)
    must("dwz", "-m", tmp_path / "common", first, second)
    assert "supplementary file" in refusal(first)


# ---- size --------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES[:4:3], ids=lambda machine: machine.name)
def test_more_sections_than_fit_in_16_bits(
    machine: Machine, workshop: Workshop, tmp_path: Path
) -> None:
    """Section indexes from 65,280 on stand elsewhere: in the header, in symbols, in relocations."""
    compiler = Compiler("gcc", machine)
    filler = "".join(f'.section .filler{i},"a"\n.byte 0\n' for i in range(65_500))
    for source in ("functions.c", "data.c"):
        text, path = tmp_path / "many.s", tmp_path / "many.o"
        must(*compiler.command(), *FLAGS, f"-I{SOURCES}", "-S", "-o", text, SOURCES / source)
        text.write_text(filler + text.read_text())
        must(*compiler.command(), "-c", "-o", path, text)
        assert_same(path, tmp_path, GLOBAL)
        few = encode(workshop.object(compiler, source), GLOBAL).types()
        assert btf.compare(encode(path, GLOBAL).types(), few).same
