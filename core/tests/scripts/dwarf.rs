//! Modules with DWARF, written as a script of choices says.
//!
//! What comes out is well-formed but for what choices damage on purpose: every DIE has an
//! abbreviation, every length is right, most references lead to a DIE. So a script reaches the rules
//! for types, functions and variables instead of the first check. Units repeat what others said,
//! with changes, since repetition is what deduplication is about.

use super::Choices;
use crate::common::Elf;
use crate::random::Rng;

/// Names that DIEs and symbols share; the last ones are odd.
const NAMES: [&str; 24] = [
    "int",
    "char",
    "a",
    "b",
    "c",
    "list_head",
    "u32",
    "next",
    "f0",
    "f1",
    "f2",
    "f3",
    "v0",
    "v1",
    "v2",
    "double",
    "complex double",
    "bpf_kfunc",
    "f1.cold",
    "f2.isra.0",
    "unsigned long",
    "",
    "1bad",
    "n\u{e4}me",
];

/// How many are odd.
const ODD: usize = 3;

const TAGGED: &str = "btf_decl_tag";
const TYPE_TAGGED: &str = "btf_type_tag";

/// Where libdw lays out the first section of a relocatable file.
const TEXT: u64 = 0x10000;
const TEXT_SIZE: usize = 256;
/// `.data..percpu` follows `.text`.
const DATA: u64 = TEXT + TEXT_SIZE as u64;
const DATA_SIZE: usize = 64;

/// DIEs of one file at most.
const MAX_DIES: usize = 400;

/// Forms, by number.
mod form {
    pub const ADDR: u8 = 0x01;
    pub const BLOCK2: u8 = 0x03;
    pub const BLOCK4: u8 = 0x04;
    pub const DATA2: u8 = 0x05;
    pub const DATA4: u8 = 0x06;
    pub const DATA8: u8 = 0x07;
    pub const STRING: u8 = 0x08;
    pub const BLOCK: u8 = 0x09;
    pub const BLOCK1: u8 = 0x0a;
    pub const DATA1: u8 = 0x0b;
    pub const FLAG: u8 = 0x0c;
    pub const SDATA: u8 = 0x0d;
    pub const STRP: u8 = 0x0e;
    pub const UDATA: u8 = 0x0f;
    pub const REF_ADDR: u8 = 0x10;
    pub const REF4: u8 = 0x13;
    pub const REF8: u8 = 0x14;
    pub const SEC_OFFSET: u8 = 0x17;
    pub const EXPRLOC: u8 = 0x18;
    pub const FLAG_PRESENT: u8 = 0x19;
    pub const STRX: u8 = 0x1a;
    pub const DATA16: u8 = 0x1e;
    pub const LINE_STRP: u8 = 0x1f;
    pub const IMPLICIT_CONST: u8 = 0x21;
    pub const LOCLISTX: u8 = 0x22;
    pub const STRX1: u8 = 0x25;
}

/// Attributes, by number.
mod at {
    pub const LOCATION: u16 = 0x02;
    pub const NAME: u16 = 0x03;
    pub const BYTE_SIZE: u16 = 0x0b;
    pub const BIT_OFFSET: u16 = 0x0c;
    pub const BIT_SIZE: u16 = 0x0d;
    pub const LANGUAGE: u16 = 0x13;
    pub const CONST_VALUE: u16 = 0x1c;
    pub const UPPER_BOUND: u16 = 0x2f;
    pub const ORIGIN: u16 = 0x31;
    pub const COUNT: u16 = 0x37;
    pub const MEMBER_LOCATION: u16 = 0x38;
    pub const DECLARATION: u16 = 0x3c;
    pub const ENCODING: u16 = 0x3e;
    pub const EXTERNAL: u16 = 0x3f;
    pub const SPECIFICATION: u16 = 0x47;
    pub const TYPE: u16 = 0x49;
    pub const ARTIFICIAL: u16 = 0x34;
    pub const DATA_BIT_OFFSET: u16 = 0x6b;
    pub const STR_OFFSETS_BASE: u16 = 0x72;
    pub const LOCLISTS_BASE: u16 = 0x8c;
}

