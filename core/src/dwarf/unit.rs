//! The debug sections of a file and its units.

use super::{DwarfError, Result};
use crate::btf::Endian;
use crate::elf::{self, Image, Symbols};
use gimli::constants as dw;
use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAddr, DebugAddrBase, DebugInfo, DebugLineStr,
    DebugLoc, DebugLocLists, DebugLocListsBase, DebugStr, DebugStrOffsets, DebugStrOffsetsBase,
    DwLang, Encoding, EndianSlice, LocationLists, LocationListsOffset, RunTimeEndian, UnitHeader,
    UnitType,
};

/// gimli's reader over our buffers.
pub(super) type Slice<'d> = EndianSlice<'d, RunTimeEndian>;

/// The debug sections of one file, relocated and decompressed.
#[derive(Debug, Default)]
pub struct Debug {
    big_endian: bool,
    info: Vec<u8>,
    abbrev: Vec<u8>,
    str: Vec<u8>,
    line_str: Vec<u8>,
    str_offsets: Vec<u8>,
    addr: Vec<u8>,
    loc: Vec<u8>,
    loclists: Vec<u8>,
    /// The linker's note says whether CUs refer to each other.
    lto_note: Option<bool>,
}

/// Units that are read together.
#[derive(Debug)]
pub struct Group<'d> {
    pub(super) units: Vec<Unit<'d>>,
    /// Offset in `.debug_info` from which DIE offsets of the group count.
    pub(super) start: usize,
    /// Bytes from `start` to the end of the last unit.
    pub(super) len: usize,
}

/// One unit: its header and what its root DIE says about the rest.
#[derive(Debug)]
pub(super) struct Unit<'d> {
    pub header: UnitHeader<Slice<'d>>,
    pub abbreviations: Abbreviations,
    pub offset: usize,
    pub language: Option<DwLang>,
    str_offsets_base: DebugStrOffsetsBase<usize>,
    addr_base: DebugAddrBase<usize>,
    loclists_base: DebugLocListsBase<usize>,
    sections: Sections<'d>,
}

#[derive(Clone, Copy, Debug)]
struct Sections<'d> {
    str: DebugStr<Slice<'d>>,
    line_str: DebugLineStr<Slice<'d>>,
    str_offsets: DebugStrOffsets<Slice<'d>>,
    addr: DebugAddr<Slice<'d>>,
    locations: LocationLists<Slice<'d>>,
}

/// The language that pahole's users call by this name, as in `--lang_exclude=rust,asm`.
pub fn language(name: &str) -> Option<DwLang> {
    let name = name.to_ascii_lowercase();
    if name == "asm" {
        return Some(dw::DW_LANG_Mips_Assembler);
    }
    (0..0x40).chain(0x8000..0x8010).map(DwLang).find(|lang| {
        lang.static_string()
            .and_then(|s| s.strip_prefix("DW_LANG_"))
            .is_some_and(|s| s.to_ascii_lowercase() == name)
    })
}

impl Debug {
    /// Reads and relocates the debug sections. Cost: their bytes, once.
    pub fn load(image: &Image, symbols: &Symbols) -> std::result::Result<Debug, LoadError> {
        let load = |name: &str| -> elf::Result<Vec<u8>> {
            match image.section(name.as_bytes()) {
                Some(section) => image.read_relocated(section, symbols),
                None => Ok(Vec::new()),
            }
        };
        let info = load(".debug_info")?;
        if info.is_empty() {
            return Err(DwarfError::Missing.into());
        }
        Ok(Debug {
            big_endian: image.endian == Endian::Big,
            info,
            abbrev: load(".debug_abbrev")?,
            str: load(".debug_str")?,
            line_str: load(".debug_line_str")?,
            str_offsets: load(".debug_str_offsets")?,
            addr: load(".debug_addr")?,
            loc: load(".debug_loc")?,
            loclists: load(".debug_loclists")?,
            lto_note: lto_note(image)?,
        })
    }

