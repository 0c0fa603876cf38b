//! Where words of a section were relocated, and what they tell.
//!
//! What a unit of DWARF says does not depend on where the linker put it and its strings, but its bytes
//! do, in these words. Known for the files that have plain words only: 64 bits, little endian, addends
//! in the table; of others it is known that they are not ([`Fixups::within`]). Cost: 8 bytes a word.

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
}

/// One of them: its place, what it tells, and of a [`Word::Text`] its value, packed.
#[derive(Clone, Copy, Debug)]
pub struct Fixup(u64);

impl Fixup {
    const PLACE: u32 = 34;
    const TELLS: u32 = 32;

    /// The place in the section.
    #[inline]
    pub fn place(self) -> usize {
        (self.0 >> Fixup::PLACE) as usize
    }

    /// What the word there tells.
    #[inline]
    pub fn word(self) -> Word {
        Word::ALL[(self.0 >> Fixup::TELLS) as usize % Word::ALL.len()]
    }

    /// Where the string of a [`Word::Text`] stands; 0 of others.
    #[inline]
    pub fn text(self) -> u32 {
        self.0 as u32
    }

    /// Place, counted from `start`, and what it tells, packed.
    #[inline]
    pub fn head(self, start: usize) -> u64 {
        (self.0 >> Fixup::TELLS).wrapping_sub((start as u64) << (Fixup::PLACE - Fixup::TELLS))
    }
}

/// The relocated words of a section, by place.
#[derive(Debug, Default)]
pub struct Fixups {
    all: Vec<Fixup>,
    /// There are others.
    odd: bool,
}

impl Fixups {
    /// Room for so many.
    pub(super) fn reserve(&mut self, more: usize) {
        self.all.reserve_exact(more);
    }

    /// Adds words by place, what they tell, and value; `None` for one that tells nothing known.
    #[inline]
    pub(super) fn extend(&mut self, words: impl Iterator<Item = (u64, Option<Word>, u64)>) {
        // Checked for all of them at once.
        let (mut places, mut odd) = (0, false);
        self.all.extend(words.map(|(place, tells, value)| {
            places |= place;
            odd |= tells.is_none();
            let tells = tells.unwrap_or(Word::Place);
            let text = if tells == Word::Text { value as u32 } else { 0 };
            let head = place << Fixup::PLACE | (tells as u64) << Fixup::TELLS;
            Fixup(head | u64::from(text))
        }));
        self.odd |= odd || places >> (u64::BITS - Fixup::PLACE) != 0;
    }

    /// All are in: those that are not in the order of their places are not known.
    pub(super) fn end(&mut self) {
        self.odd |= !self.all.is_sorted_by(|one, next| one.place() < next.place());
    }

    /// Those of a range; `None` where they are not all known.
    pub fn within(&self, range: std::ops::Range<usize>) -> Option<&[Fixup]> {
        let from = |place: usize| self.all.partition_point(|fixup| fixup.place() < place);
        (!self.odd).then(|| &self.all[from(range.start)..from(range.end)])
    }
}
