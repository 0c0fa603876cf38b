//! Bytes to a [`Btf`], with everything checked that later steps rely on.
//!
//! After a successful parse every string offset lies in the layer stack and every type id names a
//! type of it, so no later step needs to check either. Cost: one pass over the words. A layout
//! section (header of 32 bytes, 2026) lets kinds that this crate does not know be skipped; the
//! passes that must understand every type refuse them.

use super::{Btf, BtfError, Endian, Kind, Type, Types, strings};

/// First two bytes of every BTF blob, in its byte order.
pub(super) const MAGIC: u16 = 0xeb9f;
/// The only version.
pub(super) const VERSION: u8 = 1;

/// Where all strings are shorter, sharing does no harm.
const LONG_NAME: usize = 512;
/// Bytes that all names of one layer, written one by one, may have in any case.
const MAX_NAMES: usize = 64 << 20;

fn header<T>(what: impl Into<String>) -> Result<T, BtfError> {
    Err(BtfError::Header(what.into()))
}

impl Btf {
    /// Reads one layer that stands on `base`, or alone.
    ///
    /// Errors name the offset or type id; nothing is guessed or repaired.
    pub fn parse(bytes: &[u8], base: Option<&Btf>) -> Result<Btf, BtfError> {
        let btf = Btf::parse_layer(bytes, base, base.is_some())?;
        btf.check_references(base)?;
        btf.check_names(base)?;
        Ok(btf)
    }

    /// Reads a split layer without what it stands on: positions count from 1, and type ids and
    /// string offsets are those of the file, unchecked.
    pub fn parse_alone(bytes: &[u8]) -> Result<Btf, BtfError> {
        Btf::parse_layer(bytes, None, true)
    }

    fn parse_layer(bytes: &[u8], base: Option<&Btf>, split: bool) -> Result<Btf, BtfError> {
        let endian = match bytes.get(..2) {
            Some([0x9f, 0xeb]) => Endian::Little,
            Some([0xeb, 0x9f]) => Endian::Big,
            Some(m) => return header(format!("starts with {m:02x?}, expected the magic eb9f")),
            None => return header(format!("{} bytes, expected at least 24", bytes.len())),
        };
        if bytes.len() < 24 {
            return header(format!("{} bytes, expected a header of 24", bytes.len()));
        }
        if let Some(base) = base
            && base.endian != endian
        {
            return header("its byte order is not that of the base");
        }
        let word = |at: usize| {
            let w = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            match endian {
                Endian::Little => u32::from_le_bytes(w),
                Endian::Big => u32::from_be_bytes(w),
            }
        };
        if bytes[2] != VERSION {
            return header(format!("version {}, expected {VERSION}", bytes[2]));
        }
        if bytes[3] != 0 {
            return header(format!("flags {:#x}, expected 0", bytes[3]));
        }
        let header_len = word(4) as usize;
        if header_len < 24 || header_len > bytes.len() || !header_len.is_multiple_of(4) {
            return header(format!("header length {header_len} in {} bytes", bytes.len()));
        }
        let section = |name, offset: u32, len: u32| {
            let start = header_len + offset as usize;
            bytes.get(start..start + len as usize).map(|s| (start, s)).ok_or(BtfError::Section {
                section: name,
                offset: start,
                what: format!("{len} bytes reach beyond the blob's {}", bytes.len()),
            })
        };
        let (type_at, type_bytes) = section("type", word(8), word(12))?;
        let (string_at, string_bytes) = section("string", word(16), word(20))?;
        if !word(8).is_multiple_of(4) || !type_bytes.len().is_multiple_of(4) {
            return Err(BtfError::Section {
                section: "type",
                offset: type_at,
                what: "not a whole number of words".into(),
            });
        }
        if string_bytes.last().map_or(!split, |&b| b != 0)
            || !split && string_bytes.first() != Some(&0)
        {
            return Err(BtfError::Section {
                section: "string",
                offset: string_at,
                what: "expected strings that end with NUL, the first one empty in a base".into(),
            });
        }
        let layout = if header_len >= 32 && word(28) != 0 {
            section("layout", word(24), word(28))?.1
        } else {
            &[]
        };
        let mut words = Vec::with_capacity(type_bytes.len() / 4);
        words.extend((0..type_bytes.len() / 4).map(|i| word(type_at + i * 4)));

        let mut btf = Btf {
            endian,
            first_id: base.map_or(1, Btf::next_id),
            first_string: base.map_or(0, Btf::next_string),
            types: Types::new(),
            strings: string_bytes.to_vec(),
        };
        btf.types = split_types(words, btf.first_id, layout)?;
        Ok(btf)
    }