    /// The units in DWARF order, grouped; units in one of the `excluded` languages are left out.
    pub fn groups(&self, excluded: &[DwLang]) -> Result<Vec<Group<'_>>> {
        let endian = if self.big_endian { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let slice = |bytes| EndianSlice::new(bytes, endian);
        let sections = Sections {
            str: DebugStr::from(slice(&self.str)),
            line_str: DebugLineStr::from(slice(&self.line_str)),
            str_offsets: DebugStrOffsets::from(slice(&self.str_offsets)),
            addr: DebugAddr::from(slice(&self.addr)),
            locations: LocationLists::new(
                DebugLoc::from(slice(&self.loc)),
                DebugLocLists::from(slice(&self.loclists)),
            ),
        };
        let abbrev = DebugAbbrev::from(slice(&self.abbrev));
        let mut units = Vec::new();
        let mut headers = DebugInfo::from(slice(&self.info)).units();
        let mut last = 0;
        loop {
            let malformed = |source| DwarfError::Malformed { unit: last, source };
            let Some(header) = headers.next().map_err(malformed)? else { break };
            let offset = header.debug_info_offset().map_or(last, |o| o.0);
            last = offset;
            match header.type_() {
                UnitType::Compilation => {}
                UnitType::Skeleton(_) | UnitType::SplitCompilation(_) => {
                    return Err(DwarfError::Split);
                }
                // Type units are reached by signature only, which BTF encoding does not follow.
                UnitType::Partial | UnitType::Type { .. } | UnitType::SplitType { .. } => continue,
            }
            let unit = Unit::new(header, offset, &abbrev, sections)
                .map_err(|source| DwarfError::Malformed { unit: offset, source })?;
            if let Some(unit) = unit
                && !unit.language.is_some_and(|l| excluded.contains(&l))
            {
                units.push(unit);
            }
        }
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let together = units.len() > 1 && self.lto_note.unwrap_or_else(|| self.refers_across());
        Ok(if together {
            vec![Group::new(units)]
        } else {
            units.into_iter().map(|unit| Group::new(vec![unit])).collect()
        })
    }

