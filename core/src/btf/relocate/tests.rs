use super::*;
use crate::btf::distill::distill;
use crate::btf::sample::Maker;

/// A base with [1] int, [2] struct s of 8 bytes, [3] enum e, [4] FWD f.
fn distilled() -> Btf {
    let mut m = Maker::new();
    m.int("int", 4);
    m.composite(Kind::Struct, "s", 8, &[]);
    m.add(Kind::Enum, "e", 0, 4, &[]);
    m.add(Kind::Fwd, "f", 0, 0, &[]);
    m.btf
}

/// Each of them in use: [5] to [8] pointers, [9] a struct of its own.
fn split(base: &Btf) -> Btf {
    let mut m = Maker::on(base);
    for id in 1..5 {
        m.refer(Kind::Ptr, "", id);
    }
    m.composite(Kind::Struct, "own", 16, &[("p", 6, 0, 0), ("i", 1, 64, 0)]);
    m.btf
}

fn refused(split: &Btf, distilled: &Btf, base: &Btf) -> Vec<String> {
    let error = relocate(split, distilled, base).unwrap_err();
    error.mismatches.iter().map(ToString::to_string).collect()
}

#[test]
fn ids_and_names_become_those_of_the_base() {
    let distilled = distilled();
    let mut m = Maker::new();
    m.composite(Kind::Struct, "other", 4, &[]);
    m.composite(Kind::Union, "f", 4, &[("b", 4, 0, 3)]);
    m.btf.types.truncate(1);
    m.composite(Kind::Struct, "f", 4, &[]);
    m.add(Kind::Enum64, "e", 0, 4, &[]);
    m.int("int", 4);
    m.composite(Kind::Struct, "s", 24, &[]);
    let base = m.btf;
    let new = relocate(&split(&distilled), &distilled, &base).unwrap();
    assert_eq!((new.first_id, new.first_string), (6, base.next_string()));
    let targets: Vec<u32> = new.types.iter().take(4).map(Type::size_or_type).collect();
    assert_eq!(targets, [4, 5, 3, 2]);
    let own = new.types.get(4);
    assert_eq!(new.string(Some(&base), own.name()), b"own");
    assert_eq!((own.payload()[1], own.payload()[4]), (7, 4));
    // It reads back as what it says.
    assert_eq!(Btf::parse(&new.to_bytes(), Some(&base)), Ok(new));
}

#[test]
fn names_of_members_come_from_the_base_too() {
    let mut m = Maker::new();
    let int = m.int("int", 4);
    m.composite(Kind::Struct, "s", 8, &[("s", int, 0, 0), ("t", int, 32, 0)]);
    let base = m.btf;
    let mut m = Maker::on(&base);
    m.composite(Kind::Struct, "own", 8, &[("s", 2, 0, 0), ("t", 1, 0, 0)]);
    // The member's name is that of the struct: one string.
    m.btf.types.get_mut(0)[3] = base.types.get(1).name();
    let made = distill(&m.btf, &base).unwrap();
    let back = relocate(&made.split, &made.base, &base).unwrap();
    assert_eq!(back.string(Some(&base), back.types.get(0).payload()[0]), b"s");
    assert_eq!(back.types.get(0).payload()[0], base.types.get(1).name());
    assert_eq!(back.string(Some(&base), back.types.get(0).payload()[3]), b"t");

    // A string that no type of the distilled base has.
    let mut distilled = made.base.clone();
    distilled.strings.extend_from_slice(b"stray\0");
    let mut m = Maker::on(&distilled);
    m.refer(Kind::Typedef, "t", 0);
    m.btf.types.get_mut(0)[0] = made.base.next_string();
    let error = relocate(&m.btf, &distilled, &base).unwrap_err();
    assert_eq!(error.errno_name(), "ENOENT");
    assert!(error.to_string().contains("no type there has"), "{error}");
}

