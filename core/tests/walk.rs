//! The DIE walk's own reading of DWARF, held against gimli's, DIE by DIE.
//!
//! The objects are those of `tests/toolchain/src`, built here with whatever compilers there are;
//! with `BTFD_TEST_TREE` naming a kernel tree, a spread of its modules comes along.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use btfd_core::dwarf::{Debug, Entry, Value};
use btfd_core::elf::Image;
use common::Scratch;
use gimli::constants as dw;
use gimli::{
    Attribute, AttributeValue, DebugStrOffsetsBase, DwAt, DwForm, DwTag, Dwarf, DwarfFileType,
    Encoding, EndianSlice, Expression, Operation, RunTimeEndian, UnitHeader,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Slice<'d> = EndianSlice<'d, RunTimeEndian>;

/// How many modules of a tree are read.
const SPREAD: usize = 40;

/// A unit as gimli has it. (Its `Unit` would want line tables as well.)
struct Unit<'a, 'd> {
    dwarf: &'a Dwarf<Slice<'d>>,
    header: UnitHeader<Slice<'d>>,
    start: usize,
    str_offsets_base: DebugStrOffsetsBase<usize>,
}

/// What gimli says of a file, as the walk would say it.
fn expected(debug: &Debug) -> Vec<Entry<'_>> {
    let load = |id| Ok::<_, gimli::Error>(EndianSlice::new(debug.section(id), debug.endian()));
    let dwarf = Dwarf::load(load).unwrap();
    let mut headers = dwarf.units();
    let mut all = Vec::new();
    while let Some(header) = headers.next().unwrap() {
        let encoding = header.encoding();
        let main = DwarfFileType::Main;
        let mut unit = Unit {
            dwarf: &dwarf,
            header,
            start: header.debug_info_offset().unwrap().0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, main),
        };
        let abbreviations = dwarf.abbreviations(&header).unwrap();
        let root = header.entry(&abbreviations, header.root_offset()).unwrap();
        if let Some(AttributeValue::DebugStrOffsetsBase(base)) =
            root.attr_value(dw::DW_AT_str_offsets_base)
        {
            unit.str_offsets_base = base;
        }
        let mut entries = header.entries_raw(&abbreviations, None).unwrap();
        while !entries.is_empty() {
            let offset = unit.start + entries.next_offset().0;
            let Some(abbreviation) = entries.read_abbreviation().unwrap() else { continue };
            let mut attributes: Vec<(DwAt, Value<'_>)> = Vec::new();
            for &spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(spec).unwrap();
                if matters(abbreviation.tag(), attribute.name())
                    && let Some(value) = unit.value(&attribute)
                {
                    attributes.push((attribute.name(), value));
                }
            }
            attributes.sort_by_key(|&(name, _)| name.0);
            let (tag, has_children) = (abbreviation.tag(), abbreviation.has_children());
            all.push(Entry { offset, tag, has_children, attributes });
        }
    }
    all
}

/// `DW_AT_GNU_annotation`, which gimli does not name.
const GNU_ANNOTATION: DwAt = DwAt(0x2139);

/// Of DIEs that are many, the walk wants only what becomes BTF.
fn matters(tag: DwTag, name: DwAt) -> bool {
    let any = |names: &[DwAt]| names.contains(&name);
    let told = [dw::DW_AT_name, dw::DW_AT_type, dw::DW_AT_specification];
    match tag {
        dw::DW_TAG_member => !any(&[
            dw::DW_AT_const_value,
            dw::DW_AT_location,
            dw::DW_AT_encoding,
            dw::DW_AT_abstract_origin,
            dw::DW_AT_specification,
            dw::DW_AT_declaration,
            dw::DW_AT_external,
            dw::DW_AT_artificial,
        ]),
        dw::DW_TAG_formal_parameter => {
            any(&told[..2]) || any(&[dw::DW_AT_abstract_origin, dw::DW_AT_location, GNU_ANNOTATION])
        }
        dw::DW_TAG_variable => {
            any(&told)
                || any(&[dw::DW_AT_location, dw::DW_AT_declaration, dw::DW_AT_external])
                || name == dw::DW_AT_artificial
        }
        dw::DW_TAG_subprogram => {
            any(&told) || any(&[dw::DW_AT_abstract_origin, dw::DW_AT_declaration, GNU_ANNOTATION])
        }
        dw::DW_TAG_lexical_block
        | dw::DW_TAG_inlined_subroutine
        | dw::DW_TAG_call_site
        | dw::DW_TAG_call_site_parameter
        | dw::DW_TAG_GNU_call_site
        | dw::DW_TAG_GNU_call_site_parameter
        | dw::DW_TAG_label => false,
        _ => true,
    }
}

