//! The text, and what a compiler makes of it.

use super::{TAIL, definitions};
use crate::btf::layers::{Layers, members};
use crate::btf::sample::Maker;
use crate::btf::{Btf, BtfError, Kind};
use std::fmt::Write;
use std::process::Command;

/// The text between the fixed head and tail.
fn printed(maker: &Maker) -> Result<String, BtfError> {
    Ok(definitions(Layers::new(&maker.btf, None))?.out.split_off(super::HEAD.len()))
}

fn refused(maker: &Maker) -> String {
    printed(maker).unwrap_err().to_string()
}

#[test]
fn what_is_held_by_value_comes_first_and_pointers_wait() {
    let mut b = Maker::new();
    let int = b.int("int", 4); // 1
    b.composite(Kind::Struct, "outer", 16, &[("inner", 4, 0, 0), ("next", 3, 64, 0)]); // 2
    b.refer(Kind::Ptr, "", 5); // 3
    b.composite(Kind::Struct, "inner", 8, &[("a", int, 0, 0), ("b", int, 32, 0)]); // 4
    b.composite(Kind::Struct, "later", 8, &[("back", 6, 0, 0)]); // 5
    b.refer(Kind::Ptr, "", 2); // 6
    assert_eq!(
        printed(&b).unwrap(),
        "struct inner {\n\tint a;\n\tint b;\n};\n\n\
         struct later;\n\n\
         struct outer {\n\tstruct inner inner;\n\tstruct later *next;\n};\n\n\
         struct later {\n\tstruct outer *back;\n};\n\n"
    );
    compiles(&b);
}

#[test]
fn declarators_turn_inside_out() {
    let mut b = Maker::new();
    let int = b.int("int", 4);
    let char_ = b.int("char", 1);
    let const_char = b.refer(Kind::Const, "", char_);
    let text = b.refer(Kind::Ptr, "", const_char);
    let fixed = b.refer(Kind::Const, "", text);
    let format = b.name("fmt");
    let proto = b.add(Kind::FuncProto, "", 2, int, &[format, text, 0, 0]);
    let pointer = b.refer(Kind::Ptr, "", proto);
    let table = b.add(Kind::Array, "", 0, 0, &[pointer, int, 3]);
    let row = b.add(Kind::Array, "", 0, 0, &[int, int, 4]);
    let grid = b.add(Kind::Array, "", 0, 0, &[row, int, 2]);
    let to_grid = b.refer(Kind::Ptr, "", grid);
    let none = b.add(Kind::FuncProto, "", 0, to_grid, &[]);
    let getter = b.refer(Kind::Ptr, "", none);
    b.composite(
        Kind::Struct,
        "s",
        88,
        &[
            ("fixed", fixed, 0, 0),
            ("table", table, 64, 0),
            ("grid", grid, 256, 0),
            ("to_grid", to_grid, 512, 0),
            ("getter", getter, 576, 0),
            ("last", text, 640, 0),
        ],
    );
    b.refer(Kind::Typedef, "printf_t", proto);
    assert_eq!(
        printed(&b).unwrap(),
        "struct s {\n\
         \tconst char * const fixed;\n\
         \tint (*table[3])(const char *fmt, ...);\n\
         \tint grid[2][4];\n\
         \tint (*to_grid)[2][4];\n\
         \tint (* (*getter)(void))[2][4];\n\
         \tconst char *last;\n};\n\n\
         typedef int printf_t(const char *fmt, ...);\n\n"
    );
    compiles(&b);
}

