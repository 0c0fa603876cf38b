//! The debug sections of a file and its units.

use super::abbreviations::{Field, Refers, Sizes, Step};
use super::bytes::Cursor;
use super::cu::{Text, Texts};
use super::tables::{Table, Tables};
use super::{DwarfError, Result};
use crate::btf::{Endian, strings};
use crate::elf::{self, Fixups, Image, Symbols};
use gimli::constants as dw;
use gimli::{
    DebugAddr, DebugAddrBase, DebugAddrIndex, DebugInfo, DebugLoc, DebugLocLists,
    DebugLocListsBase, DebugLocListsIndex, DebugStrOffsets, DebugStrOffsetsBase,
    DebugStrOffsetsIndex, DwForm, DwLang, Encoding, EndianSlice, LocationLists,
    LocationListsOffset, RawLocListIter, RunTimeEndian, UnitHeader, UnitType,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Where all strings are shorter than twice this, it does no harm that names may share their ends.
const LONG_NAME: usize = 4096;

/// gimli's reader over our buffers.
pub(super) type Slice<'d> = EndianSlice<'d, RunTimeEndian>;

/// The debug sections of one file, relocated and decompressed.
#[derive(Debug, Default)]
pub struct Debug {
    pub(super) big_endian: bool,
    pub(super) info: Vec<u8>,
    pub(super) abbrev: Vec<u8>,
    pub(super) str: Vec<u8>,
    pub(super) line_str: Vec<u8>,
    pub(super) str_offsets: Vec<u8>,
    pub(super) addr: Vec<u8>,
    pub(super) loc: Vec<u8>,
    pub(super) loclists: Vec<u8>,
    /// Some strings may be very long.
    long_names: bool,
    /// The words of `info` that were relocated, where that was asked for.
    pub(super) fixups: Option<Fixups>,
    /// Bytes of strings that may still be hashed: each unit has its own.
    pub(super) hashed: AtomicI64,
    /// Entries of location lists that may still be read: each list is wanted about once.
    list_entries: AtomicI64,
    /// The linker's note says whether CUs refer to each other.
    lto_note: bool,
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

/// One unit: its header, and what its root DIE says about the rest.
#[derive(Debug)]
pub(super) struct Unit<'d> {
    /// Offset in `.debug_info`.
    pub offset: usize,
    /// Bytes, header included.
    pub len: usize,
    /// Offset of the root DIE in `.debug_info`.
    pub root: usize,
    /// The same of what follows it.
    pub body: usize,
    pub encoding: Encoding,
    pub abbreviations: Arc<Table>,
    pub name: &'d [u8],
    pub language: Option<DwLang>,
    /// Most of it is in a `.dwo` file.
    is_split: bool,
    str_offsets_base: DebugStrOffsetsBase<usize>,
    addr_base: DebugAddrBase<usize>,
    loclists_base: DebugLocListsBase<usize>,
    sections: Sections<'d>,
}

/// The sections that DIEs refer to.
#[derive(Clone, Copy, Debug)]
struct Sections<'d> {
    info: &'d [u8],
    texts: Texts<'d>,
    str_offsets: DebugStrOffsets<Slice<'d>>,
    addr: DebugAddr<Slice<'d>>,
    locations: LocationLists<Slice<'d>>,
    list_entries: &'d AtomicI64,
    endian: RunTimeEndian,
}

/// The value of an attribute as it stands in the DIE: a number or bytes, as the form says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'d> {
    pub form: DwForm,
    pub number: u64,
    pub bytes: &'d [u8],
}

/// Where a variable or parameter lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Location<'d> {
    Expression(&'d [u8]),
    /// Offset of a location list.
    List(u64),
    /// Index of one in the unit's table.
    ListIndex(u64),
}

