//! Which variables are encoded, and in which DATASEC.

use super::Features;
use crate::btf::kind::Kind;
use crate::btf::types::{Types, info};
use crate::dwarf::Variable;
use crate::elf::{Image, Section, Symbols};
use foldhash::fast::FixedState;
use object::elf;
use std::collections::{BTreeMap, HashSet};

/// Prefixes of names that tools make and nobody looks for.
const SKIPPED: [&[u8]; 5] = [
    b"__UNIQUE_ID",
    b"__tpstrtab_",
    b"__exitcall_",
    b"__gendwarfksyms_ptr_",
    b"__func_stack_frame_non_standard_",
];

/// Longest name that the kernel takes.
const MAX_NAME: usize = 128;

/// How variables of one file are chosen.
pub(super) struct Rules<'a> {
    sections: &'a [Section],
    wanted: Vec<bool>,
    /// Objects at offset 0 of a wanted section: linkers leave discarded variables there as well.
    first_objects: HashSet<(u32, &'a [u8]), FixedState>,
    force: bool,
}

/// A variable that has been emitted as VAR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub id: u32,
    pub offset: u32,
    pub size: u32,
}

/// The VARs of each section, by section index.
pub(super) type Sections = BTreeMap<usize, Vec<Placed>>;

impl<'a> Rules<'a> {
    pub fn new(image: &'a Image, symbols: &'a Symbols, features: &Features) -> Rules<'a> {
        let wanted: Vec<bool> = image
            .sections
            .iter()
            .map(|s| features.global_var || features.var && s.name == b".data..percpu")
            .collect();
        let first_objects = symbols
            .iter()
            .filter(|s| s.kind() == elf::STT_OBJECT)
            .filter(|s| wanted.get(s.section as usize) == Some(&true))
            .map(|s| (s.section, symbols.name(s)))
            .collect();
        Rules { sections: &image.sections, wanted, first_objects, force: features.encode_force }
    }

    /// Where a variable goes: section index, offset and size; `None` where it is left out.
    ///
    /// Errors where the name or type makes the whole file unfit and force is off.
    pub fn place(&self, v: &Variable, name: &[u8]) -> Result<Option<(usize, u32, u32)>, String> {
        let home = self.sections.iter().skip(1).find(|s| {
            matches!(s.kind, elf::SHT_PROGBITS | elf::SHT_NOBITS)
                && s.address <= v.address
                && v.address - s.address < s.size
        });
        let Some(home) = home.filter(|s| self.wanted[s.index]) else { return Ok(None) };
        let offset = v.address - home.address;
        if SKIPPED.iter().any(|prefix| name.starts_with(prefix))
            || offset == 0 && !self.first_objects.contains(&(home.index as u32, name))
        {
            return Ok(None);
        }
        let fault = if !is_valid_name(name) {
            "has a name that BTF does not take"
        } else if v.ty == 0 {
            "has no type"
        } else {
            let fits = |n: u64| u32::try_from(n).ok();
            return Ok(match (fits(offset), fits(v.size)) {
                (Some(offset), Some(size)) if size > 0 => Some((home.index, offset, size)),
                _ => None,
            });
        };
        if self.force {
            Ok(None)
        } else {
            Err(format!("variable {} {fault}", String::from_utf8_lossy(name)))
        }
    }

    /// Emits one DATASEC for each section that has VARs.
    pub fn emit(
        &self,
        sections: Sections,
        types: &mut Types,
        mut intern: impl FnMut(&[u8]) -> u32,
    ) {
        for (index, mut list) in sections {
            list.sort_by_key(|v| v.offset);
            let end = list.last().map_or(0, |v| v.offset.wrapping_add(v.size));
            let count = list.len() as u32;
            let name = intern(&self.sections[index].name);
            types.push(&[name, info(Kind::Datasec, count, false), end]);
            for v in list {
                types.word(v.id);
                types.word(v.offset);
                types.word(v.size);
            }
        }
    }
}

fn is_valid_name(name: &[u8]) -> bool {
    let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.');
    name.first().is_some_and(|c| !c.is_ascii_digit())
        && name.iter().all(plain)
        && name.len() <= MAX_NAME
}