/// Tags of DIEs that may stand in a unit.
const DECLARED: [u16; 24] = [
    0x24, 0x24, 0x0f, 0x0f, 0x16, 0x16, 0x13, 0x13, 0x13, 0x17, 0x04, 0x01, 0x01, 0x15, 0x26, 0x35,
    0x37, 0x2e, 0x2e, 0x34, 0x34, 0x47, 0x39, 0x3b,
];
/// Tags of children where anything may stand.
const WITHIN: [u16; 12] =
    [0x05, 0x05, 0x05, 0x18, 0x0b, 0x1d, 0x34, 0x13, 0x16, 0x6000, 0x48, 0x0a];

#[derive(Default)]
struct Writer {
    big: bool,
    bytes: Vec<u8>,
}

impl Writer {
    fn fixed(&mut self, value: u64, size: usize) {
        if self.big {
            self.bytes.extend(&value.to_be_bytes()[8 - size..]);
        } else {
            self.bytes.extend(&value.to_le_bytes()[..size]);
        }
    }

    fn uleb(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn sleb(&mut self, mut value: i64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 && low & 0x40 == 0 || value == -1 && low & 0x40 != 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | 0x80);
        }
    }

    fn put(&mut self, at: usize, value: u64, size: usize) {
        let word = if self.big {
            value.to_be_bytes()[8 - size..].to_vec()
        } else {
            value.to_le_bytes()[..size].to_vec()
        };
        self.bytes[at..at + size].copy_from_slice(&word);
    }
}

/// One attribute of a DIE that is being written.
enum Attribute {
    Number(u16, u8, u64),
    Bytes(u16, u8, Vec<u8>),
    Reference(u16, u8, usize),
}

struct File {
    version: u16,
    wide: bool,
    address: usize,
    info: Writer,
    abbreviations: Writer,
    /// Those of the unit that is being written, without their codes.
    known: Vec<Vec<u8>>,
    strings: Vec<u8>,
    /// Offsets of DIEs in `.debug_info`.
    dies: Vec<usize>,
    /// Of the unit.
    own: Vec<usize>,
    /// References to be filled in: place, size, which DIE, whether it counts from the unit.
    references: Vec<(usize, usize, usize, bool)>,
    locations: Vec<u8>,
    start: usize,
    left: usize,
}

/// The offset of a name in the pool.
fn name_at(index: usize) -> u64 {
    1 + NAMES[..index].iter().map(|n| n.len() as u64 + 1).sum::<u64>()
}