impl Location<'_> {
    /// Whether it stands in another section.
    pub fn is_list(&self) -> bool {
        !matches!(self, Location::Expression(_))
    }
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
        Debug::read(image, symbols, None)
    }

    /// The same, for units to be recognised by their fingerprints.
    pub fn load_to_compare(
        image: &Image,
        symbols: &Symbols,
    ) -> std::result::Result<Debug, LoadError> {
        Debug::read(image, symbols, Some(Fixups::default()))
    }

    fn read(
        image: &Image,
        symbols: &Symbols,
        mut fixups: Option<Fixups>,
    ) -> std::result::Result<Debug, LoadError> {
        let read = |name: &str, fixups: Option<&mut Fixups>| -> elf::Result<Vec<u8>> {
            match image.debug_section(name) {
                Some(section) => image.read_and_tell(section, symbols, fixups),
                None => Ok(Vec::new()),
            }
        };
        let load = |name: &str| read(name, None);
        let info = read("info", fixups.as_mut())?;
        if info.is_empty() {
            return Err(DwarfError::Missing.into());
        }
        let (str, line_str) = (load("str")?, load("line_str")?);
        let (loc, loclists) = (load("loc")?, load("loclists")?);
        Ok(Debug {
            big_endian: image.endian == Endian::Big,
            info,
            abbrev: load("abbrev")?,
            long_names: [&str, &line_str].iter().any(|s| strings::has_long(s, LONG_NAME)),
            hashed: AtomicI64::new(2 * str.len() as i64),
            fixups,
            str,
            line_str,
            str_offsets: load("str_offsets")?,
            addr: load("addr")?,
            list_entries: AtomicI64::new(1024 + 16 * (loc.len() + loclists.len()) as i64),
            loc,
            loclists,
            lto_note: lto_note(image)?,
        })
    }

    /// The units in DWARF order, grouped; units in one of the `excluded` languages are left out.
    pub fn groups(&self, excluded: &[DwLang]) -> Result<Vec<Group<'_>>> {
        let endian = self.endian();
        let slice = |bytes| EndianSlice::new(bytes, endian);
        let texts = Texts::new(&self.str, &self.line_str, &self.info, self.long_names);
        let texts = texts.ok_or_else(|| {
            DwarfError::die(0, "debug sections of 4 GiB or more, which are not read")
        })?;
        let sections = Sections {
            info: &self.info,
            texts,
            str_offsets: DebugStrOffsets::from(slice(&self.str_offsets)),
            addr: DebugAddr::from(slice(&self.addr)),
            locations: LocationLists::new(
                DebugLoc::from(slice(&self.loc)),
                DebugLocLists::from(slice(&self.loclists)),
            ),
            list_entries: &self.list_entries,
            endian,
        };
        let mut tables = Tables::new(&self.abbrev);
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
                UnitType::Type { .. } | UnitType::SplitType { .. } => {
                    return Err(DwarfError::TypeUnits);
                }
                UnitType::Partial => continue,
            }
            let unit = Unit::new(&header, offset, sections, &mut tables)
                .map_err(|source| DwarfError::Malformed { unit: offset, source })?;
            let Some(unit) = unit else { continue };
            match unit.abbreviations.refers {
                _ if unit.is_split => return Err(DwarfError::Split),
                Refers { outside: true, .. } => return Err(DwarfError::Supplementary),
                Refers { by_signature: true, .. } => return Err(DwarfError::TypeUnits),
                _ => {}
            }
            if !unit.language.is_some_and(|l| excluded.contains(&l)) {
                units.push(unit);
            }
        }
        if units.is_empty() {
            return Ok(Vec::new());
        }
        // A note may deny what the units do: rustc's refer to each other in any kernel.
        let refer = units.iter().any(|u: &Unit| u.abbreviations.refers.across);
        let together = units.len() > 1 && (refer || self.lto_note);
        Ok(if together {
            vec![Group::new(units)]
        } else {
            units.into_iter().map(|unit| Group::new(vec![unit])).collect()
        })
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
fn lto_note(image: &Image) -> elf::Result<bool> {
    // The sections of a note are small, and many may stand in one place.
    let notes = image.sections.iter().filter(|s| s.kind == object::elf::SHT_NOTE);
    for section in notes.filter(|s| s.size <= 1 << 16) {
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
                return Ok(image.number(&desc[..4]) != 0);
            }
            rest = tail;
        }
    }
    Ok(false)
}

impl<'d> Group<'d> {
    fn new(units: Vec<Unit<'d>>) -> Group<'d> {
        let start = units.first().map_or(0, |u| u.offset);
        let end = units.last().map_or(0, |u| u.offset + u.len);
        Group { units, start, len: end - start }
    }

    /// The unit that holds a DIE.
    pub(super) fn unit_of(&self, die: usize) -> Option<&Unit<'d>> {
        let next = self.units.partition_point(|u| u.offset <= die);
        self.units[..next].last().filter(|u| die < u.offset + u.len)
    }

    /// The same result; an error of a DIE says in which CU.
    pub(super) fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|mut e| {
            if let DwarfError::Die { die, cu, .. } = &mut e
                && let Some(unit) = self.unit_of(*die)
                && !unit.name.is_empty()
            {
                *cu = format!(" (CU {})", String::from_utf8_lossy(unit.name));
            }
            e
        })
    }

    /// How many there are.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Bytes of DWARF: how much work the group is.
    pub fn size(&self) -> usize {
        self.len
    }
}