#[test]
fn anonymous_types_are_printed_in_place() {
    let mut b = Maker::new();
    let int = b.int("int", 4);
    let (red, green) = (b.name("RED"), b.name("GREEN"));
    let colour = b.add(Kind::Enum, "", 2, 4, &[red, 0, green, 1]);
    let inner = b.composite(Kind::Union, "", 4, &[("i", int, 0, 0), ("c", colour, 0, 0)]);
    b.composite(Kind::Struct, "s", 8, &[("", inner, 0, 0), ("x", int, 32, 0)]);
    b.composite(Kind::Struct, "empty", 0, &[]);
    let lone = b.name("LONE");
    b.add_flagged(Kind::Enum, "", 1, true, 4, &[lone, -1i32 as u32]);
    assert_eq!(
        printed(&b).unwrap(),
        "struct s {\n\tunion {\n\t\tint i;\n\t\tenum {\n\t\t\tRED = 0,\n\t\t\tGREEN = 1,\n\t\t} c;\n\
         \t};\n\tint x;\n};\n\n\
         struct empty {};\n\n\
         enum {\n\tLONE = -1,\n};\n\n"
    );
    compiles(&b);
}

#[test]
fn equal_names_are_numbered_by_name_space() {
    let mut b = Maker::new();
    let int = b.int("int", 4);
    b.composite(Kind::Struct, "s", 4, &[("a", int, 0, 0)]);
    let second = b.composite(Kind::Struct, "s", 4, &[("b", int, 0, 0)]);
    let to_second = b.refer(Kind::Ptr, "", second);
    b.refer(Kind::Typedef, "s", to_second);
    b.refer(Kind::Fwd, "s", 0);
    b.add_flagged(Kind::Fwd, "s", 0, true, 0, &[]);
    let (one, two) = (b.name("ONE"), b.name("ONE"));
    b.add(Kind::Enum, "e", 2, 4, &[one, 1, two, 2]);
    assert_eq!(
        printed(&b).unwrap(),
        "struct s {\n\tint a;\n};\n\n\
         struct s___2 {\n\tint b;\n};\n\n\
         typedef struct s___2 *s;\n\n\
         struct s;\n\n\
         union s___3;\n\n\
         enum e {\n\tONE = 1,\n\tONE___2 = 2,\n};\n\n"
    );
    compiles(&b);
}

#[test]
fn enums_get_their_size() {
    let mut b = Maker::new();
    for (name, size) in [("tiny", 1), ("small", 2), ("plain", 4)] {
        let value = b.name(&name.to_uppercase());
        b.add(Kind::Enum, name, 1, size, &[value, 1]);
    }
    let value = b.name("LOW");
    b.add(Kind::Enum64, "forced", 1, 8, &[value, 1, 0]);
    let value = b.name("HIGH");
    b.add_flagged(Kind::Enum64, "wide", 1, true, 8, &[value, 0, 0xffff_fff0]);
    assert_eq!(
        printed(&b).unwrap(),
        "enum tiny {\n\tTINY = 1,\n} __attribute__((mode(byte)));\n\n\
         enum small {\n\tSMALL = 1,\n} __attribute__((mode(HI)));\n\n\
         enum plain {\n\tPLAIN = 1,\n};\n\n\
         enum forced {\n\tLOW = 1ULL,\n} __attribute__((mode(word)));\n\n\
         enum wide {\n\tHIGH = -68719476736LL,\n};\n\n"
    );
    let sizes = ["tiny", "small", "plain", "forced", "wide"].map(|name| (1..=5u32, name));
    b.composite(
        Kind::Struct,
        "all",
        24,
        &sizes.iter().zip([(1, 0), (2, 16), (3, 32), (4, 64), (5, 128)]).fold(
            Vec::new(),
            |mut all, ((_, name), (id, at))| {
                all.push((*name, id, at, 0));
                all
            },
        ),
    );
    compiles(&b);
}

