//! Each rule once kept and once broken.

use super::{LIMIT, verify};
use crate::btf::dump::{Format, dump};
use crate::btf::sample::Maker;
use crate::btf::{Btf, Kind};

/// The lines for stand-alone BTF.
fn lines(maker: &Maker) -> Vec<String> {
    verify(&maker.btf.to_bytes(), None).iter().map(ToString::to_string).collect()
}

/// Builds twice: `good` must pass, `bad` must give exactly `line`.
#[track_caller]
fn rule<A, B>(good: impl Fn(&mut Maker) -> A, bad: impl Fn(&mut Maker) -> B, line: &str) {
    let mut maker = Maker::new();
    good(&mut maker);
    assert_eq!(lines(&maker), [""; 0], "what should pass");
    let mut maker = Maker::new();
    bad(&mut maker);
    assert_eq!(lines(&maker), [line]);
}

#[test]
fn names_by_kind() {
    let int = |m: &mut Maker| m.int("int", 4);
    rule(
        |m| (int(m), m.refer(Kind::Ptr, "", 1)),
        |m| (int(m), m.refer(Kind::Ptr, "p", 1)),
        "[2] ptr p: has a name, types of its kind have none (kernel: Invalid name)",
    );
    rule(
        |m| (int(m), m.refer(Kind::Typedef, "word_t", 1)),
        |m| (int(m), m.refer(Kind::Typedef, "", 1)),
        "[2] typedef: has no name (kernel: Invalid name)",
    );
    rule(
        |m| m.composite(Kind::Struct, "_s1", 0, &[]),
        |m| m.composite(Kind::Struct, "1s", 0, &[]),
        "[1] struct 1s: its name is not an identifier (kernel: Invalid name)",
    );
    rule(
        |m| m.refer(Kind::Fwd, "a", 0),
        |m| m.refer(Kind::Fwd, "a.b", 0),
        "[1] fwd a.b: its name is not an identifier (kernel: Invalid name)",
    );
    rule(
        |m| m.composite(Kind::Union, &"u".repeat(512), 0, &[]),
        |m| m.composite(Kind::Union, &"u".repeat(513), 0, &[]),
        &format!(
            "[1] union {}...: its name is not an identifier (kernel: Invalid name)",
            "u".repeat(80)
        ),
    );
    rule(
        |m| (int(m), m.add(Kind::Var, "a.0", 0, 1, &[0])),
        |m| (int(m), m.add(Kind::Var, "a-0", 0, 1, &[0])),
        "[2] var a-0: its name has more than letters, digits, underscores and dots \
         (kernel: Invalid name)",
    );
    rule(
        |m| (int(m), m.refer(Kind::TypeTag, "user space", 1)),
        |m| (int(m), m.refer(Kind::TypeTag, "", 1)),
        "[2] type_tag: is a tag without a value (kernel: Invalid name)",
    );
}

#[test]
fn info_word() {
    let int = |m: &mut Maker| m.int("int", 4);
    rule(
        |m| m.add(Kind::Float, "double", 0, 8, &[]),
        |m| m.add(Kind::Float, "double", 1, 8, &[]),
        "[1] float double: has 1 elements, its kind has none (kernel: vlen != 0)",
    );
    rule(
        |m| (int(m), m.add_flagged(Kind::TypeTag, "t", 0, true, 1, &[])),
        |m| (int(m), m.add_flagged(Kind::Const, "", 0, true, 1, &[])),
        "[2] const: has the kind flag, which means nothing here \
         (kernel: Invalid btf_info kind_flag)",
    );
    let many = |n: usize| {
        move |m: &mut Maker| {
            int(m);
            m.add(Kind::FuncProto, "", n as u32, 0, &[0, 1].repeat(n));
        }
    };
    rule(
        many(65535),
        many(65536),
        "[2] func_proto: info 0xd010000, kernels before 7.2 take no more than 65535 elements \
         (kernel: Invalid btf_info)",
    );
}

