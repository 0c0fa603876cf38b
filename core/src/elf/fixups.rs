//! Where words of a section were relocated, and what they tell.
//!
//! What a unit of DWARF says does not depend on where the linker put it and its strings, but its bytes
//! do, in these words. Known for the files that have plain words only: 64 bits, little endian, addends
//! in the table; of others it is known that they are not ([`Fixups::within`]). Cost: 4 bytes a word.

use super::Section;
use object::elf;

/// What a relocated word tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Where a string stands in `.debug_str`; 4 bytes.
    Text = 0,
    /// Where one stands in `.debug_line_str`; 4 bytes.
    LineText = 1,
    /// A place in another debug section; 4 bytes.
    Place = 2,
    /// An address of what is loaded; 8 bytes.
    Address = 3,
}

impl Word {
    const ALL: [Word; 4] = [Word::Text, Word::LineText, Word::Place, Word::Address];

    /// What a word of `size` bytes tells whose symbol stands in `home`.
    pub(super) fn of(home: Option<&Section>, size: usize) -> Option<Word> {
        let is_loaded = home.is_none_or(|home| home.flags.0 & elf::SHF_ALLOC.0 != 0);
        match (size, home) {
            (8, _) => Some(Word::Address),
            (4, Some(home)) if !is_loaded => Some(match &home.name[..] {
                b".debug_str" => Word::Text,
                b".debug_line_str" => Word::LineText,
                _ => Word::Place,
            }),
            _ => None,
        }
    }

    /// Its bytes.
    pub fn size(self) -> usize {
        if self == Word::Address { 8 } else { 4 }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Fixup(u32);

impl Fixup {
    /// Bits of a kind.
    const KIND: u32 = 2;

    /// The place in the section.
    #[inline]
    pub fn place(self) -> usize {
        (self.0 >> Fixup::KIND) as usize
    }

    /// What the word there tells.
    #[inline]
    pub fn word(self) -> Word {
        Word::ALL[self.0 as usize % Word::ALL.len()]
    }
}

/// The relocated words of a section, by place.
#[derive(Debug, Default)]
pub struct Fixups {
    all: Vec<Fixup>,
    /// Where the last one ends.
    end: usize,
    /// There are others.
    odd: bool,
}

impl Fixups {
    /// Room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.all.reserve(more);
    }

    /// Adds the word at a place behind all others; `None` for one that is no such.
    #[inline]
    pub(super) fn add(&mut self, at: usize, word: Option<Word>) {
        match word {
            Some(word) if at >= self.end && at >> (u32::BITS - Fixup::KIND) == 0 => {
                self.all.push(Fixup((at as u32) << Fixup::KIND | word as u32));
                self.end = at + word.size();
            }
            _ => self.odd = true,
        }
    }

    /// Those of a range; `None` where they are not all known.
    pub fn within(&self, range: std::ops::Range<usize>) -> Option<&[Fixup]> {
        let from = |place: usize| self.all.partition_point(|fixup| fixup.place() < place);
        (!self.odd).then(|| &self.all[from(range.start)..from(range.end)])
    }
}