impl<'d> Unit<'_, 'd> {
    fn text(&self, raw: AttributeValue<Slice<'d>>) -> Option<Value<'d>> {
        let dwarf = self.dwarf;
        let text = match raw {
            AttributeValue::String(text) => text,
            AttributeValue::DebugStrRef(at) => dwarf.debug_str.get_str(at).unwrap(),
            AttributeValue::DebugLineStrRef(at) => dwarf.debug_line_str.get_str(at).unwrap(),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let (format, base) = (self.header.format(), self.str_offsets_base);
                let at = dwarf.debug_str_offsets.get_str_offset(format, base, index).unwrap();
                dwarf.debug_str.get_str(at).unwrap()
            }
            _ => return None,
        };
        Some(Value::Text(text.slice()))
    }

    fn value(&self, attribute: &Attribute<Slice<'d>>) -> Option<Value<'d>> {
        let raw = attribute.raw_value();
        let constant = constant(attribute.form(), raw);
        let not_zero = |n: u64| (n != 0).then_some(Value::Number(n));
        match attribute.name() {
            dw::DW_AT_name => self.text(raw),
            dw::DW_AT_const_value => self.text(raw).or(constant.and_then(not_zero)),
            dw::DW_AT_type
            | dw::DW_AT_abstract_origin
            | dw::DW_AT_specification
            | GNU_ANNOTATION => match raw {
                AttributeValue::UnitRef(at) => Some(Value::Reference(self.start + at.0)),
                AttributeValue::DebugInfoRef(at) => Some(Value::Reference(at.0)),
                _ => None,
            },
            dw::DW_AT_byte_size => Some(Value::Number(constant.unwrap_or(0))),
            dw::DW_AT_bit_size | dw::DW_AT_bit_offset | dw::DW_AT_encoding => not_zero(constant?),
            dw::DW_AT_count => constant.map(Value::Number),
            dw::DW_AT_upper_bound => Some(constant.map_or(Value::NotConstant, Value::Number)),
            dw::DW_AT_data_bit_offset | dw::DW_AT_data_member_location => {
                let added = || added(raw, self.header.encoding());
                Some(Value::Number(constant.unwrap_or_else(added)))
            }
            dw::DW_AT_declaration | dw::DW_AT_external | dw::DW_AT_artificial => {
                Some(Value::Present)
            }
            dw::DW_AT_location => match raw {
                AttributeValue::Exprloc(Expression(bytes)) | AttributeValue::Block(bytes) => {
                    Some(Value::Expression(bytes.slice()))
                }
                AttributeValue::SecOffset(at) => Some(Value::List(at as u64)),
                AttributeValue::DebugLocListsIndex(index) => Some(Value::List(index.0 as u64)),
                _ => None,
            },
            _ => None,
        }
    }
}

fn constant(form: DwForm, raw: AttributeValue<Slice<'_>>) -> Option<u64> {
    match raw {
        AttributeValue::Data1(n) => Some(n.into()),
        AttributeValue::Data2(n) => Some(n.into()),
        AttributeValue::Data4(n) => Some(n.into()),
        AttributeValue::Data8(n) | AttributeValue::Udata(n) => Some(n),
        AttributeValue::Sdata(n) => Some(n as u64),
        // Before DWARF 4 gimli takes such a number for an offset.
        AttributeValue::SecOffset(n) if form != dw::DW_FORM_sec_offset => Some(n as u64),
        _ => None,
    }
}