#[test]
fn integers() {
    let int = |size, word| move |m: &mut Maker| m.add(Kind::Int, "i", 0, size, &[word]);
    rule(
        int(4, 0x0100_0020),
        int(4, 0x1100_0020),
        "[1] int i: reserved bits in 0x11000020 (kernel: Invalid int_data)",
    );
    rule(
        int(4, 0x0400_0008),
        int(4, 0x0300_0008),
        "[1] int i: encoding 0x3, expected none, signed, char or bool \
         (kernel: Unsupported encoding)",
    );
    rule(
        int(16, 128),
        int(17, 129),
        "[1] int i: 129 bits, at most 128 are allowed (kernel: nr_bits exceeds 128)",
    );
    rule(
        int(4, 0x0010_0010),
        int(4, 0x0010_0011),
        "[1] int i: 33 bits in 4 bytes (kernel: nr_bits exceeds type_size)",
    );
    let float = |size| move |m: &mut Maker| m.add(Kind::Float, "f", 0, size, &[]);
    rule(
        float(12),
        float(6),
        "[1] float f: size 6, expected 2, 4, 8, 12 or 16 (kernel: Invalid type_size)",
    );
}

#[test]
fn arrays() {
    let array = |elem, index, len, size| {
        move |m: &mut Maker| {
            m.int("int", 4);
            m.composite(Kind::Struct, "s", 8, &[]);
            m.refer(Kind::Fwd, "later", 0);
            m.add(Kind::Array, "", 0, size, &[elem, index, len]);
        }
    };
    let good = || array(2, 1, 7, 0);
    rule(good(), array(2, 1, 7, 9), "[4] array: size 9, an array's is 0 (kernel: size != 0)");
    rule(good(), array(0, 1, 7, 0), "[4] array: elements are void (kernel: Invalid elem)");
    rule(good(), array(2, 0, 7, 0), "[4] array: index is void (kernel: Invalid index)");
    rule(good(), array(2, 2, 7, 0), "[4] array: its index is [2] struct s, not an integer");
    rule(good(), array(3, 1, 7, 0), "[4] array: has elements of [3] fwd later, which has no size");
    rule(
        array(2, 1, 0x1fff_ffff, 0),
        array(2, 1, 0x2000_0000, 0),
        "[4] array: 536870912 elements take more than 4 GiB",
    );
}