impl File {
    fn offset_size(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    fn name(&self, c: &mut Choices<'_>, name: u16) -> Attribute {
        let index = match c.one_in(64) {
            true => NAMES.len() - 1 - c.below(ODD),
            false => c.below(NAMES.len() - ODD),
        };
        match c.below(16) {
            0 => {
                let mut text = NAMES[index].as_bytes().to_vec();
                text.push(0);
                Attribute::Bytes(name, form::STRING, text)
            }
            1 => Attribute::Number(name, form::LINE_STRP, name_at(index)),
            2 if self.version >= 5 => Attribute::Number(name, form::STRX1, index as u64),
            3 if self.version >= 5 => Attribute::Number(name, form::STRX, index as u64),
            // The tail of a name.
            4 => Attribute::Number(name, form::STRP, name_at(index) + 1),
            _ => Attribute::Number(name, form::STRP, name_at(index)),
        }
    }

    fn reference(&self, c: &mut Choices<'_>, name: u16) -> Attribute {
        let which = c.below(1 << 16);
        match c.below(24) {
            0 => Attribute::Reference(name, form::REF_ADDR, which),
            1 => Attribute::Reference(name, form::REF8, which),
            2 => Attribute::Number(name, form::REF4, which as u64),
            _ => Attribute::Reference(name, form::REF4, which),
        }
    }

    fn number(c: &mut Choices<'_>, name: u16, value: u64) -> Attribute {
        let form = match c.below(8) {
            0 => form::DATA1,
            1 => form::DATA2,
            2 => form::DATA4,
            3 => form::DATA8,
            4 => form::SDATA,
            5 => form::IMPLICIT_CONST,
            6 => form::DATA16,
            _ => form::UDATA,
        };
        Attribute::Number(name, form, value)
    }

    fn expression(&self, c: &mut Choices<'_>, name: u16, ops: &[u8]) -> Attribute {
        let forms = [form::EXPRLOC, form::BLOCK1, form::BLOCK2, form::BLOCK4, form::BLOCK];
        Attribute::Bytes(name, c.pick(&forms), ops.to_vec())
    }

    /// The attributes of a DIE with this tag.
    fn attributes(&mut self, c: &mut Choices<'_>, tag: u16, in_union: bool) -> Vec<Attribute> {
        let mut list = Vec::new();
        let named = match tag {
            0x0f | 0x26 | 0x35 | 0x37 | 0x47 | 0x01 | 0x15 | 0x21 => c.one_in(16),
            // BTF demands it.
            0x16 | 0x24 => !c.one_in(100),
            _ => !c.one_in(6),
        };
        if named && tag != 0x6000 {
            list.push(self.name(c, at::NAME));
        }
        let typed = matches!(
            tag,
            0x0f | 0x26
                | 0x35
                | 0x37
                | 0x47
                | 0x01
                | 0x15
                | 0x16
                | 0x0d
                | 0x05
                | 0x34
                | 0x2e
                | 0x04
        );
        if typed && !c.one_in(8) {
            list.push(self.reference(c, at::TYPE));
        }
        match tag {
            0x24 => {
                let size = c.pick(&[4, 4, 1, 2, 8, 16, 4, 8, 4, 8, 4, 8, 12, 32, 0, 3]);
                list.push(Self::number(c, at::BYTE_SIZE, size));
                let encoding = c.pick(&[5, 7, 5, 7, 2, 6, 8, 5, 7, 6, 8, 5, 7, 4, 3, 0]);
                list.push(Self::number(c, at::ENCODING, encoding));
            }
            0x13 | 0x17 | 0x02 | 0x04 => {
                let size = match c.below(32) {
                    0 => c.number(),
                    n => 1 << (n % 4),
                };
                list.push(Self::number(c, at::BYTE_SIZE, size));
                if named && c.one_in(6) {
                    list.push(Attribute::Number(at::DECLARATION, form::FLAG_PRESENT, 0));
                }
                if c.one_in(12) {
                    list.push(self.reference(c, at::SPECIFICATION));
                }
            }
            0x0d => {
                if !c.one_in(6) {
                    let value = match c.below(32) {
                        0 if !in_union || c.one_in(8) => c.number(),
                        _ if in_union => 0,
                        n => 4 * n as u64,
                    };
                    list.push(match c.below(6) {
                        0 => self.expression(c, at::MEMBER_LOCATION, &[0x23, value as u8 & 0x7f]),
                        1 => self.expression(c, at::MEMBER_LOCATION, &[0x10, value as u8 & 0x7f]),
                        _ => Self::number(c, at::MEMBER_LOCATION, value),
                    });
                }
                if c.one_in(5) {
                    let bits = c.below(24) as u64;
                    list.push(Self::number(c, at::BIT_SIZE, bits));
                    // The old style counts from the end of a storage unit of some size.
                    let old = c.one_in(3);
                    let value = match c.below(64) {
                        0 => c.number(),
                        _ if in_union && !old => 0,
                        n => n as u64 % 9,
                    };
                    let place = if old { at::BIT_OFFSET } else { at::DATA_BIT_OFFSET };
                    list.push(Self::number(c, place, value));
                    if old && !c.one_in(16) {
                        list.push(Self::number(c, at::BYTE_SIZE, 4));
                    }
                }
            }
            0x28 => {
                let value = if c.one_in(16) { c.number() } else { c.below(100) as u64 };
                list.push(Self::number(c, at::CONST_VALUE, value));
            }
            0x21 => {
                let which = c.pick(&[at::UPPER_BOUND, at::COUNT]);
                let value = c.number();
                list.push(match c.below(8) {
                    0 => self.expression(c, which, &[0x91, 0x70]),
                    _ => Self::number(c, which, value),
                });
            }
            0x05 | 0x2e | 0x34 => {
                if c.one_in(5) {
                    let which = c.pick(&[at::ORIGIN, at::SPECIFICATION]);
                    list.push(self.reference(c, which));
                }
                if tag != 0x05 && c.one_in(8) {
                    list.push(Attribute::Number(at::DECLARATION, form::FLAG, 1));
                }
                if tag != 0x05 && c.one_in(2) {
                    list.push(Attribute::Number(at::EXTERNAL, form::FLAG_PRESENT, 0));
                }
                if tag == 0x34 && c.one_in(8) {
                    list.push(Attribute::Number(at::ARTIFICIAL, form::FLAG_PRESENT, 0));
                }
                if tag == 0x05 {
                    list.extend(self.parameter_location(c));
                }
                if tag == 0x34 && !c.one_in(3) {
                    let address = DATA + 8 * c.below(9) as u64;
                    let mut ops = Writer { big: self.info.big, bytes: vec![0x03] };
                    ops.fixed(address, self.address);
                    list.push(self.expression(c, at::LOCATION, &ops.bytes));
                }
            }
            0x6000 => {
                let text = c.pick(&[TAGGED, TYPE_TAGGED, TYPE_TAGGED, "other"]);
                let mut bytes = text.as_bytes().to_vec();
                bytes.push(0);
                list.push(Attribute::Bytes(at::NAME, form::STRING, bytes));
                list.push(self.name(c, at::CONST_VALUE));
            }
            _ => {}
        }
        if c.one_in(40) {
            // Anything in any form that one can write.
            let name = c.below(0x90) as u16;
            let value = c.number();
            list.push(Self::number(c, name, value));
        }
        list
    }

    fn parameter_location(&mut self, c: &mut Choices<'_>) -> Option<Attribute> {
        let register = 0x50 + c.below(8) as u8;
        Some(match c.below(20) {
            0 | 5 | 6 => self.expression(c, at::LOCATION, &[register]),
            1 => self.expression(c, at::LOCATION, &[0xa3, 1, register, 0x9f]),
            2 => {
                let ops = c.bytes(12);
                self.expression(c, at::LOCATION, ops)
            }
            3 => {
                let offset = self.locations.len() as u64;
                let bytes = c.bytes(24);
                self.locations.extend(bytes);
                let form = if self.version >= 4 { form::SEC_OFFSET } else { form::DATA4 };
                Attribute::Number(at::LOCATION, form, offset)
            }
            4 if self.version >= 5 => {
                Attribute::Number(at::LOCATION, form::LOCLISTX, c.below(4) as u64)
            }
            _ => return None,
        })
    }

    /// Writes a DIE without its children; whether some follow is `has_children`.
    fn die(&mut self, tag: u16, list: &[Attribute], has_children: bool) {
        let big = self.info.big;
        let mut abbreviation = Writer { big, bytes: Vec::new() };
        abbreviation.uleb(tag.into());
        abbreviation.bytes.push(has_children.into());
        for attribute in list {
            let (Attribute::Number(name, form, _)
            | Attribute::Bytes(name, form, _)
            | Attribute::Reference(name, form, _)) = *attribute;
            abbreviation.uleb(name.into());
            abbreviation.uleb(form.into());
            if let Attribute::Number(_, form::IMPLICIT_CONST, value) = *attribute {
                abbreviation.sleb(value as i64);
            }
        }
        abbreviation.bytes.extend([0, 0]);
        let code = match self.known.iter().position(|k| *k == abbreviation.bytes) {
            Some(at) => at + 1,
            None => {
                self.known.push(abbreviation.bytes.clone());
                self.abbreviations.uleb(self.known.len() as u64);
                self.abbreviations.bytes.extend(abbreviation.bytes);
                self.known.len()
            }
        };
        self.dies.push(self.info.bytes.len());
        self.own.push(self.info.bytes.len());
        self.info.uleb(code as u64);
        for attribute in list {
            self.value(attribute);
        }
    }

    fn value(&mut self, attribute: &Attribute) {
        let offset = self.offset_size();
        match *attribute {
            Attribute::Number(_, form, value) => match form {
                form::DATA1 | form::FLAG | form::STRX1 => self.info.fixed(value, 1),
                form::DATA2 => self.info.fixed(value, 2),
                form::DATA4 | form::REF4 => self.info.fixed(value, 4),
                form::DATA8 => self.info.fixed(value, 8),
                form::DATA16 => {
                    self.info.fixed(value, 8);
                    self.info.fixed(0, 8);
                }
                form::SDATA => self.info.sleb(value as i64),
                form::STRP | form::LINE_STRP | form::SEC_OFFSET => self.info.fixed(value, offset),
                form::ADDR => self.info.fixed(value, self.address),
                form::FLAG_PRESENT | form::IMPLICIT_CONST => {}
                _ => self.info.uleb(value),
            },
            Attribute::Bytes(_, form, ref bytes) => {
                match form {
                    form::BLOCK1 => self.info.fixed(bytes.len() as u64, 1),
                    form::BLOCK2 => self.info.fixed(bytes.len() as u64, 2),
                    form::BLOCK4 => self.info.fixed(bytes.len() as u64, 4),
                    form::BLOCK | form::EXPRLOC => self.info.uleb(bytes.len() as u64),
                    _ => {}
                }
                self.info.bytes.extend(bytes);
            }
            Attribute::Reference(_, form, which) => {
                let (size, in_unit) = match form {
                    form::REF4 => (4, true),
                    form::REF8 => (8, true),
                    _ if self.version == 2 => (self.address, false),
                    _ => (offset, false),
                };
                self.references.push((self.info.bytes.len(), size, which, in_unit));
                self.info.fixed(0, size);
            }
        }
    }

    /// A DIE with whatever children its tag asks for.
    fn tree(&mut self, c: &mut Choices<'_>, tag: u16, parent: u16, depth: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let list = self.attributes(c, tag, parent == 0x17);
        let children: &[u16] = match tag {
            0x13 | 0x17 | 0x02 => &[0x0d, 0x0d, 0x0d, 0x0d, 0x6000, 0x13, 0x17],
            0x04 => &[0x28],
            0x01 => &[0x21],
            0x15 => &[0x05, 0x05, 0x18],
            0x0f | 0x16 | 0x0d | 0x05 | 0x34 => &[0x6000],
            0x2e | 0x0b | 0x1d | 0x39 => &WITHIN,
            _ => &[],
        };
        let count = match tag {
            _ if children.is_empty() || depth > 12 => 0,
            0x0f | 0x16 | 0x0d | 0x05 | 0x34 => usize::from(c.one_in(12)),
            0x01 => 1 + usize::from(c.one_in(4)),
            _ => c.below(6),
        };
        self.die(tag, &list, count > 0);
        for _ in 0..count {
            let child = if c.one_in(24) { c.pick(&DECLARED) } else { c.pick(children) };
            self.tree(c, child, tag, depth + 1);
        }
        if count > 0 {
            self.info.bytes.push(0);
        }
    }

    /// One unit, as the script says.
    fn unit(&mut self, c: &mut Choices<'_>) {
        self.version = c.pick(&[5, 4, 3, 2, 5, 4]);
        self.wide = c.one_in(8);
        self.known.clear();
        self.own.clear();
        self.start = self.info.bytes.len();
        let abbreviations = self.abbreviations.bytes.len() as u64;
        let offset = self.offset_size();
        if self.wide {
            self.info.fixed(0xffff_ffff, 4);
        }
        let length = self.info.bytes.len();
        self.info.fixed(0, offset);
        self.info.fixed(self.version.into(), 2);
        if self.version >= 5 {
            self.info.bytes.extend([1, self.address as u8]);
            self.info.fixed(abbreviations, offset);
        } else {
            self.info.fixed(abbreviations, offset);
            self.info.bytes.push(self.address as u8);
        }
        let language = c.pick(&[12, 29, 12, 28, 0x8001]);
        let mut root = vec![
            Attribute::Number(at::NAME, form::STRP, name_at(2)),
            Attribute::Number(at::LANGUAGE, form::DATA2, language),
        ];
        if self.version >= 5 {
            let base = if self.wide { 16 } else { 8 };
            root.push(Attribute::Number(at::STR_OFFSETS_BASE, form::SEC_OFFSET, base));
            let base = c.pick(&[0, 12, 20]);
            root.push(Attribute::Number(at::LOCLISTS_BASE, form::SEC_OFFSET, base));
        }
        self.die(0x11, &root, true);
        while !c.is_empty() && self.left > 0 {
            let tag = if c.one_in(32) { c.below(0x4c) as u16 } else { c.pick(&DECLARED) };
            self.tree(c, tag, 0x11, 1);
        }
        self.info.bytes.push(0);
        self.abbreviations.bytes.push(0);
        let len = self.info.bytes.len() - length - offset;
        self.info.put(length, len as u64, offset);
        // Own DIEs are all known now; those of other units are so far.
        for (place, size, which, in_unit) in std::mem::take(&mut self.references) {
            let target = if in_unit {
                self.own[which % self.own.len()] - self.start
            } else {
                self.dies[which % self.dies.len()]
            };
            self.info.put(place, target as u64, size);
        }
    }
}

/// Seeds of scripts that are refused nowhere.
const SHARED: [u64; 3] = [52, 155, 162];
const SHARED_LEN: usize = 600;

/// Scripts that files of all inputs have in common, so that their types are in the base.
fn shared(index: usize) -> Vec<u8> {
    let mut rng = Rng::new(SHARED[index]);
    (0..SHARED_LEN).map(|_| rng.next() as u8).collect()
}

/// A file that makes a base.
pub fn base(big: bool) -> Vec<u8> {
    // x86-64 or s390x, nothing compressed, no damage; then three units, each a shared one.
    module(&[big.into(), 0, 0, 0, 0, 0, 3, 1, 0, 1, 1, 1, 2])
}

/// A file as `script` says.
pub fn module(script: &[u8]) -> Vec<u8> {
    let mut c = Choices::new(script);
    // Class, byte order and machine: x86-64, s390x, arm, i386, riscv64.
    let (is_64, big, machine) = c.pick(&[
        (true, false, 62),
        (true, true, 22),
        (false, false, 40),
        (false, false, 3),
        (true, false, 243),
    ]);
    let kind = c.pick(&[1, 1, 1, 2]);
    let compress = c.one_in(16);
    let note = c.one_in(16);
    let ids = c.one_in(2);
    let damage = if c.one_in(4) { c.below(5) } else { 0 };
    let units = c.below(5);

    let mut file = File {
        version: 5,
        wide: false,
        address: if is_64 { 8 } else { 4 },
        info: Writer { big, bytes: Vec::new() },
        abbreviations: Writer { big, bytes: Vec::new() },
        known: Vec::new(),
        strings: vec![0],
        dies: Vec::new(),
        own: Vec::new(),
        references: Vec::new(),
        locations: Vec::new(),
        start: 0,
        left: MAX_DIES,
    };
    for name in NAMES {
        file.strings.extend(name.as_bytes());
        file.strings.push(0);
    }
    let mut blows = Vec::new();
    for _ in 0..damage {
        blows.push((c.below(16), c.below(1 << 16), c.byte()));
    }
    let mut last = Vec::new();
    for _ in 0..units {
        let script = match c.below(4) {
            1 => shared(c.below(3)),
            // What the last one said, but for a byte.
            2 => {
                let mut again: Vec<u8> = std::mem::take(&mut last);
                let (at, by) = (c.below(1 << 16), c.byte());
                let len = again.len().max(1);
                if let Some(byte) = again.get_mut(at % len) {
                    *byte = byte.wrapping_add(by);
                }
                again
            }
            3 => c.rest().to_vec(),
            _ => c.bytes(400).to_vec(),
        };
        file.unit(&mut Choices::new(&script));
        last = script;
    }
    let mut elf = around(file, is_64, big, machine, kind, note, ids, compress);
    for (section, at, byte) in blows {
        let count = elf.sections.len();
        let data = &mut elf.sections[section % count].data;
        let len = data.len().max(1);
        if let Some(slot) = data.get_mut(at % len) {
            *slot ^= byte;
        }
    }
    elf.build()
}

/// The ELF file around the debug data.
#[allow(clippy::too_many_arguments)]
fn around(
    file: File,
    is_64: bool,
    big: bool,
    machine: u16,
    kind: u16,
    note: bool,
    ids: bool,
    compress: bool,
) -> Elf {
    let mut elf = Elf::empty(is_64, big);
    (elf.machine, elf.kind) = (machine, kind);
    let fixed = |value: u64, size: usize| {
        let mut w = Writer { big, bytes: Vec::new() };
        w.fixed(value, size);
        w.bytes
    };
    let text = elf.add(".text", &[0x90; TEXT_SIZE]);
    elf.sections[text].flags = 6;
    let data = elf.add(".data..percpu", &[0; DATA_SIZE]);
    elf.sections[data].flags = 3;
    if kind != 1 {
        (elf.sections[text].addr, elf.sections[data].addr) = (TEXT, DATA);
    }
    // A count, flags, f0 and its flags, f1 and its flags; then a struct.
    let words: Vec<u8> = [0, 1, 0, 0, 0, 1 << 13, 0].iter().flat_map(|&w| fixed(w, 4)).collect();
    let ids = ids.then(|| elf.add(".BTF_ids", &words));
    let mut symbols: Vec<(&str, u8, usize, u64, u64)> = vec![
        ("f0", 2, text, 16, 8),
        ("f1", 2, text, 32, 8),
        ("f1.cold", 2, text, 128, 8),
        ("f2.isra.0", 2, text, 48, 8),
        ("f3", 2, text, 64, 8),
        ("f3", 2, text, 72, 8),
        ("v0", 1, data, 0, 8),
        ("v1", 1, data, 8, 8),
    ];
    if let Some(ids) = ids {
        symbols.extend([
            ("__BTF_ID__set8__kfuncs", 1, ids, 0, 24),
            ("__BTF_ID__func__f0__1", 1, ids, 8, 4),
            ("__BTF_ID__func__f1__2", 1, ids, 16, 4),
            ("__BTF_ID__struct__list_head__3", 1, ids, 24, 4),
        ]);
    }
    let mut names = vec![0];
    let mut table = vec![0; if is_64 { 24 } else { 16 }];
    for (name, kind, section, value, size) in symbols {
        let (at, word) = (names.len() as u64, if is_64 { 8 } else { 4 });
        names.extend(name.as_bytes());
        names.push(0);
        table.extend(fixed(at, 4));
        if is_64 {
            table.extend([kind, 0]);
            table.extend(fixed(section as u64, 2));
        }
        table.extend(fixed(value, word));
        table.extend(fixed(size, word));
        if !is_64 {
            table.extend([kind, 0]);
            table.extend(fixed(section as u64, 2));
        }
    }
    let symtab = elf.add(".symtab", &table);
    elf.sections[symtab].kind = 2;
    elf.sections[symtab].link = symtab as u32 + 1;
    let strtab = elf.add(".strtab", &names);
    elf.sections[strtab].kind = 3;
    if note {
        let note =
            [fixed(6, 4), fixed(4, 4), fixed(0x101, 4), b"Linux\0\0\0".to_vec(), fixed(1, 4)];
        let index = elf.add(".note.Linux", &note.concat());
        elf.sections[index].kind = 7;
    }
    let File { info, abbreviations, strings, mut locations, .. } = file;
    let mut offsets = fixed(4 + 4 * NAMES.len() as u64, 4);
    offsets.extend(fixed(5, 2));
    offsets.extend([0, 0]);
    offsets.extend((0..NAMES.len()).flat_map(|n| fixed(name_at(n), 4)));
    locations.extend([0; 32]);
    let info = if compress { deflated(&info.bytes, is_64, &fixed) } else { info.bytes };
    let at = elf.add(".debug_info", &info);
    elf.sections[at].flags = if compress { 0x800 } else { 0 };
    elf.add(".debug_abbrev", &abbreviations.bytes);
    elf.add(".debug_str", &strings);
    elf.add(".debug_line_str", &strings);
    elf.add(".debug_str_offsets", &offsets);
    elf.add(".debug_loc", &locations);
    elf.add(".debug_loclists", &locations);
    elf
}

/// A section's bytes with a compression header.
pub fn deflated(bytes: &[u8], is_64: bool, fixed: &impl Fn(u64, usize) -> Vec<u8>) -> Vec<u8> {
    use std::io::Write;
    let mut out = fixed(1, 4);
    if is_64 {
        out.extend(fixed(0, 4));
    }
    let word = if is_64 { 8 } else { 4 };
    out.extend(fixed(bytes.len() as u64, word));
    out.extend(fixed(1, word));
    let mut encoder = flate2::write::ZlibEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