#[test]
fn every_type_that_does_not_fit_is_named() {
    let distilled = distilled();
    let mut m = Maker::new();
    m.add(Kind::Int, "int", 0, 4, &[1 << 24 | 32]);
    m.composite(Kind::Struct, "s", 16, &[]);
    m.composite(Kind::Union, "s", 24, &[]);
    // One string, as it is in every BTF that tools write; two would be two names.
    m.btf.types.get_mut(2)[0] = m.btf.types.get(1).name();
    m.add(Kind::Enum, "e", 0, 8, &[]);
    m.add(Kind::Enum, "e", 0, 4, &[]);
    m.add(Kind::Enum64, "e", 0, 4, &[]);
    let base = m.btf;
    assert_eq!(
        refused(&split(&distilled), &distilled, &base),
        [
            "[1] int int: the base has [1] int int, but its encoding is 0x1, expected 0x0",
            "[2] struct s: the base has [2] struct s, but it has 16 bytes, expected 8",
            "[3] enum e: the base has several that fit: [5] and [6]",
            "[4] fwd f: the base has no type of that name",
        ]
    );
    let error = relocate(&split(&distilled), &distilled, &base).unwrap_err();
    assert_eq!(error.errno_name(), "EINVAL");
    assert!(error.to_string().ends_with("(and 3 more that do not fit)"), "{error}");
}

#[test]
fn size_counts_for_what_is_embedded() {
    let mut m = Maker::new();
    m.composite(Kind::Struct, "s", 8, &[]);
    let distilled = m.btf;
    let mut m = Maker::new();
    m.composite(Kind::Struct, "s", 16, &[]);
    let base = m.btf;
    let embeds = |through: &[(Kind, u32)]| {
        let mut m = Maker::on(&distilled);
        let mut id = 1;
        for &(kind, nelems) in through {
            id = match kind {
                Kind::Array => m.add(kind, "", 0, 0, &[id, 1, nelems]),
                _ => m.refer(kind, "", id),
            };
        }
        // A second member meets the chain where the first has been.
        m.composite(Kind::Struct, "own", 64, &[("a", id, 0, 0), ("b", id, 256, 0)]);
        relocate(&m.btf, &distilled, &base).map_err(|e| e.to_string())
    };
    let grew = "[1] struct s: the base has [1] struct s, but it has 16 bytes, expected 8, \
                since the module has it inside its own types";
    assert_eq!(embeds(&[]), Err(grew.into()));
    use Kind::{Array, Const, Ptr, Restrict, TypeTag, Typedef, Volatile};
    let chain = [Const, Volatile, Restrict, Typedef, TypeTag, Array].map(|kind| (kind, 2));
    assert_eq!(embeds(&chain), Err(grew.into()));
    assert!(embeds(&[(Ptr, 0)]).is_ok());
    assert!(embeds(&[(Const, 0), (Ptr, 0), (Const, 0)]).is_ok());
}

#[test]
fn a_forward_beside_the_definition_counts_only_before_it() {
    let mut m = Maker::new();
    m.composite(Kind::Struct, "s", 8, &[]);
    let distilled = m.btf;
    let mut m = Maker::on(&distilled);
    m.composite(Kind::Struct, "own", 8, &[("s", 1, 0, 0)]);
    let embeds = m.btf;
    let mut m = Maker::on(&distilled);
    m.refer(Kind::Ptr, "", 1);
    let points = m.btf;
    let base = |order: [Kind; 2]| {
        let mut m = Maker::new();
        for kind in order {
            m.add(kind, "s", 0, if kind == Kind::Fwd { 0 } else { 8 }, &[]);
        }
        m.btf
    };
    let several = "[1] struct s: the base has several that fit: [1] and [2]";
    let first = base([Kind::Fwd, Kind::Struct]);
    assert!(relocate(&embeds, &distilled, &first).is_ok());
    assert_eq!(refused(&points, &distilled, &first), [several]);
    let second = base([Kind::Struct, Kind::Fwd]);
    assert_eq!(refused(&embeds, &distilled, &second), [several]);
    assert_eq!(refused(&points, &distilled, &second), [several]);
}