#[test]
fn members_of_structs() {
    type Members<'a> = &'a [(&'a str, u32, u32, u32)];
    fn of(kind: Kind, size: u32, members: Members<'static>) -> impl Fn(&mut Maker) {
        move |m| {
            m.int("int", 4);
            m.refer(Kind::Fwd, "later", 0);
            m.composite(kind, "foo", size, members);
        }
    }
    let good = || of(Kind::Struct, 8, &[("a", 1, 0, 0), ("b", 1, 32, 0)]);
    let bits = || of(Kind::Struct, 8, &[("a", 1, 0, 3), ("b", 1, 3, 32), ("c", 1, 60, 4)]);
    let s = |members| of(Kind::Struct, 8, members);
    rule(
        good(),
        s(&[("a", 1, 32, 0), ("b", 1, 0, 0)]),
        "[3] struct foo: member offsets descend: member 1 (b) is at bit 0, after 32 \
         (kernel: Invalid member bits_offset)",
    );
    rule(
        of(Kind::Union, 4, &[("a", 1, 0, 0), ("b", 1, 0, 0)]),
        of(Kind::Union, 8, &[("a", 1, 0, 0), ("b", 1, 8, 0)]),
        "[3] union foo: member 1 (b) is at bit 8, a union's are at 0 \
         (kernel: Invalid member bits_offset)",
    );
    rule(
        of(Kind::Struct, 4, &[("a", 1, 0, 0), ("", 4, 32, 0)]).and_array(0),
        of(Kind::Struct, 4, &[("a", 1, 0, 0), ("", 4, 40, 0)]).and_array(0),
        "[3] struct foo: member 1 begins at bit 40, behind its 4 bytes \
         (kernel: Member bits_offset exceeds its struct size)",
    );
    rule(
        good(),
        s(&[("a b", 1, 0, 0)]),
        "[3] struct foo: member 0 (a b) has no identifier as its name (kernel: Invalid name)",
    );
    rule(
        good(),
        s(&[("a", 0, 0, 0)]),
        "[3] struct foo: member 0 (a) is void (kernel: Invalid type_id)",
    );
    rule(
        good(),
        s(&[("a", 2, 0, 0)]),
        "[3] struct foo: member 0 (a) is of [2] fwd later, which has no size",
    );
    rule(good(), s(&[("a", 1, 40, 0)]), "[3] struct foo: member 0 (a) ends at bit 72, size is 64");
    rule(good(), s(&[("a", 1, 4, 0)]), "[3] struct foo: member 0 (a) is no bitfield, but at bit 4");
    rule(
        bits(),
        s(&[("a", 1, 0, 33)]),
        "[3] struct foo: member 0 (a) is a bitfield of 33 bits in 4 bytes",
    );
    rule(
        bits(),
        |m| {
            m.composite(Kind::Struct, "s", 4, &[]);
            m.composite(Kind::Struct, "foo", 4, &[("a", 1, 0, 3)]);
        },
        "[2] struct foo: member 0 (a) is a bitfield of [1] struct s",
    );
    rule(
        good(),
        |m| m.composite(Kind::Struct, "foo", 4, &[("a", 1, 0, 0)]),
        "[1] struct foo: contains itself by value",
    );
}

/// Adds an array of ints as the next type.
trait AndArray {
    fn and_array(self, len: u32) -> impl Fn(&mut Maker);
}

impl<F: Fn(&mut Maker)> AndArray for F {
    fn and_array(self, len: u32) -> impl Fn(&mut Maker) {
        move |m| {
            self(m);
            m.add(Kind::Array, "", 0, 0, &[1, 1, len]);
        }
    }
}

#[test]
fn enums() {
    let of = |kind, size: u32, name: &'static str| {
        move |m: &mut Maker| {
            let name = m.name(name);
            let words = if kind == Kind::Enum { &[name, 1][..] } else { &[name, 1, 0] };
            m.add_flagged(kind, "e", 1, true, size, words);
        }
    };
    let size = "size 3, expected 1, 2, 4 or 8 (kernel: Unexpected size)";
    rule(of(Kind::Enum, 2, "A"), of(Kind::Enum, 3, "A"), &format!("[1] enum e: {size}"));
    rule(of(Kind::Enum64, 8, "A"), of(Kind::Enum64, 3, "A"), &format!("[1] enum64 e: {size}"));
    rule(
        of(Kind::Enum, 4, "A"),
        of(Kind::Enum, 4, ""),
        "[1] enum e: the name of value 0, \"\", is no identifier (kernel: Invalid name)",
    );
    rule(
        of(Kind::Enum64, 8, "A"),
        of(Kind::Enum64, 8, "A\u{e9}"),
        "[1] enum64 e: the name of value 0, \"A\\xc3\\xa9\", is no identifier \
         (kernel: Invalid name)",
    );
}

#[test]
fn functions() {
    let of = |linkage, args: &'static [(&str, u32)]| {
        move |m: &mut Maker| {
            m.int("int", 4);
            let words: Vec<u32> = args.iter().flat_map(|&(n, t)| [m.name(n), t]).collect();
            let proto = m.add(Kind::FuncProto, "", args.len() as u32, 1, &words);
            m.add(Kind::Func, "f", linkage, proto, &[]);
        }
    };
    let good = || of(1, &[("a", 1), ("", 1), ("", 0)]);
    rule(
        good(),
        of(2, &[]),
        "[3] func f: linkage 2, expected 0 (static) or 1 (global) (kernel: Invalid func linkage)",
    );
    rule(
        good(),
        of(0, &[("", 0), ("a", 1)]),
        "[2] func_proto: parameter 0 is void, which only stands last and without a name",
    );
    rule(
        good(),
        of(0, &[("va", 0)]),
        "[2] func_proto: parameter 0 is void, which only stands last and without a name",
    );
    rule(
        good(),
        of(0, &[("a-b", 1)]),
        "[2] func_proto: the name of parameter 0, \"a-b\", is no identifier",
    );
    rule(good(), of(0, &[("a", 3)]), "[2] func_proto: parameter 0 is [3] func f, which is no type");
    rule(
        good(),
        |m| {
            m.add(Kind::FuncProto, "", 0, 2, &[]);
            m.refer(Kind::Func, "f", 1);
        },
        "[1] func_proto: returns [2] func f, which is no type",
    );
    rule(
        good(),
        |m| {
            m.int("int", 4);
            m.refer(Kind::Func, "f", 1);
        },
        "[2] FUNC refers to [1], expected a FUNC_PROTO; does it stand on a base?",
    );
}

