//! GCC's annotations (since GCC 16): tags in a chain of DIEs of their own.
//!
//! Clang puts a tag below the DIE that has it. GCC lets the DIE refer to its first tag, and each tag
//! to the next; DIEs with the same tags share the chain, which may stand anywhere in the unit.

use super::DwarfError;
use super::abbreviations::Spots;
use super::attributes::Attributes;
use super::cu::Text;
use super::unit::Group;
use super::walk::Stop;
use gimli::{DwAt, DwTag};

/// `DW_AT_GNU_annotation`.
pub(super) const GNU_ANNOTATION: DwAt = DwAt(0x2139);
/// `DW_TAG_GNU_annotation`.
const TAG: DwTag = DwTag(0x6001);
/// Sources have two or three.
const MAX_LENGTH: usize = 1 << 10;

/// One of them.
pub(super) struct Annotation {
    /// What it is: `btf_decl_tag` or `btf_type_tag`.
    pub name: Text,
    pub text: Text,
}

/// The annotations from the DIE at `first` on, an offset in the group. A reference to anything else
/// ends the chain; one that does not end is an error.
pub(super) fn chain(group: &Group<'_>, first: u32) -> std::result::Result<Vec<Annotation>, Stop> {
    let mut chain = Vec::new();
    let mut scratch = Spots::default();
    let mut next = first;
    while next != 0 {
        let offset = group.start + next as usize;
        let Some(unit) = group.unit_of(offset) else { break };
        let mut cursor = unit.entries_from(offset);
        let code = cursor.uleb()?;
        if code == 0 {
            break;
        }
        let plan = unit.abbreviations.get(code)?;
        if plan.tag != TAG {
            break;
        }
        if chain.len() == MAX_LENGTH {
            let what = format!("{MAX_LENGTH} annotations lead here, expected an end before");
            return Err(DwarfError::die(offset, what).into());
        }
        let a = Attributes::of(unit, plan, &mut cursor, &mut scratch, group.start)?;
        next = a.annotation();
        chain.push(Annotation { name: a.text()?, text: a.const_text()?.unwrap_or_default() });
    }
    Ok(chain)
}
