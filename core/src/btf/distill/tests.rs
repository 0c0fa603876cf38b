use super::*;
use crate::btf::Endian;
use crate::btf::relocate::relocate;
use crate::btf::sample::Maker;

/// Kind, name and third word of every type, one line each.
fn lines(layer: &Btf, below: Option<&Btf>) -> Vec<String> {
    let line = |ty: Type<'_>| {
        let kind = ty.kind().map_or("?", Kind::name);
        let name = String::from_utf8_lossy(layer.string(below, ty.name())).into_owned();
        format!("{kind} {name} {} {}", ty.size_or_type(), ty.vlen())
    };
    layer.types.iter().map(line).collect()
}

/// One of each kind that can be distilled, ids 1 to 16.
fn base() -> Btf {
    let mut m = Maker::new();
    let int = m.int("int", 4);
    m.add(Kind::Float, "double", 0, 8, &[]);
    m.add(Kind::Fwd, "fwd", 0, 0, &[]);
    m.composite(Kind::Struct, "s", 8, &[("next", 9, 0, 0)]);
    m.composite(Kind::Union, "u", 4, &[("b", int, 0, 3)]);
    m.composite(Kind::Struct, "", 4, &[("inner", int, 0, 0)]);
    m.add_flagged(Kind::Enum, "e", 1, true, 4, &[0, 1]);
    m.add_flagged(Kind::Enum64, "e64", 1, true, 8, &[0, 1, 0]);
    m.refer(Kind::Ptr, "", 4);
    m.add(Kind::Enum, "", 1, 4, &[0, 1]);
    m.add(Kind::Array, "", 0, 0, &[9, int, 3]);
    m.refer(Kind::Typedef, "t", 11);
    m.refer(Kind::TypeTag, "user", 12);
    m.add(Kind::FuncProto, "", 1, int, &[0, 13]);
    m.refer(Kind::Volatile, "", 5);
    m.composite(Kind::Struct, "unused", 4, &[("x", int, 0, 0)]);
    m.btf
}

#[test]
fn a_forward_declaration_refers_to_nothing() {
    let mut m = Maker::new();
    m.int("int", 4);
    m.add(Kind::Fwd, "fwd", 0, 1, &[]);
    let base = m.btf;
    let mut m = Maker::on(&base);
    m.refer(Kind::Ptr, "", 2);
    let made = distill(&m.btf, &base).unwrap();
    assert_eq!(lines(&made.base, None), ["INT int 4 0", "FWD fwd 0 0"]);
}

#[test]
fn what_each_kind_becomes() {
    let base = base();
    let mut m = Maker::on(&base);
    for id in [2, 3, 6, 7, 8, 10, 14, 15] {
        m.refer(Kind::Ptr, "", id);
    }
    let made = distill(&m.btf, &base).unwrap();
    assert_eq!(
        lines(&made.base, None),
        [
            "INT int 4 0",
            "FLOAT double 8 0",
            "FWD fwd 0 0",
            "STRUCT s 8 0",
            "UNION u 4 0",
            "ENUM e 4 0",
            "ENUM e64 8 0",
        ]
    );
    assert!(made.base.types.iter().all(|ty| !ty.kflag()));
    assert_eq!(
        lines(&made.split, Some(&made.base)),
        [
            "PTR  2 0",
            "PTR  3 0",
            "PTR  16 0",
            "PTR  6 0",
            "PTR  7 0",
            "PTR  18 0",
            "PTR  22 0",
            "PTR  23 0",
            "STRUCT  4 1",
            "PTR  4 0",
            "ENUM  4 1",
            "ARRAY  0 0",
            "TYPEDEF t 19 0",
            "TYPE_TAG user 20 0",
            "FUNC_PROTO  1 1",
            "VOLATILE  5 0",
        ]
    );
    assert_eq!(Btf::parse(&made.base.to_bytes(), None), Ok(made.base.clone()));
    assert_eq!(Btf::parse(&made.split.to_bytes(), Some(&made.base)), Ok(made.split.clone()));
    // Where it came from, it fits again: what was named is the old type.
    let back = relocate(&made.split, &made.base, &base).unwrap();
    assert_eq!(back.types.get(0).size_or_type(), 2);
    assert_eq!(back.types.get(4).size_or_type(), 8);
    assert_eq!(lines(&back, Some(&base))[12], "TYPEDEF t 28 0");
}

#[test]
fn an_empty_distilled_base_loses_nothing() {
    let base = base();
    let mut m = Maker::on(&base);
    m.refer(Kind::Ptr, "", 10);
    m.refer(Kind::Const, "", 17);
    let made = distill(&m.btf, &base).unwrap();
    assert!(made.base.types.is_empty());
    assert_eq!(lines(&made.split, Some(&made.base)), ["PTR  3 0", "CONST  1 0", "ENUM  4 1"]);
    let back = relocate(&made.split, &made.base, &base).unwrap();
    assert_eq!(lines(&back, Some(&base)), ["PTR  19 0", "CONST  17 0", "ENUM  4 1"]);
}

#[test]
fn what_cannot_be_distilled_is_named() {
    let mut m = Maker::new();
    let proto = m.add(Kind::FuncProto, "", 0, 0, &[]);
    let func = m.refer(Kind::Func, "f", proto);
    m.add(Kind::Enum, "odd", 0, 16, &[]);
    let base = m.btf;
    let mut m = Maker::on(&base);
    m.add(Kind::DeclTag, "tag", 0, func, &[u32::MAX]);
    let error = distill(&m.btf, &base).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[4] refers to func \"f\" [2] of the base, which cannot be distilled"
    );
    assert_eq!(error.errno_name(), "EINVAL");
    let mut m = Maker::on(&base);
    m.refer(Kind::Ptr, "", 3);
    assert_eq!(
        distill(&m.btf, &base).unwrap_err().to_string(),
        "enum \"odd\" [3] of the base has 16 bytes, expected 1, 2, 4 or 8"
    );
    assert_eq!(distill(&base, &base).unwrap_err(), DistillError::Alone);
}

#[test]
fn deep_chains_need_no_stack() {
    let mut m = Maker::new();
    let mut id = 0;
    for _ in 0..300_000 {
        id = m.refer(Kind::Ptr, "", id);
    }
    let base = m.btf;
    let mut m = Maker::on(&base);
    m.refer(Kind::Const, "", id);
    let made = distill(&m.btf, &base).unwrap();
    assert_eq!(made.split.types.len(), 300_001);
    assert_eq!(made.split.types.get(0).size_or_type(), 300_001);
}

#[test]
fn byte_order_stays() {
    let mut low = base();
    low.endian = Endian::Big;
    let mut m = Maker::on(&low);
    m.refer(Kind::Ptr, "", 4);
    let mut top = m.btf;
    top.endian = Endian::Big;
    let made = distill(&top, &low).unwrap();
    assert_eq!((made.base.endian, made.split.endian), (Endian::Big, Endian::Big));
}
