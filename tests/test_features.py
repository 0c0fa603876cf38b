"""Features that change more than which types there are, on objects compiled here."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from btfd import _core
from tests.support.btf import Btf, Type
from tests.support.elf import Elf
from tests.support.run import btfd, must

KERNEL = """
struct list { struct list *next, *prev; };
enum color { RED, GREEN };
typedef struct { int counter; } count_t;
struct device { int id; struct list entry; count_t users; %s };
struct device root;
enum color color;
"""

MODULE = """
struct list { struct list *next, *prev; };
enum color { RED, GREEN };
typedef struct { int counter; } count_t;
struct device { int id; struct list entry; count_t users; };
struct mine { struct list link; struct device *parent; enum color color; count_t users; };
static struct mine mine;
int probe(struct device *parent) { mine.parent = parent; return mine.color; }
"""

BY_VALUE = MODULE + "struct outer { struct device inside; } outer;\n"

KFUNCS = """
struct arena { int size; };
void *reserve(struct arena *a, void *where, int pages) { return a->size > pages ? where : 0; }
int release(void *p, void *q) { return p == q; }
int plain(void *p) { return !p; }

#define SET "__BTF_ID__set8__kfuncs"
#define FUNC(name, flags) ENTRY(name, flags)
#define ENTRY(name, flags) \\
    ".type __BTF_ID__func__" #name "__1, STT_OBJECT\\n" \\
    ".size __BTF_ID__func__" #name "__1, 4\\n" \\
    "__BTF_ID__func__" #name "__1: .long 0\\n.long " #flags "\\n"
asm(".pushsection .BTF_ids, \\"a\\"\\n" SET ": .long 0, 1\\n"
    FUNC(plain, PLAIN) FUNC(release, 0xc000) FUNC(reserve, 0x2000)
    ".size " SET ", . - " SET "\\n.popsection\\n");
"""

SPACE = "address_space(1)"
TAGS = ("decl_tag", "type_tag", "decl_tag_kfuncs", "consistent_func")


def compiled(path: Path, source: str, *flags: str) -> Path:
    code = path.with_suffix(".c")
    code.write_text(source)
    must("gcc", "-O1", "-g", "-c", *flags, "-o", path, code)
    return path


def kernel(path: Path, more: str = "") -> Path:
    """Raw base BTF, made as vmlinux' is."""
    made = _core.encode(compiled(path, KERNEL % more), None, ["decl_tag", "type_tag"])
    raw = path.with_suffix(".btf")
    raw.write_bytes(made.btf)
    return raw


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return kernel(tmp_path / "vmlinux.o")


