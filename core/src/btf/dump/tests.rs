//! Raw and JSON as text; bpftool gives the same for this BTF.

use super::{Format, dump};
use crate::btf::sample::Maker;
use crate::btf::{Btf, Kind};

/// Something of every kind, the last ids in a split layer.
fn every_kind() -> (Btf, Btf) {
    let mut m = Maker::new();
    let int = m.add(Kind::Int, "int", 0, 4, &[0x0100_0020]); // 1
    let flag = m.add(Kind::Int, "_Bool", 0, 1, &[0x0400_0008]); // 2
    m.refer(Kind::Ptr, "", 0); // 3
    m.add(Kind::Array, "", 0, 0, &[int, int, 7]); // 4
    m.composite(Kind::Struct, "s", 8, &[("a", int, 0, 3), ("", int, 32, 0)]); // 5
    m.composite(Kind::Union, "u", 4, &[("b", flag, 0, 0)]); // 6
    let (low, high) = (m.name("LOW"), m.name("HIGH"));
    m.add(Kind::Enum, "e", 2, 4, &[low, 1, high, 0xffff_ffff]); // 7
    m.add_flagged(Kind::Enum, "", 1, true, 4, &[low, 0xffff_ffff]); // 8
    m.refer(Kind::Fwd, "f", 0); // 9
    m.add_flagged(Kind::Fwd, "g", 0, true, 0, &[]); // 10
    let mut split = Maker::on(&m.btf);
    split.refer(Kind::Typedef, "t", 1); // 11
    split.refer(Kind::Volatile, "", 11); // 12
    split.refer(Kind::Const, "", 12); // 13
    split.refer(Kind::Restrict, "", 3); // 14
    let arg = split.name("arg");
    split.add(Kind::FuncProto, "", 2, 1, &[arg, 13, 0, 0]); // 15
    split.refer(Kind::Func, "call", 15); // 16
    split.add(Kind::Var, "v", 0, 1, &[1]); // 17
    split.add(Kind::Datasec, ".data", 1, 8, &[17, 4, 4]); // 18
    split.add(Kind::Float, "double", 0, 8, &[]); // 19
    split.add(Kind::DeclTag, "a\"b", 0, 16, &[u32::MAX]); // 20
    split.refer(Kind::TypeTag, "user", 1); // 21
    split.add(Kind::Enum64, "w", 1, 8, &[low, 1, 2]); // 22
    split.add_flagged(Kind::Enum64, "x", 1, true, 8, &[high, 0, 0xffff_fff0]); // 23
    (m.btf, split.btf)
}

#[test]
fn raw() {
    let (base, split) = every_kind();
    assert_eq!(
        dump(&base, None, Format::Raw).unwrap(),
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED\n\
         [2] INT '_Bool' size=1 bits_offset=0 nr_bits=8 encoding=BOOL\n\
         [3] PTR '(anon)' type_id=0\n\
         [4] ARRAY '(anon)' type_id=1 index_type_id=1 nr_elems=7\n\
         [5] STRUCT 's' size=8 vlen=2\n\
         \t'a' type_id=1 bits_offset=0 bitfield_size=3\n\
         \t'(anon)' type_id=1 bits_offset=32\n\
         [6] UNION 'u' size=4 vlen=1\n\
         \t'b' type_id=2 bits_offset=0\n\
         [7] ENUM 'e' encoding=UNSIGNED size=4 vlen=2\n\
         \t'LOW' val=1\n\
         \t'HIGH' val=4294967295\n\
         [8] ENUM '(anon)' encoding=SIGNED size=4 vlen=1\n\
         \t'LOW' val=-1\n\
         [9] FWD 'f' fwd_kind=struct\n\
         [10] FWD 'g' fwd_kind=union\n"
    );
    assert_eq!(
        dump(&split, Some(&base), Format::Raw).unwrap(),
        "[11] TYPEDEF 't' type_id=1\n\
         [12] VOLATILE '(anon)' type_id=11\n\
         [13] CONST '(anon)' type_id=12\n\
         [14] RESTRICT '(anon)' type_id=3\n\
         [15] FUNC_PROTO '(anon)' ret_type_id=1 vlen=2\n\
         \t'arg' type_id=13\n\
         \t'(anon)' type_id=0\n\
         [16] FUNC 'call' type_id=15 linkage=static\n\
         [17] VAR 'v' type_id=1, linkage=global\n\
         [18] DATASEC '.data' size=8 vlen=1\n\
         \ttype_id=17 offset=4 size=4 (VAR 'v')\n\
         [19] FLOAT 'double' size=8\n\
         [20] DECL_TAG 'a\"b' type_id=16 component_idx=-1\n\
         [21] TYPE_TAG 'user' type_id=1\n\
         [22] ENUM64 'w' encoding=UNSIGNED size=8 vlen=1\n\
         \t'LOW' val=8589934593ULL\n\
         [23] ENUM64 'x' encoding=SIGNED size=8 vlen=1\n\
         \t'HIGH' val=-68719476736LL\n"
    );
}

