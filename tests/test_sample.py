"""The sample tree: is it what it claims to be, and does it get the BTF that it should?"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.support import btf, sample
from tests.support.elf import Elf
from tests.support.run import btfd, must, pahole_version

SHF_COMPRESSED = 0x800
VARIANTS = [(), ("DWARF=4",), ("COMPRESS=zlib",), ("DWARF=4", "COMPRESS=zlib")]


def symbols(path: Path) -> set[str]:
    return {line.split()[-1] for line in must("nm", path).stdout.splitlines()}


# ---- the tree itself -------------------------------------------------------------------------


def test_layout(sample_tree: Path) -> None:
    names = sample.modules(sample_tree)
    assert len(names) >= 8
    for name in names:
        assert name.startswith("kernel/")
        assert Elf.read(sample_tree / name).modinfo("vermagic"), name
    config = (sample_tree / "include/config/auto.conf").read_text()
    assert "CONFIG_DEBUG_INFO=y\n" in config and "DEBUG_INFO_BTF" not in config
    release = (sample_tree / "include/config/kernel.release").read_text().strip()
    magic = Elf.read(sample_tree / names[0]).modinfo("vermagic")[0]
    assert magic.startswith(release + " ")


def test_ingredients(sample_tree: Path) -> None:
    def has(name: str, section: str) -> bool:
        return Elf.read(sample_tree / name).find(section) is not None

    assert has("vmlinux", ".data..percpu")
    assert has("kernel/drivers/misc/counters.ko", ".data..percpu")
    for name in sample.modules(sample_tree):
        assert has(name, ".debug_info") == (name not in sample.WITHOUT_DWARF), name
    clones = symbols(sample_tree / "kernel/lib/clones.ko")
    assert any(".isra." in name for name in clones)
    assert any(".constprop." in name for name in clones)


def test_one_edit_links_one_module(tmp_path: Path) -> None:
    sources, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(sample.SOURCES, sources)
    sample.build(out, sources=sources)
    assert "LD" not in sample.build(out, sources=sources)
    before = (out / "kernel/lib/zoo.ko").stat()
    time.sleep(0.02)  # make compares times of modification
    with (sources / "kernel/lib/zoo.c").open("a") as file:
        file.write("\nint zoo_annex;\n")
    said = sample.build(out, sources=sources)
    assert [line for line in said.splitlines() if " LD " in line] == ["  LD  kernel/lib/zoo.ko"]
    after = (out / "kernel/lib/zoo.ko").stat()
    assert (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: ",".join(o) or "default")
def test_variants(options: tuple[str, ...], tmp_path: Path) -> None:
    sample.build(tmp_path, *options)
    for name in ("vmlinux", "kernel/lib/zoo.ko"):
        section = Elf.read(tmp_path / name).find(".debug_info")
        assert section is not None
        assert bool(section.flags & SHF_COMPRESSED) == ("COMPRESS=zlib" in options)
        shown = must("readelf", "--debug-dump=info", "--dwarf-depth=1", tmp_path / name).stdout
        versions = {line.split()[1] for line in shown.splitlines() if " Version:" in line}
        assert versions == {"4" if "DWARF=4" in options else "5"}


# ---- its BTF ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(encoded_tree: Path) -> btf.Btf:
    return btf.load(encoded_tree / "vmlinux")


@pytest.fixture(scope="module")
def types(encoded_tree: Path, base: btf.Btf) -> dict[str, btf.Btf]:
    """The BTF of each module, by the module's name."""
    return {
        Path(name).stem: btf.load(encoded_tree / name, base)
        for name in sample.modules(encoded_tree)
        if name not in sample.WITHOUT_DWARF
    }


def functions(one: btf.Btf) -> set[str]:
    return {each.name for each in one.types if each.kind == "FUNC"}


def members(one: btf.Btf, kind: str, name: str) -> list[tuple[str, int, int]]:
    """(name, bit offset, bit-field width) of each member of the one struct or union."""
    (found,) = one.named(kind, name)
    _, flag, shape = found.own
    assert isinstance(shape, tuple)
    return [(m, at & 0xFFFFFF if flag else at, at >> 24 if flag else 0) for m, at in shape]


def test_without_dwarf(encoded_tree: Path) -> None:
    for name in sample.WITHOUT_DWARF:
        assert Elf.read(encoded_tree / name).find(".BTF") is None