impl<'d> Unit<'d> {
    /// Reads a unit's root DIE; `None` where it is not that of a CU.
    fn new(
        header: &UnitHeader<Slice<'d>>,
        offset: usize,
        sections: Sections<'d>,
        tables: &mut Tables<'d>,
    ) -> gimli::Result<Option<Unit<'d>>> {
        let encoding = header.encoding();
        let sizes = Sizes {
            version: encoding.version,
            format: encoding.format,
            address: encoding.address_size,
        };
        let file = gimli::DwarfFileType::Main;
        let mut unit = Unit {
            offset,
            len: header.length_including_self(),
            root: offset + header.size_of_header(),
            body: 0,
            encoding,
            abbreviations: tables.get(header.debug_abbrev_offset().0, sizes)?,
            name: b"",
            language: None,
            is_split: false,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, file),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file),
            sections,
        };
        let mut cursor = unit.entries();
        let code = cursor.uleb()?;
        if code == 0 {
            return Ok(None);
        }
        let root = unit.abbreviations.get(code)?;
        if root.tag != dw::DW_TAG_compile_unit {
            return Ok(None);
        }
        let mut values = Vec::new();
        for step in root.steps.iter() {
            match step.field {
                Field::Skip => unit.pass(step, &mut cursor)?,
                field => values.push((field, unit.read(step, &mut cursor)?)),
            }
        }
        unit.body = cursor.position();
        for (field, raw) in &values {
            let base = || usize::try_from(raw.number).unwrap_or(usize::MAX);
            match field {
                Field::Language => unit.language = Some(DwLang(raw.number as u16)),
                Field::DwoName => unit.is_split = true,
                Field::StrOffsetsBase => unit.str_offsets_base = DebugStrOffsetsBase(base()),
                Field::AddrBase => unit.addr_base = DebugAddrBase(base()),
                Field::LoclistsBase => unit.loclists_base = DebugLocListsBase(base()),
                _ => {}
            }
        }
        if let Some((_, raw)) = values.iter().find(|(field, _)| *field == Field::Name) {
            let name = unit.string(raw)?.unwrap_or_default();
            unit.name = unit.texts().get(name.0);
        }
        Ok(Some(unit))
    }

    /// The bytes of the unit from its root DIE on; positions are offsets in `.debug_info`.
    pub fn entries(&self) -> Cursor<'d> {
        self.entries_from(self.root)
    }

    /// The bytes of the unit from the DIE at an offset in it on.
    pub fn entries_from(&self, die: usize) -> Cursor<'d> {
        let end = (self.offset + self.len).min(self.sections.info.len());
        Cursor::at(&self.sections.info[..end], die)
    }

    /// Passes over a step, which may stand for several attributes: the form is that of the first.
    #[inline]
    pub fn pass(&self, step: &Step, cursor: &mut Cursor<'d>) -> gimli::Result<()> {
        match (step.size, step.form) {
            (Some(size), _) => cursor.skip(size as usize),
            (_, dw::DW_FORM_exprloc) => {
                let len = cursor.uleb()?;
                cursor.skip(usize::try_from(len).unwrap_or(usize::MAX))
            }
            (_, dw::DW_FORM_string) => cursor.text().map(drop),
            _ => self.read(step, cursor).map(drop),
        }
    }

    /// Reads the value of one attribute, which is one that matters or of no fixed size.
    #[inline]
    pub fn read(&self, step: &Step, cursor: &mut Cursor<'d>) -> gimli::Result<Raw<'d>> {
        let Some(size) = step.size else { return self.read_variable(step, cursor) };
        let number = match step.form {
            dw::DW_FORM_implicit_const => step.implicit as u64,
            dw::DW_FORM_flag_present => 1,
            _ => cursor.fixed(size as usize, self.big_endian())?,
        };
        Ok(Raw { form: step.form, number, bytes: &[] })
    }

    /// Reads a value whose length is told by the value itself.
    fn read_variable(&self, step: &Step, cursor: &mut Cursor<'d>) -> gimli::Result<Raw<'d>> {
        let big_endian = self.big_endian();
        let mut raw = Raw { form: step.form, number: 0, bytes: &[] };
        match step.form {
            dw::DW_FORM_string => {
                raw.number = cursor.position() as u64;
                raw.bytes = cursor.text()?;
            }
            dw::DW_FORM_udata
            | dw::DW_FORM_ref_udata
            | dw::DW_FORM_strx
            | dw::DW_FORM_addrx
            | dw::DW_FORM_loclistx
            | dw::DW_FORM_rnglistx
            | dw::DW_FORM_GNU_addr_index
            | dw::DW_FORM_GNU_str_index => raw.number = cursor.uleb()?,
            dw::DW_FORM_sdata => raw.number = cursor.sleb()? as u64,
            dw::DW_FORM_block1 | dw::DW_FORM_block2 | dw::DW_FORM_block4 => {
                let size = match step.form {
                    dw::DW_FORM_block1 => 1,
                    dw::DW_FORM_block2 => 2,
                    _ => 4,
                };
                let len = cursor.fixed(size, big_endian)?;
                raw.bytes = cursor.take(len as usize)?;
            }
            dw::DW_FORM_block | dw::DW_FORM_exprloc => {
                let len = usize::try_from(cursor.uleb()?).unwrap_or(usize::MAX);
                raw.bytes = cursor.take(len)?;
            }
            dw::DW_FORM_indirect => {
                let form = DwForm(cursor.uleb()? as u16);
                if matches!(form, dw::DW_FORM_indirect | dw::DW_FORM_implicit_const) {
                    return Err(gimli::Error::UnknownForm(form));
                }
                let Encoding { version, format, address_size: address } = self.encoding;
                let size = Sizes { version, format, address }.of(form);
                return self.read(&Step { form, size, ..*step }, cursor);
            }
            form => return Err(gimli::Error::UnknownForm(form)),
        }
        Ok(raw)
    }

    #[inline]
    pub fn big_endian(&self) -> bool {
        self.sections.endian == RunTimeEndian::Big
    }

    /// The strings of the file.
    pub fn texts(&self) -> Texts<'d> {
        self.sections.texts
    }

    /// The text of a string attribute; `None` where the form is none of a string.
    pub fn string(&self, raw: &Raw<'d>) -> gimli::Result<Option<Text>> {
        let s = &self.sections;
        let (text, offset) = match raw.form {
            dw::DW_FORM_strp => (s.texts.in_str(raw.number), raw.number),
            dw::DW_FORM_line_strp => (s.texts.in_line_str(raw.number), raw.number),
            dw::DW_FORM_string => (s.texts.in_info(raw.number), raw.number),
            dw::DW_FORM_strx
            | dw::DW_FORM_strx1
            | dw::DW_FORM_strx2
            | dw::DW_FORM_strx3
            | dw::DW_FORM_strx4
            | dw::DW_FORM_GNU_str_index => {
                let index = DebugStrOffsetsIndex(raw.number as usize);
                let base = self.str_offsets_base;
                let offset = s.str_offsets.get_str_offset(self.encoding.format, base, index)?;
                (s.texts.in_str(offset.0 as u64), offset.0 as u64)
            }
            _ => return Ok(None),
        };
        text.map(Some).ok_or(gimli::Error::OffsetOutOfBounds(offset))
    }

    /// The location that an attribute gives, if its form is one of a location.
    pub fn location(&self, raw: &Raw<'d>) -> Option<Location<'d>> {
        match raw.form {
            dw::DW_FORM_exprloc
            | dw::DW_FORM_block
            | dw::DW_FORM_block1
            | dw::DW_FORM_block2
            | dw::DW_FORM_block4 => Some(Location::Expression(raw.bytes)),
            // Before DWARF 4 an offset was just a number of its size.
            dw::DW_FORM_sec_offset | dw::DW_FORM_data4 | dw::DW_FORM_data8 => {
                Some(Location::List(raw.number))
            }
            dw::DW_FORM_loclistx => Some(Location::ListIndex(raw.number)),
            _ => None,
        }
    }

    /// The address at an index of this unit's address table.
    pub fn address(&self, index: DebugAddrIndex<usize>) -> gimli::Result<u64> {
        self.sections.addr.get_address(self.encoding.address_size, self.addr_base, index)
    }

    /// gimli's view on an expression.
    pub fn expression(&self, bytes: &'d [u8]) -> Slice<'d> {
        EndianSlice::new(bytes, self.sections.endian)
    }

    /// Notes that entries of location lists were read.
    pub fn count_entries(&self, count: i64) {
        self.sections.list_entries.fetch_sub(count, Relaxed);
    }

    /// Whether more entries were read than lists that are wanted once can have.
    pub fn reads_lists_again(&self) -> bool {
        self.sections.list_entries.load(Relaxed) < 0
    }

    /// The raw entries of a location list; `None` for a single expression.
    pub fn location_list(
        &self,
        location: Location<'d>,
    ) -> gimli::Result<Option<RawLocListIter<Slice<'d>>>> {
        let offset = match location {
            Location::Expression(_) => return Ok(None),
            Location::List(offset) => LocationListsOffset(offset as usize),
            Location::ListIndex(index) => self.sections.locations.get_offset(
                self.encoding,
                self.loclists_base,
                DebugLocListsIndex(index as usize),
            )?,
        };
        self.sections.locations.raw_locations(offset, self.encoding).map(Some)
    }
}
