//! Fingerprints: all that the types of a unit follow from, in one number.
//!
//! A linker moves units and their strings about, and what it moves it does not change: of two units
//! with the same fingerprint, each DIE says the same at the same place of its unit, but for addresses
//! and for places in other sections than `.debug_str`. Hence all types are the same, and all functions
//! and variables but for what is read at such places ([`super::told`] reads it again).
//!
//! A fingerprint is the hash of the bytes of the unit and of its abbreviations, of which words were
//! relocated and to what, and of all strings from the first to the last one that the unit names; places
//! of strings count from the one that is named first, and other relocated words count as 0. Not every unit has one:
//! those that are read together have none, nor those that refer to tables of other sections by number
//! (clang since DWARF 5), nor any in files with relocations that are not plain words.
//!
//! Cost: a pass over these bytes, 2 instructions each; a thirtieth of reading the DIEs.

use super::unit::{Debug, Group, Unit};
use crate::btf::strings;
use crate::elf::{Fixup, Word};
use crate::identity::{Bulk, Identity, PAIRS};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// What tells a unit from others.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    /// The same for units that say the same.
    pub identity: Identity,
    /// Where its strings stand in `.debug_str`.
    pub(super) strings: Range<usize>,
}

impl Fingerprint {
    /// Of the only unit of a group, in a file loaded to compare; `None` where it has none.
    pub fn of(debug: &Debug, group: &Group<'_>) -> Option<Fingerprint> {
        let [unit] = &group.units[..] else { return None };
        if unit.abbreviations.refers.by_number {
            return None;
        }
        let range = unit.offset..unit.offset + unit.len;
        let fixups = debug.fixups.as_ref()?.within(range.clone())?;
        let mut bytes = debug.info.get(range)?.to_vec();
        // The first string is as good as any for the others to count from.
        let is_text = |fixup: &&Fixup| fixup.word() == Word::Text;
        let base = fixups.iter().find(is_text).map_or(0, |fixup| fixup.text());
        let (mut first, mut last) = (u32::MAX, 0);
        // Bytes that are still to be looked at, and where they begin.
        let (mut rest, mut here) = (&mut bytes[..], unit.offset);
        let mut bulk = Bulk::default();
        bulk.begin(fixups.len());
        for fixups in fixups.chunks(2 * PAIRS) {
            let mut block = [[0; 2]; PAIRS];
            for (fixup, told) in fixups.iter().zip(block.as_flattened_mut()) {
                // Words that overlap are no linker's.
                let gap = fixup.place().checked_sub(here)?;
                let (word, after) = rest.get_mut(gap..)?.split_first_chunk_mut::<4>()?;
                *word = [0; 4];
                (rest, here) = (after, fixup.place() + 4);
                let mut value = 0;
                if fixup.word() == Word::Text {
                    (first, last) = (first.min(fixup.text()), last.max(fixup.text()));
                    value = fixup.text().wrapping_sub(base);
                } else if fixup.word() == Word::Address {
                    let (word, after) = rest.split_first_chunk_mut::<4>()?;
                    *word = [0; 4];
                    (rest, here) = (after, here + 4);
                } else if fixup.word() == Word::LineText && fixup.place() >= unit.body {
                    return None; // it could be a name
                }
                *told = fixup.head(unit.offset) << 32 | u64::from(value);
            }
            bulk.block(&block);
        }
        let strings = strings(debug, first as usize, last as usize)?;
        for piece in [&bytes, unit.table(debug)?, &debug.str[strings.clone()]] {
            bulk.bytes(piece);
        }
        Some(Fingerprint { identity: bulk.hash(), strings })
    }
}

/// All strings from one to another, these included; `None` where units share too many of them.
fn strings(debug: &Debug, first: usize, last: usize) -> Option<Range<usize>> {
    if first > last {
        return Some(0..0);
    }
    let range = first..last + strings::at(debug.str.get(last..)?, 0).len();
    let left = debug.hashed.fetch_sub(range.len() as i64, Relaxed);
    (left >= range.len() as i64).then_some(range)
}

impl Unit<'_> {
    /// The bytes of its abbreviations.
    fn table<'d>(&self, debug: &'d Debug) -> Option<&'d [u8]> {
        debug.abbrev.get(self.abbreviations.place.clone())
    }
}