def test_base_types_stay_in_the_base(types: dict[str, btf.Btf]) -> None:
    kinds = {one.kind for one in types["nothing_new"].types}
    assert kinds <= {"ARRAY", "CONST", "FUNC", "FUNC_PROTO"}  # arrays: of .modinfo


def test_same_name_different_layout(types: dict[str, btf.Btf]) -> None:
    assert members(types["clash_alpha"], "STRUCT", "clash")[0] == ("id", 0, 0)
    assert members(types["clash_beta"], "STRUCT", "clash")[0] == ("serial", 0, 0)
    assert members(types["clash_beta"], "STRUCT", "task")[0] == ("only_in_beta", 0, 0)


def test_bit_fields(types: dict[str, btf.Btf]) -> None:
    assert members(types["bits"], "STRUCT", "bits_plain") == [
        ("a", 0, 1),
        ("b", 1, 2),
        ("c", 3, 29),
        ("d", 32, 4),
        ("e", 36, 4),
        ("f", 40, 3),
        ("g", 43, 1),
        ("mode", 44, 2),
    ]
    assert members(types["bits"], "STRUCT", "bits_packed") == [
        ("head", 0, 0),
        ("straddles", 8, 26),
        ("far", 34, 38),
    ]


def test_percpu_variables(types: dict[str, btf.Btf]) -> None:
    found = {one.name for one in types["counters"].types if one.kind == "VAR"}
    assert found == {"counters_total", "counters_each", "counters_on", "counters_last"}
    (section,) = types["counters"].named("DATASEC", ".data..percpu")
    assert len(section.refs) == 4


def test_choice_of_functions(types: dict[str, btf.Btf]) -> None:
    # pick has two prototypes, agree and check have two addresses
    assert functions(types["protos"]) == {"pick_one", "pick_two"}
    assert "check" not in functions(types["loopy"])
    assert {"scaled", "clones_run"} <= functions(types["clones"])
    assert {"asmlib_run", "asmlib_round", "asmlib_local"} == functions(types["asmlib"])


def test_wide_enumerators(base: btf.Btf, types: dict[str, btf.Btf]) -> None:
    (wide,) = base.named("ENUM64", "wide")
    assert wide.own[1:] == (0, (("WIDE_SMALL", 1, 0), ("WIDE_LARGE", 0x89ABCDEF, 0x1234567)))
    (signed,) = base.named("ENUM64", "wide_signed")
    assert signed.own[1] == 1
    assert any(one.kind == "ENUM64" for one in types["zoo"].types)


def test_declarations(types: dict[str, btf.Btf]) -> None:
    assert types["zoo"].named("FWD", "zoo_stranger")[0].own == (0,)
    assert types["zoo"].named("FWD", "zoo_unknown")[0].own == (1,)
    assert types["treefs"].named("FWD", "tree_journal")


def test_like_pahole(encoded_tree: Path, tmp_path: Path) -> None:
    """Types, variables and sections, over the same base. pahole 1.24 chooses other functions."""
    version = pahole_version()
    if version != "v1.24":
        pytest.skip(f"needs Debian's pahole v1.24 in PATH, found {version}")
    vmlinux = encoded_tree / "vmlinux"
    options = ("--btf_gen_floats", "--lang_exclude=rust")
    for name in ["vmlinux", *sample.modules(encoded_tree)]:
        if name in sample.WITHOUT_DWARF:
            continue
        copy = tmp_path / Path(name).name
        must("objcopy", "--remove-section=.BTF", encoded_tree / name, copy)
        over = () if name == "vmlinux" else ("--btf_base", vmlinux)
        must("pahole", "-J", *options, *over, copy)
        base = btf.load(vmlinux) if over else None
        ours, theirs = btf.load(encoded_tree / name, base), btf.load(copy, base)
        verdict = btf.compare(ours, theirs, functions=False)
        assert verdict.same, (name, verdict.lines)


@pytest.mark.parametrize("options", VARIANTS[1:], ids=",".join)
def test_same_types_from_every_variant(
    options: tuple[str, ...], encoded_tree: Path, base: btf.Btf, tmp_path: Path
) -> None:
    sample.build(tmp_path, *options)
    for name in sample.modules(tmp_path):
        if name in sample.WITHOUT_DWARF:
            continue
        out = tmp_path / "out.btf"
        done = btfd(
            "encode", "--base", encoded_tree / "vmlinux", "--detached", out, tmp_path / name
        )
        assert done.returncode == 0, done.stderr
        verdict = btf.compare(btf.load(encoded_tree / name, base), btf.load(out, base))
        assert verdict.same, (name, verdict.lines)