#[test]
fn kinds_are_compared_as_the_kernel_does() {
    // (distilled kind and flag, base kind and flag, fits)
    use Kind::{Enum64, Float, Fwd, Int, Struct, Union};
    let cases = [
        ((Fwd, false), (Fwd, false), true),
        ((Fwd, false), (Fwd, true), false),
        ((Fwd, false), (Struct, false), true),
        ((Fwd, true), (Struct, false), true),
        ((Fwd, false), (Struct, true), false),
        ((Fwd, true), (Union, true), true),
        ((Fwd, true), (Union, false), false),
        ((Fwd, false), (Int, false), false),
        ((Struct, false), (Union, false), true),
        ((Union, false), (Struct, false), true),
        ((Struct, false), (Fwd, false), true),
        ((Kind::Enum, false), (Enum64, true), true),
        ((Kind::Enum, false), (Int, false), false),
        ((Float, false), (Int, false), false),
        ((Int, false), (Float, false), false),
    ];
    for ((kind, flag), (base_kind, base_flag), fits) in cases {
        let make = |kind: Kind, flag| {
            let mut m = Maker::new();
            let size = if kind == Fwd { 0 } else { 4 };
            let rest = if kind == Int { &[32][..] } else { &[] };
            m.add_flagged(kind, "x", 0, flag, size, rest);
            m.btf
        };
        let (distilled, base) = (make(kind, flag), make(base_kind, base_flag));
        let mut m = Maker::on(&distilled);
        m.refer(Kind::Ptr, "", 1);
        let result = relocate(&m.btf, &distilled, &base);
        assert_eq!(result.is_ok(), fits, "{kind:?} {flag} {base_kind:?} {base_flag}: {result:?}");
    }
}

#[test]
fn a_distilled_base_holds_few_kinds() {
    let mut m = Maker::new();
    m.int("int", 4);
    m.refer(Kind::Typedef, "t", 1);
    m.composite(Kind::Struct, "", 4, &[]);
    let distilled = m.btf;
    let split = Maker::on(&distilled).btf;
    assert_eq!(
        refused(&split, &distilled, &distilled),
        [
            "[2] typedef t: a distilled base holds named integers, floats, enums, aggregates and forwards only",
            "[3] struct: a distilled base holds named integers, floats, enums, aggregates and forwards only",
        ]
    );
}

#[test]
fn layers_that_do_not_belong_together() {
    let (one, other) = (distilled(), Maker::new().btf);
    let top = split(&one);
    assert_eq!(refused(&top, &other, &one), ["it does not stand on this distilled base"]);
    assert_eq!(refused(&top, &one, &top), ["a distilled base and a base stand alone"]);
    let big = Btf { endian: crate::btf::Endian::Big, ..one.clone() };
    assert_eq!(refused(&top, &one, &big), ["its byte order is not that of the base"]);
}

#[test]
fn long_and_closed_chains_end() {
    let mut m = Maker::new();
    m.composite(Kind::Struct, "s", 8, &[]);
    let distilled = m.btf;
    let mut m = Maker::on(&distilled);
    // [2] and [3] are each other's target; then a chain of 300,000 to the struct.
    m.refer(Kind::Const, "", 3);
    m.refer(Kind::Typedef, "t", 2);
    let mut id = 1;
    for _ in 0..300_000 {
        id = m.refer(Kind::Const, "", id);
    }
    let members: Vec<_> = (0..1000).map(|_| ("m", id, 0, 0)).chain([("c", 2, 0, 0)]).collect();
    m.composite(Kind::Struct, "own", 8, &members);
    assert!(relocate(&m.btf, &distilled, &distilled).is_ok());
}