#[test]
fn json() {
    let (base, split) = every_kind();
    let base_json = dump(&base, None, Format::Json).unwrap();
    for part in [
        "{\"types\":[{\"id\":1,\"kind\":\"INT\",\"name\":\"int\",\"size\":4,\"bits_offset\":0,\
         \"nr_bits\":32,\"encoding\":\"SIGNED\"},{\"id\":2,",
        "{\"id\":4,\"kind\":\"ARRAY\",\"name\":\"(anon)\",\"type_id\":1,\"index_type_id\":1,\
         \"nr_elems\":7},",
        "{\"id\":5,\"kind\":\"STRUCT\",\"name\":\"s\",\"size\":8,\"vlen\":2,\"members\":[\
         {\"name\":\"a\",\"type_id\":1,\"bits_offset\":0,\"bitfield_size\":3},\
         {\"name\":\"(anon)\",\"type_id\":1,\"bits_offset\":32}]},",
        "{\"id\":7,\"kind\":\"ENUM\",\"name\":\"e\",\"encoding\":\"UNSIGNED\",\"size\":4,\
         \"vlen\":2,\"values\":[{\"name\":\"LOW\",\"val\":1},\
         {\"name\":\"HIGH\",\"val\":18446744073709551615}]},",
        "{\"id\":10,\"kind\":\"FWD\",\"name\":\"g\",\"fwd_kind\":\"union\"}]}",
    ] {
        assert!(base_json.contains(part), "{part}\nis not in\n{base_json}");
    }
    assert_eq!(
        dump(&split, Some(&base), Format::Json).unwrap(),
        "{\"types\":[\
         {\"id\":11,\"kind\":\"TYPEDEF\",\"name\":\"t\",\"type_id\":1},\
         {\"id\":12,\"kind\":\"VOLATILE\",\"name\":\"(anon)\",\"type_id\":11},\
         {\"id\":13,\"kind\":\"CONST\",\"name\":\"(anon)\",\"type_id\":12},\
         {\"id\":14,\"kind\":\"RESTRICT\",\"name\":\"(anon)\",\"type_id\":3},\
         {\"id\":15,\"kind\":\"FUNC_PROTO\",\"name\":\"(anon)\",\"ret_type_id\":1,\"vlen\":2,\
         \"params\":[{\"name\":\"arg\",\"type_id\":13},{\"name\":\"(anon)\",\"type_id\":0}]},\
         {\"id\":16,\"kind\":\"FUNC\",\"name\":\"call\",\"type_id\":15,\"linkage\":\"static\"},\
         {\"id\":17,\"kind\":\"VAR\",\"name\":\"v\",\"type_id\":1,\"linkage\":\"global\"},\
         {\"id\":18,\"kind\":\"DATASEC\",\"name\":\".data\",\"size\":8,\"vlen\":1,\
         \"vars\":[{\"type_id\":17,\"offset\":4,\"size\":4}]},\
         {\"id\":19,\"kind\":\"FLOAT\",\"name\":\"double\",\"size\":8},\
         {\"id\":20,\"kind\":\"DECL_TAG\",\"name\":\"a\\\"b\",\"type_id\":16,\"component_idx\":-1},\
         {\"id\":21,\"kind\":\"TYPE_TAG\",\"name\":\"user\",\"type_id\":1},\
         {\"id\":22,\"kind\":\"ENUM64\",\"name\":\"w\",\"encoding\":\"UNSIGNED\",\"size\":8,\
         \"vlen\":1,\"values\":[{\"name\":\"LOW\",\"val\":8589934593}]},\
         {\"id\":23,\"kind\":\"ENUM64\",\"name\":\"x\",\"encoding\":\"SIGNED\",\"size\":8,\
         \"vlen\":1,\"values\":[{\"name\":\"HIGH\",\"val\":-68719476736}]}]}"
    );
}

#[test]
fn names_of_formats() {
    assert_eq!(Format::from_name("raw"), Some(Format::Raw));
    assert_eq!(Format::from_name("c"), Some(Format::C));
    assert_eq!(Format::from_name("json"), Some(Format::Json));
    assert_eq!(Format::from_name("yaml"), None);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let (base, split) = every_kind();
    for (layer, below) in [(&base, None), (&split, Some(&base))] {
        let good = layer.to_bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                let Ok(btf) = Btf::parse(&bytes, below) else { continue };
                for format in [Format::Raw, Format::Json, Format::C] {
                    // An error or any text.
                    let _ = dump(&btf, below, format);
                }
            }
        }
    }
}

/// The same BTF through bpftool itself, on machines that have it.
#[test]
fn bpftool_agrees() {
    use std::process::Command;
    let (base, split) = every_kind();
    let dir = std::env::temp_dir().join(format!("btfd-dump-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (base_path, split_path) = (dir.join("base"), dir.join("split"));
    std::fs::write(&base_path, base.to_bytes()).unwrap();
    std::fs::write(&split_path, split.to_bytes()).unwrap();
    let bpftool = Command::new("bpftool")
        .args(["btf", "dump", "file"])
        .arg(&split_path)
        .arg("-B")
        .arg(&base_path)
        .output();
    if let Ok(bpftool) =
        bpftool.map_err(|_| ()).and_then(|o| o.status.success().then_some(o).ok_or(()))
    {
        let ours = dump(&split, Some(&base), Format::Raw).unwrap();
        assert_eq!(ours, String::from_utf8_lossy(&bpftool.stdout));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