#[test]
fn variables_and_sections() {
    let of = |linkage, size, entries: &'static [[u32; 3]]| {
        move |m: &mut Maker| {
            m.int("int", 4);
            m.add(Kind::Var, "v", 0, 1, &[linkage]);
            m.add(
                Kind::Datasec,
                ".data..percpu",
                entries.len() as u32,
                size,
                entries.as_flattened(),
            );
        }
    };
    let good = || of(1, 12, &[[2, 0, 4], [2, 8, 4]]);
    rule(
        good(),
        of(2, 12, &[]),
        "[2] var v: linkage 2, expected 0 (static) or 1 (global) (kernel: Linkage not supported)",
    );
    rule(
        good(),
        |m| m.add(Kind::Var, "v", 0, 0, &[0]),
        "[1] var v: is void (kernel: Invalid type_id)",
    );
    rule(
        good(),
        |m| (m.refer(Kind::Fwd, "s", 0), m.add(Kind::Var, "v", 0, 1, &[0])),
        "[2] var v: is of [1] fwd s, which has no size",
    );
    let section = |what: &str| format!("[3] datasec .data..percpu: {what}");
    let bad = [
        (of(0, 0, &[]), "size 0 (kernel: size == 0)"),
        (of(0, 8, &[[2, 8, 4]]), "entry 0 is at 8, size is 8 (kernel: Invalid offset)"),
        (
            of(0, 8, &[[2, 0, 4], [2, 2, 4]]),
            "entry 1 is at 2, before the end of the one before it at 4 (kernel: Invalid offset)",
        ),
        (of(0, 8, &[[2, 4, 8]]), "entry 0 ends at 12, size is 8 (kernel: Invalid offset+size)"),
        (of(0, 8, &[[1, 0, 4]]), "entry 0 is [1] int int, not a variable"),
        (of(0, 8, &[[2, 0, 2]]), "entry 0 has 2 bytes, its variable 4"),
    ];
    for (bad, what) in bad {
        rule(good(), bad, &section(what));
    }
    let mut m = Maker::new();
    of(0, 8, &[[2, 0, 0]])(&mut m);
    assert_eq!(lines(&m)[0], section("entry 0 has 0 bytes of 8 (kernel: Invalid size)"));
    let mut m = Maker::new();
    of(0, 8, &[[0, 0, 4]])(&mut m);
    assert_eq!(lines(&m)[0], section("entry 0 is void (kernel: Invalid type_id)"));
}

#[test]
fn declarations_and_tags() {
    rule(
        |m| m.refer(Kind::Fwd, "s", 0),
        |m| m.refer(Kind::Fwd, "s", 1),
        "[1] fwd s: third word 1, a declaration has 0 (kernel: type != 0)",
    );
    let tag = |target, component: i32| {
        move |m: &mut Maker| {
            m.int("int", 4);
            m.composite(Kind::Struct, "s", 4, &[("a", 1, 0, 0)]);
            m.refer(Kind::Typedef, "t", 1);
            m.add(Kind::DeclTag, "bpf", 0, target, &[component as u32]);
        }
    };
    rule(tag(2, 0), tag(2, 1), "[4] decl_tag bpf: tags component 1 of [2], which has 1");
    rule(tag(3, -1), tag(3, 0), "[4] decl_tag bpf: tags component 0 of [3], which has 0");
    rule(
        tag(2, -1),
        tag(2, -2),
        "[4] decl_tag bpf: component -2, expected -1 or more (kernel: Invalid component_idx)",
    );
    rule(tag(3, -1), tag(1, -1), "[4] decl_tag bpf: tags [1] int int, which takes no tag");
    rule(
        |m| (m.int("int", 4), m.refer(Kind::Const, "", 1)),
        |m| {
            m.int("int", 4);
            m.add(Kind::Var, "v", 0, 1, &[0]);
            m.refer(Kind::Const, "", 2);
        },
        "[3] const: refers to [2] var v, which is no type",
    );
}

#[test]
fn chains_of_modifiers() {
    // Downwards each link stands on one that was counted before; upwards none is.
    let down = |m: &mut Maker| {
        let mut id = m.int("int", 4);
        for _ in 0..100 {
            id = m.refer(Kind::Const, "", id);
        }
    };
    let up = |links: u32| {
        move |m: &mut Maker| {
            for id in 1..=links {
                m.refer(Kind::Const, "", id + 1);
            }
            m.int("int", 4);
        }
    };
    rule(down, |_| (), "no types (kernel: No type found)");
    rule(
        up(32),
        up(33),
        "[1] const: stands on more than 32 typedefs and qualifiers, or on itself \
         (kernel: Max chain length or cycle detected)",
    );
    let mut circle = Maker::new();
    circle.refer(Kind::Const, "", 2);
    circle.refer(Kind::Volatile, "", 1);
    assert_eq!(
        lines(&circle)[0],
        "[1] const: stands on more than 32 typedefs and qualifiers, or on itself \
         (kernel: Max chain length or cycle detected)"
    );
    rule(
        |m| {
            m.int("int", 4);
            m.refer(Kind::Const, "", 1);
            m.refer(Kind::TypeTag, "rcu", 2);
            m.refer(Kind::TypeTag, "user", 3);
        },
        |m| {
            m.int("int", 4);
            m.refer(Kind::TypeTag, "rcu", 1);
            m.refer(Kind::Const, "", 2);
        },
        "[3] const: type tag [2] comes after a typedef or qualifier \
         (kernel: Type tags don't precede modifiers)",
    );
}