    /// Whether any abbreviation refers to DIEs of other units.
    fn refers_across(&self) -> bool {
        let mut bytes = &self.abbrev[..];
        let mut next = || {
            let mut value = 0u64;
            for shift in 0.. {
                let (&byte, rest) = bytes.split_first()?;
                bytes = rest;
                value |= u64::from(byte & 0x7f).checked_shl(shift * 7).unwrap_or(0);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            Some(value)
        };
        // code, tag, has_children, then (attribute, form) up to (0, 0); code 0 ends a table.
        while let Some(code) = next() {
            if code == 0 {
                continue;
            }
            let (Some(_), Some(_)) = (next(), next()) else { return false };
            loop {
                let (Some(name), Some(form)) = (next(), next()) else { return false };
                if form == u64::from(dw::DW_FORM_ref_addr.0) {
                    return true;
                }
                if form == u64::from(dw::DW_FORM_implicit_const.0) && next().is_none() {
                    return false;
                }
                if name == 0 && form == 0 {
                    break;
                }
            }
        }
        false
    }
}

/// Either layer may refuse while debug sections are loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Elf(#[from] elf::ElfError),
    #[error(transparent)]
    Dwarf(#[from] DwarfError),
}

/// The kernel's LTO_INFO note: owner "Linux", type 0x101, one word.
fn lto_note(image: &Image) -> elf::Result<Option<bool>> {
    for section in image.sections.iter().filter(|s| s.kind == object::elf::SHT_NOTE) {
        let bytes = image.read(section)?;
        let mut rest = &bytes[..];
        while let Some((head, tail)) = rest.split_at_checked(12) {
            let word = |at: usize| image.number(&head[at..at + 4]) as usize;
            let (name_len, desc_len, kind) = (word(0), word(4), word(8));
            let padded = |n: usize| n.checked_next_multiple_of(4).unwrap_or(usize::MAX);
            let Some((name, tail)) = tail.split_at_checked(padded(name_len)) else { break };
            let Some((desc, tail)) = tail.split_at_checked(padded(desc_len).min(tail.len())) else {
                break;
            };
            if name.starts_with(b"Linux\0") && kind == 0x101 && desc.len() >= 4 {
                return Ok(Some(image.number(&desc[..4]) != 0));
            }
            rest = tail;
        }
    }
    Ok(None)
}

impl<'d> Group<'d> {
    fn new(units: Vec<Unit<'d>>) -> Group<'d> {
        let start = units.first().map_or(0, |u| u.offset);
        let end = units.last().map_or(0, |u| u.offset + u.header.length_including_self());
        Group { units, start, len: end - start }
    }

    /// Bytes of DWARF: how much work the group is.
    pub fn size(&self) -> usize {
        self.len
    }
}

impl<'d> Unit<'d> {
    fn new(
        header: UnitHeader<Slice<'d>>,
        offset: usize,
        abbrev: &DebugAbbrev<Slice<'d>>,
        sections: Sections<'d>,
    ) -> gimli::Result<Option<Unit<'d>>> {
        let abbreviations = header.abbreviations(abbrev)?;
        let encoding = header.encoding();
        let file = gimli::DwarfFileType::Main;
        let mut unit = Unit {
            header,
            abbreviations,
            offset,
            language: None,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, file),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file),
            sections,
        };
        let mut entries = unit.header.entries_raw(&unit.abbreviations, None)?;
        let Some(root) = entries.read_abbreviation()? else { return Ok(None) };
        if root.tag() != dw::DW_TAG_compile_unit {
            return Ok(None);
        }
        for &spec in root.attributes() {
            let value = entries.read_attribute(spec)?.value();
            match (spec.name(), value) {
                (dw::DW_AT_language, AttributeValue::Language(l)) => unit.language = Some(l),
                (_, AttributeValue::DebugStrOffsetsBase(b)) => unit.str_offsets_base = b,
                (_, AttributeValue::DebugAddrBase(b)) => unit.addr_base = b,
                (_, AttributeValue::DebugLocListsBase(b)) => unit.loclists_base = b,
                _ => {}
            }
        }
        Ok(Some(unit))
    }

    pub fn encoding(&self) -> Encoding {
        self.header.encoding()
    }

    /// The bytes of a string attribute; `None` where the form is none of a string.
    pub fn string(&self, value: &AttributeValue<Slice<'d>>) -> gimli::Result<Option<&'d [u8]>> {
        let s = &self.sections;
        Ok(Some(match *value {
            AttributeValue::String(text) => text.slice(),
            AttributeValue::DebugStrRef(offset) => s.str.get_str(offset)?.slice(),
            AttributeValue::DebugLineStrRef(offset) => s.line_str.get_str(offset)?.slice(),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let format = self.encoding().format;
                let offset = s.str_offsets.get_str_offset(format, self.str_offsets_base, index)?;
                s.str.get_str(offset)?.slice()
            }
            _ => return Ok(None),
        }))
    }

    /// The address at an index of this unit's address table.
    pub fn address(&self, index: gimli::DebugAddrIndex<usize>) -> gimli::Result<u64> {
        self.sections.addr.get_address(self.encoding().address_size, self.addr_base, index)
    }

    /// The raw location list that an attribute names.
    pub fn location_list(
        &self,
        value: &AttributeValue<Slice<'d>>,
    ) -> gimli::Result<Option<gimli::RawLocListIter<Slice<'d>>>> {
        let offset: LocationListsOffset<usize> = match *value {
            AttributeValue::LocationListsRef(offset) => offset,
            AttributeValue::SecOffset(offset) => LocationListsOffset(offset),
            AttributeValue::DebugLocListsIndex(index) => {
                self.sections.locations.get_offset(self.encoding(), self.loclists_base, index)?
            }
            _ => return Ok(None),
        };
        self.sections.locations.raw_locations(offset, self.encoding()).map(Some)
    }
}