def encode(module: Path, base: Path, *more: str | Path) -> str:
    done = btfd("encode", module, "--base", base, *more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_module_with_a_distilled_base(tmp_path: Path, base: Path) -> None:
    module = compiled(tmp_path / "m.ko", MODULE)
    assert encode(module, base, "--btf-features", "+distilled_base") == ""
    elf = Elf.read(module)
    below = Btf(elf.contents(".BTF.base") or b"")
    split = Btf(elf.contents(".BTF") or b"", below)
    kinds = {(one.kind, one.name): one.own for one in below.types}
    assert kinds == {
        ("INT", "int"): (4, 1 << 24 | 32),
        ("STRUCT", "list"): (16, 0, ()),
        ("STRUCT", "device"): (32, 0, ()),
        ("ENUM", "color"): (4, 0, ()),
    }
    (count,) = split.named("TYPEDEF", "count_t")
    assert split[count.refs[0]].kind == "STRUCT"
    (mine,) = split.named("STRUCT", "mine")
    assert [split[i].name for i in mine.refs] == ["list", "", "color", "count_t"]

    assert btfd("verify", module, "--base", base).stdout == f"{module}: accepted\n"
    shown = btfd("dump", module).stdout
    first = below.next
    assert shown.startswith(f"[{first}] ")
    relocated = btfd("dump", module, "--base", base).stdout
    assert relocated.startswith(f"[{Btf(base.read_bytes()).next}] ")
    assert len(relocated.splitlines()) == len(shown.splitlines())

    # The same once more changes nothing; without the feature no stale base is left.
    before = module.stat()
    encode(module, base, "--btf-features", "+distilled_base")
    assert module.stat().st_mtime_ns == before.st_mtime_ns
    encode(module, base)
    elf = Elf.read(module)
    assert elf.find(".BTF.base") is None
    assert Btf(elf.contents(".BTF") or b"", Btf(base.read_bytes())).named("STRUCT", "mine")


def test_verify_says_what_the_other_kernel_lacks(tmp_path: Path, base: Path) -> None:
    module = compiled(tmp_path / "m.ko", BY_VALUE)
    encode(module, base, "--btf-features", "+distilled_base")
    grown = kernel(tmp_path / "grown.o", "long more;")
    done = btfd("verify", module, "--base", grown)
    assert done.returncode == 1
    assert "struct device: the base has" in done.stderr
    assert "it has 40 bytes, expected 32, since the module has it inside" in done.stderr
    # Behind a pointer it may grow.
    pointed = compiled(tmp_path / "p.ko", MODULE)
    encode(pointed, base, "--btf-features", "+distilled_base")
    assert btfd("verify", pointed, "--base", grown).returncode == 0

    empty = tmp_path / "other.btf"
    empty.write_bytes(_core.encode(compiled(tmp_path / "o.o", "long x;"), None, ["var"]).btf)
    done = btfd("verify", pointed, "--base", empty)
    assert done.returncode == 1
    assert "enum color: the base has no type of that name" in done.stderr
    done = btfd("dump", pointed, "--base", empty)
    assert done.returncode == 1
    assert "that do not fit" in done.stderr


def test_where_a_distilled_base_is_left_out(tmp_path: Path, base: Path) -> None:
    module = compiled(tmp_path / "m.ko", MODULE)
    raw = tmp_path / "m.btf"
    said = encode(module, base, "--btf-features", "+distilled_base", "--detached", raw)
    assert "distilled_base is left out: a raw file has no place for .BTF.base" in said
    assert Btf(raw.read_bytes(), Btf(base.read_bytes())).named("STRUCT", "mine")
    alone = tmp_path / "image"
    must("gcc", "-shared", "-nostdlib", "-o", alone, compiled(tmp_path / "alone.o", MODULE))
    done = btfd("encode", alone, "--btf-features", "+distilled_base")
    assert done.returncode == 0
    assert "distilled_base is left out: there is no base to distil" in done.stderr


def test_ids_are_relative_to_the_distilled_base(tmp_path: Path, base: Path) -> None:
    module = compiled(tmp_path / "k.ko", KFUNCS, "-DPLAIN=0x100")
    flags = {"plain": 0x100, "release": 0xC000, "reserve": 0x2000}
    for more in ("+distilled_base", "default", "+distilled_base,attributes"):
        if "attributes" in more:
            module = compiled(tmp_path / "k.ko", KFUNCS, "-DPLAIN=0x4000")
            flags["plain"] = 0x4000
        for _ in range(2):
            assert encode(module, base, "--btf-features", more) == ""
            elf = Elf.read(module)
            below = Btf(elf.contents(".BTF.base") or base.read_bytes())
            assert (elf.find(".BTF.base") is not None) == ("distilled" in more)
            split = Btf(elf.contents(".BTF") or b"", below)
            count, kind, *pairs = struct.unpack("<8I", elf.contents(".BTF_ids") or b"")
            found = {split[i].name: flag for i, flag in zip(pairs[::2], pairs[1::2], strict=True)}
            assert (count, kind, found) == (3, 1, flags)
            assert pairs[::2] == sorted(pairs[::2])


def test_layout_describes_every_kind_and_only_in_a_base(tmp_path: Path, base: Path) -> None:
    source = compiled(tmp_path / "m.o", MODULE)
    plain = _core.encode(source, None, ["var"]).btf
    made = _core.encode(source, None, ["var", "layout"]).btf
    magic, _, _, header, *words = struct.unpack_from("<HBBI6I", made)
    types_at, types, strings_at, strings, layout_at, layout = words
    assert (magic, header, types_at, layout_at) == (0xEB9F, 32, 0, types)
    assert strings_at == layout_at + layout
    assert len(made) == header + strings_at + strings
    assert Btf(made).type_bytes == Btf(plain).type_bytes
    assert Btf(made).strings == Btf(plain).strings
    sizes = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8)}
    sizes |= {14: (4, 0), 15: (0, 12), 17: (4, 0), 19: (0, 12)}
    table = struct.unpack_from(f"<{layout}B", made, header + layout_at)
    entries = [table[at : at + 4] for at in range(0, layout, 4)]
    assert entries == [(*sizes.get(kind, (0, 0)), 0, 0) for kind in range(20)]
    over = _core.Base.load(base)
    assert _core.encode(source, over, ["layout"]).btf == _core.encode(source, over, []).btf
    # What it wrote, it reads.
    assert _core.Base.from_bytes(made).to_bytes() == made