/// The constant that an expression adds.
fn added(raw: AttributeValue<Slice<'_>>, encoding: Encoding) -> u64 {
    let (AttributeValue::Block(mut bytes) | AttributeValue::Exprloc(Expression(mut bytes))) = raw
    else {
        return 0;
    };
    match Operation::parse(&mut bytes, encoding).unwrap() {
        Operation::PlusConstant { value } | Operation::UnsignedConstant { value } => value,
        other => panic!("{other:?}"),
    }
}

/// Compares one file; how many DIEs it has.
fn compare(path: &Path) -> usize {
    let image = Image::open_path(path).unwrap();
    let symbols = image.symbols().unwrap().unwrap();
    let debug = Debug::load(&image, &symbols).unwrap();
    let mut found = Vec::new();
    for group in debug.groups(&[]).unwrap() {
        group.entries(|entry| found.push(entry)).unwrap();
    }
    let expected = expected(&debug);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{}", path.display());
    }
    assert_eq!(found.len(), expected.len(), "{}", path.display());
    found.len()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/toolchain/src").join(name)
}

/// Compiles or assembles; whether there is such a compiler.
fn build(compiler: &str, flags: &[&str], name: &str, out: &Path) -> bool {
    let sources = source("");
    let mut command = Command::new(compiler);
    command.stderr(Stdio::null());
    command.args(["-O2", "-g", "-ffreestanding", "-nostdinc", "-w", "-fno-pic", "-I"]);
    command.arg(&sources).args(flags);
    if name.ends_with(".s") {
        command.arg(format!("-Wa,-I,{}", sources.display()));
    }
    match command.args(["-c", "-o"]).arg(out).arg(sources.join(name)).status() {
        Ok(status) => status.success(),
        Err(_) => false,
    }
}

#[test]
fn what_compilers_write() {
    let scratch = Scratch::new();
    let out = scratch.file("out.o", b"");
    let mut seen = 0;
    let compilers = ["gcc", "clang", "s390x-linux-gnu-gcc", "arm-linux-gnueabihf-gcc"];
    for compiler in compilers {
        for version in ["-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5"] {
            for strict in ["-gstrict-dwarf", "-gno-strict-dwarf"] {
                for name in ["types.c", "functions.c", "data.c", "atomics.c"] {
                    if build(compiler, &[version, strict], name, &out) {
                        seen += compare(&out);
                    }
                }
            }
        }
        for flag in ["-gdwarf64", "-gz"] {
            if build(compiler, &[flag], "types.c", &out) {
                seen += compare(&out);
            }
        }
    }
    assert!(seen == 0 || seen > 1000, "{seen} DIEs only");
}

#[test]
fn what_is_written_by_hand() {
    let scratch = Scratch::new();
    let out = scratch.file("out.o", b"");
    let shapes = [
        ("gcc", 8, 0),
        ("clang", 8, 0),
        ("s390x-linux-gnu-gcc", 8, 1),
        ("arm-linux-gnueabihf-gcc", 4, 0),
    ];
    for (compiler, address, big) in shapes {
        let mut cases = vec![("forms5.s", 5), ("nameless.s", 5), ("annotations.s", 5)];
        if address == 8 && big == 0 {
            cases.push(("registers.s", 5));
        }
        cases.extend((2..5).map(|version| ("forms2.s", version)));
        for (name, version) in cases {
            let define = |name: &str, value| format!("-Wa,-defsym,{name}={value}");
            let defines = [
                define("ADDRESS", address),
                define("BIG", big),
                define("VERSION", version),
                define("ENDLESS", 0),
            ];
            let flags: Vec<&str> = defines.iter().map(String::as_str).collect();
            if build(compiler, &flags, name, &out) {
                assert!(compare(&out) > 20);
            }
        }
    }
}

#[test]
fn modules_of_a_tree() {
    let Some(root) = std::env::var_os("BTFD_TEST_TREE").map(PathBuf::from) else { return };
    let order = std::fs::read_to_string(root.join("modules.order")).unwrap();
    let modules: Vec<&str> = order.lines().collect();
    let step = modules.len().div_ceil(SPREAD).max(1);
    let seen: usize = modules.iter().step_by(step).map(|name| compare(&root.join(name))).sum();
    assert!(seen > modules.len());
}
