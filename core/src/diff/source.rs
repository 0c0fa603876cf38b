//! Where the source declares a thing: file, line and column, from DWARF.
//!
//! The cold path: only for what changed. Looks at the DIEs directly below each CU's root, members
//! of structs and enumerators below those, and stops as soon as everything is found. Cost: loading
//! and relocating the sections once more, and a step a DIE where the compiler left sibling pointers.

use super::index::Class;
use crate::btf::Endian;
use crate::elf::{self, Image};
use gimli::constants as dw;
use gimli::{
    AttributeValue, DebuggingInformationEntry, DwTag, Dwarf, EndianSlice, RunTimeEndian, SectionId,
    Unit,
};
use std::collections::HashMap;

type Slice<'d> = EndianSlice<'d, RunTimeEndian>;
type Die<'d> = DebuggingInformationEntry<Slice<'d>>;

/// A thing to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// What it is.
    pub class: Class,
    /// Its name.
    pub name: String,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// As the compiler was told, with the CU's directory in front where it is relative.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1; 0 where the compiler did not say.
    pub column: u64,
}

/// Where a thing is declared, and its members or enumerators by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The thing.
    pub at: Line,
    /// Its parts.
    pub parts: HashMap<String, Line>,
}

/// Finds the declarations of `wanted`; those without one are left out.
///
/// Errors are the file's. Debug data that cannot be read ends the search, since what was found is
/// right and the rest is only less to tell.
pub fn lines(image: &Image, wanted: &[Wanted]) -> elf::Result<HashMap<Wanted, Lines>> {
    let mut found = HashMap::new();
    let Some(symbols) = image.symbols()? else { return Ok(found) };
    let endian = match image.endian {
        Endian::Little => RunTimeEndian::Little,
        Endian::Big => RunTimeEndian::Big,
    };
    let load = |id: SectionId| -> elf::Result<Vec<u8>> {
        let name = id.name().trim_start_matches(".debug_");
        match (id, image.debug_section(name)) {
            (
                SectionId::DebugInfo
                | SectionId::DebugAbbrev
                | SectionId::DebugStr
                | SectionId::DebugLineStr
                | SectionId::DebugStrOffsets
                | SectionId::DebugLine,
                Some(section),
            ) => image.read_relocated(section, &symbols),
            _ => Ok(Vec::new()),
        }
    };
    let sections = gimli::DwarfSections::load(load)?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, endian));
    let _ = search(&dwarf, wanted, &mut found);
    Ok(found)
}

fn search(
    dwarf: &Dwarf<Slice<'_>>,
    wanted: &[Wanted],
    found: &mut HashMap<Wanted, Lines>,
) -> gimli::Result<()> {
    let mut missing: HashMap<(Class, &[u8]), &Wanted> =
        wanted.iter().map(|w| ((w.class, w.name.as_bytes()), w)).collect();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        if missing.is_empty() {
            break;
        }
        let unit = dwarf.unit(header)?;
        let mut tree = unit.entries_tree(None)?;
        let mut children = tree.root()?.children();
        while let Some(node) = children.next()? {
            let die = node.entry();
            let Some(class) = class_of(die.tag()) else { continue };
            if die.attr_value(dw::DW_AT_declaration).is_some() {
                continue;
            }
            let Some(name) = name_of(dwarf, &unit, die) else { continue };
            let Some(&thing) = missing.get(&(class, name)) else { continue };
            let Some(at) = line_of(dwarf, &unit, die) else { continue };
            missing.remove(&(class, name));
            let mut parts = HashMap::new();
            if class.has_body() {
                let mut inner = node.children();
                while let Some(part) = inner.next()? {
                    let die = part.entry();
                    if let Some(name) = name_of(dwarf, &unit, die)
                        && let Some(line) = line_of(dwarf, &unit, die)
                    {
                        parts.insert(String::from_utf8_lossy(name).into_owned(), line);
                    }
                }
            }
            found.insert(thing.clone(), Lines { at, parts });
            if missing.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

fn class_of(tag: DwTag) -> Option<Class> {
    Some(match tag {
        dw::DW_TAG_structure_type => Class::Struct,
        dw::DW_TAG_union_type => Class::Union,
        dw::DW_TAG_enumeration_type => Class::Enum,
        dw::DW_TAG_typedef => Class::Typedef,
        dw::DW_TAG_subprogram => Class::Func,
        dw::DW_TAG_variable => Class::Var,
        _ => return None,
    })
}

fn name_of<'d>(
    dwarf: &Dwarf<Slice<'d>>,
    unit: &Unit<Slice<'d>>,
    die: &Die<'d>,
) -> Option<&'d [u8]> {
    let value = die.attr_value(dw::DW_AT_name)?;
    dwarf.attr_string(unit, value).ok().map(|slice| slice.slice())
}

fn line_of<'d>(dwarf: &Dwarf<Slice<'d>>, unit: &Unit<Slice<'d>>, die: &Die<'d>) -> Option<Line> {
    let number =
        |at| die.attr_value(at).and_then(|value: AttributeValue<Slice<'d>>| value.udata_value());
    let index = match die.attr_value(dw::DW_AT_decl_file)? {
        AttributeValue::FileIndex(index) => index,
        value => value.udata_value()?,
    };
    let (line, column) = (number(dw::DW_AT_decl_line)?, number(dw::DW_AT_decl_column));
    let header = unit.line_program.as_ref()?.header();
    let entry = header.file(index)?;
    let text =
        |value| dwarf.attr_string(unit, value).ok().map(|s| s.to_string_lossy().into_owned());
    let mut file = text(entry.path_name())?;
    for directory in [
        entry.directory(header).and_then(text),
        unit.comp_dir.map(|d| d.to_string_lossy().into_owned()),
    ] {
        if let Some(directory) = directory.filter(|d| !d.is_empty())
            && !file.starts_with('/')
        {
            file = format!("{}/{file}", directory.trim_end_matches('/'));
        }
    }
    Some(Line { file: tidy(&file), line, column: column.unwrap_or(0) })
}

/// The path without `.` and, where they can be told, `..`.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, "" | "..")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