fn base() -> Btf {
    let mut m = Maker::new();
    m.int("int", 4);
    m.add(Kind::FuncProto, "", 0, 0, &[]);
    m.composite(Kind::Struct, "base", 4, &[("a", 1, 0, 0)]);
    m.btf
}

#[test]
fn a_wrong_base_shows() {
    let base = base();
    let on = |make: &dyn Fn(&mut Maker) -> u32| {
        let mut m = Maker::on(&base);
        make(&mut m);
        let problems = verify(&m.btf.to_bytes(), Some(&base));
        problems.iter().map(|p| (p.to_string(), p.refused)).collect::<Vec<_>>()
    };
    let doubt = |line: &str| [(line.to_owned(), false)];
    assert_eq!(on(&|_| 0), []);
    assert_eq!(on(&|m| m.refer(Kind::Func, "f", 2)), []);
    assert_eq!(
        on(&|m| m.refer(Kind::Func, "f", 3)),
        doubt("[4] FUNC refers to [3], expected a FUNC_PROTO; made against another base?")
    );
    assert_eq!(
        on(&|m| m.refer(Kind::Ptr, "", 9)),
        doubt("[4] refers to type id 9, but the last one is 4; made against another base?")
    );
    assert_eq!(
        on(&|m| m.composite(Kind::Struct, "s", 4, &[("m", 2, 0, 0)])),
        doubt(
            "[4] struct s: member 0 (m) is of [2] func_proto, which has no size; \
             made against another base?"
        )
    );
    let named = |offset: u32| move |m: &mut Maker| m.btf.types.push(&[offset, 16 << 24, 8]) as u32;
    assert_eq!(on(&named(1)), []);
    assert_eq!(
        on(&named(2)),
        doubt(
            "[4] float nt: string offset 2 is inside a name (before \"nt\"); \
             made against another base?"
        )
    );
    assert_eq!(
        on(&named(99)),
        [("[4] string offset 99, but strings end at 12; made against another base?".into(), true)]
    );
}

#[test]
fn sizes_beyond_all_numbers() {
    let mut m = Maker::new();
    let int = m.int("int", 4);
    let array = |m: &mut Maker, of| m.add(Kind::Array, "", 0, 0, &[of, int, u32::MAX]);
    let many = array(&mut m, int);
    let more = array(&mut m, many);
    m.composite(Kind::Struct, "s", 8, &[("bits", more, 0, 3), ("rest", more, 8, 0)]);
    let doubts = lines(&m);
    assert!(doubts.iter().any(|l| l.contains("member 1 (rest) ends at bit")), "{doubts:?}");
    let members = [("first", more, 0, 0), ("second", more, 0, 0), ("third", int, 64, 0)];
    m.composite(Kind::Struct, "t", 8, &members);
    m.composite(Kind::Union, "u", 8, &members);
    assert!(dump(&m.btf, None, Format::C).is_ok());
}

#[test]
fn problems_end_somewhere() {
    let mut m = Maker::new();
    for _ in 0..1000 {
        m.composite(Kind::Struct, "1", 0, &[]);
    }
    assert_eq!(lines(&m).len(), LIMIT);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let mut m = Maker::on(&base());
    m.composite(Kind::Struct, "s", 16, &[("a", 1, 0, 3), ("b", 3, 32, 0), ("c", 5, 64, 0)]);
    m.add(Kind::Array, "", 0, 0, &[4, 1, 2]);
    m.refer(Kind::Typedef, "t", 4);
    let base = base();
    let good = m.btf.to_bytes();
    // Every byte with every bit flipped, and every prefix.
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            verify(&bytes, Some(&base));
            verify(&bytes, None);
        }
        verify(&good[..at], Some(&base));
    }
}