#[test]
fn layout_is_padded_packed_or_overlaid() {
    let mut b = Maker::new();
    let int = b.int("int", 4);
    let long = b.int("long int", 8);
    let char_ = b.int("char", 1);
    let wide = b.int("__int128", 16);
    b.composite(Kind::Struct, "gap", 128, &[("a", int, 0, 0), ("b", long, 512, 0)]);
    b.composite(Kind::Struct, "tail", 64, &[("a", long, 0, 0)]);
    b.composite(Kind::Struct, "tight", 9, &[("c", char_, 0, 0), ("l", long, 8, 0)]);
    b.composite(Kind::Struct, "half", 12, &[("l", long, 0, 0), ("i", int, 64, 0)]);
    b.composite(Kind::Struct, "of16", 24, &[("l", long, 0, 0), ("w", wide, 64, 0)]);
    b.composite(Kind::Struct, "far", 8192, &[("a", char_, 0, 0), ("b", char_, 65528, 0)]);
    b.composite(Kind::Union, "roomy", 16, &[("i", int, 0, 0)]);
    b.composite(Kind::Struct, "over", 12, &[("l", long, 0, 0), ("i", int, 32, 0)]);
    b.composite(Kind::Struct, "opaque", 40, &[]);
    let text = printed(&b).unwrap();
    for part in [
        "struct gap {\n\tint a;\n\tlong: 64;\n\tlong: 64;\n",
        "struct tight {\n\tchar c;\n\tlong int l;\n} __attribute__((packed));",
        "struct half {\n\tlong int l;\n\tint i;\n} __attribute__((packed));",
        "struct far {\n\tchar a;\n\tunsigned char __pad1[8190];\n\tchar b;\n};",
        "union roomy {\n\tint i;\n\tunsigned char __pad2[16];\n};",
        "struct over {\n\tunion {\n\t\tstruct {\n\t\t\tlong int l;\n\t\t} __attribute__((packed));\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    compiles(&b);
}

#[test]
fn bitfields_land_on_their_bits() {
    let mut b = Maker::new();
    let int = b.int("unsigned int", 4);
    let char_ = b.int("unsigned char", 1);
    let long = b.int("long unsigned int", 8);
    let short = b.int("short unsigned int", 2);
    b.composite(
        Kind::Struct,
        "mixed",
        16,
        &[
            ("c", char_, 0, 0),
            ("a", int, 8, 5),
            ("b", int, 13, 11),
            ("d", int, 32, 7),
            ("e", long, 64, 40),
            ("f", short, 112, 9),
        ],
    );
    b.composite(Kind::Struct, "skip", 8, &[("a", int, 0, 3), ("b", int, 20, 3), ("c", int, 60, 4)]);
    b.composite(Kind::Struct, "late", 8, &[("c", char_, 0, 0), ("b", int, 32, 4)]);
    b.composite(
        Kind::Struct,
        "cross",
        7,
        &[("a", int, 0, 20), ("b", int, 20, 20), ("c", int, 40, 9)],
    );
    let inner = b.composite(Kind::Struct, "", 4, &[("x", int, 0, 1), ("y", int, 31, 1)]);
    b.composite(Kind::Union, "either", 4, &[("", inner, 0, 0), ("z", int, 0, 9)]);
    compiles(&b);
}

#[test]
fn crafted_types_end_in_errors() {
    let mut b = Maker::new();
    b.composite(Kind::Struct, "self", 4, &[("me", 1, 0, 0)]);
    assert_eq!(refused(&b), "BTF type [1]: contains itself by value");

    let mut b = Maker::new();
    b.refer(Kind::Ptr, "", 2);
    b.refer(Kind::Const, "", 1);
    assert!(refused(&b).contains("nests deeper"), "{}", refused(&b));

    // Each prototype takes the next one twice.
    let mut b = Maker::new();
    for id in 1..150 {
        b.add(Kind::FuncProto, "", 2, 0, &[0, id + 1, 0, id + 1]);
    }
    b.int("int", 4);
    assert!(refused(&b).contains("unfolds"), "{}", refused(&b));

    // So do anonymous structs, in text.
    let mut b = Maker::new();
    for id in 1..60 {
        b.composite(Kind::Struct, "", 0, &[("a", id + 1, 0, 0), ("b", id + 1, 0, 0)]);
    }
    b.int("int", 4);
    b.composite(Kind::Struct, "top", 0, &[("a", 1, 0, 0)]);
    assert!(refused(&b).contains("unfolds"), "{}", refused(&b));

    let mut b = Maker::new();
    for id in 1..100_000 {
        b.refer(Kind::Ptr, "", id + 1);
    }
    b.int("int", 4);
    assert!(refused(&b).contains("nests deeper"), "{}", refused(&b));
}

/// A program that compiles the header, states every size and offset, and tries every bitfield.
fn program(layers: Layers<'_>) -> String {
    let mut printer = definitions(layers).unwrap();
    let mut checks = String::new();
    let mut tries = String::new();
    for id in 1..layers.next_id() {
        let ty = layers.get(id).unwrap();
        if !layers.kind(id).is_composite() || ty.name() == 0 {
            continue;
        }
        let tag = format!("{} {}", super::names::word(ty), printer.names.tag(id, ty));
        writeln!(checks, "_Static_assert(sizeof({tag}) == {}, \"{tag}\");", ty.size_or_type())
            .unwrap();
        // Members of anonymous structs are members of the outer one.
        let mut open = vec![(id, 0)];
        while let Some((id, at)) = open.pop() {
            for m in members(layers.get(id).unwrap()) {
                let (name, at) = (layers.text(m.name), at + m.offset);
                if name.is_empty() {
                    let mut inner = m.ty;
                    while layers.kind(inner).is_modifier() {
                        inner = layers.get(inner).unwrap().size_or_type();
                    }
                    open.push((inner, at));
                } else if m.width > 0 {
                    writeln!(tries, "TRY({tag}, {name}, {at}, {});", m.width).unwrap();
                } else {
                    let text = format!("8 * __builtin_offsetof({tag}, {name}) == {at}");
                    writeln!(checks, "_Static_assert({text}, \"{tag}.{name}\");").unwrap();
                }
            }
        }
    }
    format!(
        "{}{TAIL}\n{checks}\nextern void *memset(void *, int, unsigned long);\n\
         extern int printf(const char *, ...);\nstatic int bad;\n\
         static void look(unsigned char *p, long size, long at, long width, const char *what)\n\
         {{ for (long i = 0; i < size * 8; i++) if ((p[i / 8] >> i % 8 & 1) != (i >= at && i < at + width))\n\
         {{ printf(\"%s: bit %ld\\n\", what, i); bad = 1; return; }} }}\n\
         #define TRY(tag, f, at, width) do {{ tag v; memset(&v, 0, sizeof v); v.f = ~0ull; \\\n\
         look((void *)&v, sizeof v, at, width, #tag \".\" #f); }} while (0)\n\
         int main(void) {{\n{tries}return bad; }}\n",
        printer.out
    )
}

/// Compiles and runs [`program`]; machines without a compiler skip that.
fn compile(layers: Layers<'_>, name: &str) {
    let dir = std::env::temp_dir().join(format!("btfd-c-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (source, binary) = (dir.join("test.c"), dir.join("test"));
    std::fs::write(&source, program(layers)).unwrap();
    let gcc =
        Command::new("gcc").args(["-std=gnu11", "-w", "-o"]).arg(&binary).arg(&source).output();
    if let Ok(gcc) = gcc {
        let errors = String::from_utf8_lossy(&gcc.stderr);
        assert!(gcc.status.success(), "{}\n{errors}", source.display());
        let run = Command::new(&binary).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn compiles(maker: &Maker) {
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    compile(Layers::new(&maker.btf, None), &name);
}

/// With raw BTF files in BTFD_TEST_BASE and BTFD_TEST_SPLIT (colon-separated): real types.
#[test]
fn real_types_compile_to_their_layout() {
    let Ok(base) = std::env::var("BTFD_TEST_BASE") else { return };
    let base = Btf::parse(&std::fs::read(base).unwrap(), None).unwrap();
    compile(Layers::new(&base, None), "base");
    for path in std::env::var("BTFD_TEST_SPLIT").iter().flat_map(|v| v.split(':')) {
        let split = Btf::parse(&std::fs::read(path).unwrap(), Some(&base)).unwrap();
        compile(Layers::new(&split, Some(&base)), "split");
    }
}