def prototype(btf: Btf, name: str) -> tuple[int, ...]:
    (func,) = btf.named("FUNC", name)
    return btf[func.refs[0]].refs


def test_arena_pointers_of_kfuncs_are_tagged(tmp_path: Path) -> None:
    source = compiled(tmp_path / "k.o", KFUNCS, "-DPLAIN=0")
    made = Btf(_core.encode(source, None, [*TAGS, "attributes"]).btf)

    def in_arena(i: int) -> bool:
        pointer: Type = made[i]
        if pointer.kind != "PTR":
            return False
        tag = made[pointer.refs[0]]
        # The flag of an attribute, and a pointee that is what it was.
        return (tag.kind, tag.name, tag.own) == ("TYPE_TAG", SPACE, (0, 1)) and tag.refs == (0,)

    assert [in_arena(i) for i in prototype(made, "reserve")] == [True, False, False, False]
    assert [in_arena(i) for i in prototype(made, "release")] == [False, True, True]
    assert [in_arena(i) for i in prototype(made, "plain")] == [False, False]
    for without in (TAGS, [*TAGS[:2], "attributes"]):
        assert not Btf(_core.encode(source, None, list(without)).btf).named("TYPE_TAG", SPACE)
    # Declaration tags are another matter.
    made = Btf(_core.encode(source, None, [*TAGS[1:], "attributes"]).btf)
    assert in_arena(prototype(made, "reserve")[0])
    assert not made.named("DECL_TAG", "bpf_kfunc")


@pytest.mark.parametrize(
    ("name", "says"),
    [("q", False), ("q__arena", True), ("q__arena__nullable", True), ("q__nullable", False)],
)
def test_arena_pointers_by_name(base: Path, tmp_path: Path, name: str, says: bool) -> None:
    source = KFUNCS.replace("int release(void *p, void *q)", f"int release(void *p, void *{name})")
    source = source.replace("p == q", f"p == {name}")
    source += "int other(void *p__arena) { return !p__arena; }\n"  # BPF cannot call it
    made = _core.encode(
        compiled(tmp_path / "k.o", source, "-DPLAIN=0"),
        _core.Base.from_bytes(base.read_bytes()),
        TAGS,
    )
    assert made.ids and made.ids.arena_parameters == says


def test_a_kfunc_that_is_not_what_its_flags_say(tmp_path: Path) -> None:
    for flags, why in (
        ("0x2000", "kfunc plain: its flags call its result an arena pointer, but it is no"),
        ("0x8000", "kfunc plain: its flags call argument 2 an arena pointer, but it has none"),
    ):
        source = compiled(tmp_path / "k.o", KFUNCS, f"-DPLAIN={flags}")
        with pytest.raises(_core.CoreError, match=why):
            _core.encode(source, None, [*TAGS, "attributes"])