    /// The text at a string offset of this layer or of `base`.
    pub fn string<'a>(&'a self, base: Option<&'a Btf>, offset: u32) -> &'a [u8] {
        match base {
            Some(base) if offset < self.first_string => strings::at(&base.strings, offset),
            _ => strings::at(&self.strings, offset.wrapping_sub(self.first_string)),
        }
    }

    /// Refuses names that overlap so much that to print or copy them would take memory without end.
    fn check_names(&self, base: Option<&Btf>) -> Result<(), BtfError> {
        let sections = base.into_iter().chain([self]).map(|layer| &layer.strings[..]);
        if !sections.into_iter().any(|section| strings::has_long(section, LONG_NAME)) {
            return Ok(());
        }
        let mut bytes = 0;
        for ty in self.types.iter() {
            ty.for_each_name(|name| bytes += self.string(base, name).len());
            if bytes > MAX_NAMES + 4 * self.byte_len() {
                return Err(BtfError::Section {
                    section: "string",
                    offset: 0,
                    what: "names that share their ends are larger than any BTF".into(),
                });
            }
        }
        Ok(())
    }

    fn check_references(&self, base: Option<&Btf>) -> Result<(), BtfError> {
        let (ids, end) = (self.next_id(), self.next_string());
        for (i, ty) in self.types.iter().enumerate() {
            let bad = |what| Err(BtfError::Type { id: self.first_id + i as u32, what });
            let mut wrong = None;
            ty.for_each_id(|id| wrong = wrong.or((id >= ids).then_some(id)));
            if let Some(id) = wrong {
                return bad(format!("refers to type id {id}, but the last one is {}", ids - 1));
            }
            ty.for_each_name(|name| wrong = wrong.or((name >= end).then_some(name)));
            // Offset 0 is "no name" even where a split layer of an empty base has no strings.
            if let Some(name) = wrong.filter(|&n| n != 0) {
                return bad(format!("string offset {name}, but strings end at {end}"));
            }
            if ty.kind() == Some(Kind::Func) {
                let target = ty.size_or_type();
                let kind = match (base, target.checked_sub(self.first_id)) {
                    (_, Some(index)) => self.types.get(index as usize).kind(),
                    (Some(base), None) if target > 0 => {
                        base.types.get((target - base.first_id) as usize).kind()
                    }
                    _ => Some(Kind::Void),
                };
                if kind != Some(Kind::FuncProto) {
                    return bad(format!("FUNC refers to [{target}], expected a FUNC_PROTO"));
                }
            }
        }
        Ok(())
    }
}

/// Finds where each type starts.
fn split_types(words: Vec<u32>, first_id: u32, layout: &[u8]) -> Result<Types, BtfError> {
    let mut types = Types::new();
    types.reserve(words.len() / 5, words.len());
    let mut at = 0;
    while at < words.len() {
        let id = first_id + types.len() as u32;
        let bad = |what: String| Err(BtfError::Type { id, what });
        let Some(head) = words.get(at..at + 3) else {
            return bad("the type section ends in its header".into());
        };
        let ty = Type(head);
        let vlen = ty.vlen() as usize;
        let len = match ty.kind() {
            Some(Kind::Void) => return bad("kind 0".into()),
            Some(kind) => {
                let shape = kind.shape();
                3 + shape.fixed + if shape.elem == 0 { 0 } else { shape.elem * vlen }
            }
            // Four bytes a kind: words that follow, bytes an element, flags.
            None => match layout.get(ty.kind_value() as usize * 4..).and_then(|l| l.get(..2)) {
                Some(&[fixed, elem]) => 3 + (fixed as usize + elem as usize * vlen).div_ceil(4),
                _ => return bad(format!("unknown kind {}", ty.kind_value())),
            },
        };
        let Some(whole) = words.get(at..at + len) else {
            return bad(format!("{len} words reach beyond the type section"));
        };
        types.push(whole);
        at += len;
    }
    Ok(types)
}
