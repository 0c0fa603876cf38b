//! String sections: looking names up and interning new ones.
//!
//! A layer's strings continue where the layer below ends, so an offset names a string across all
//! layers. Two names of one layer stack are equal iff their offsets are equal, provided both came
//! from [`Interner::intern`]; that is what makes the deduplication compare integers only.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Where each string of a section starts, by content; of equal strings the first copy.
///
/// Memory: 8 bytes a string plus the table's slack. Building hashes every string once.
#[derive(Clone, Debug, Default)]
pub struct StringIndex {
    table: HashTable<u32>,
}

/// The hash that all tables of strings use.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    // Order of insertion, never of the table, reaches the output: a fixed seed is for speed of
    // tests only, and an attacker-made chain costs time in his own encode.
    FixedState::default().hash_one(bytes)
}

/// The bytes of the string at `offset`, without its NUL; to the end where none follows.
#[inline]
pub fn at(section: &[u8], offset: u32) -> &[u8] {
    let rest = section.get(offset as usize..).unwrap_or_default();
    &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())]
}

/// The strings of a section one after the other, and where they stand.
pub fn each(section: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let offset = next;
        (offset < section.len()).then(|| {
            let text = at(section, offset as u32);
            next += text.len() + 1;
            (offset as u32, text)
        })
    })
}

/// Whether a string of `len` bytes or more may stand in the section; one of twice that is seen for
/// sure. Cost: a look at one place in `len` bytes.
///
/// Names are told by where they start, so that many of them can end in one long string: their bytes
/// are then as many as those of the section times its length. Where no string is long they are not.
pub fn has_long(section: &[u8], len: usize) -> bool {
    section.chunks_exact(len).any(|chunk| memchr::memchr(0, chunk).is_none())
}

impl StringIndex {
    /// Indexes a whole string section (that of the lowest layer, or several laid end to end).
    pub fn new(section: &[u8]) -> StringIndex {
        let mut index = StringIndex { table: HashTable::with_capacity(section.len() / 20) };
        each(section).for_each(|(offset, _)| index.insert(section, offset));
        index
    }

    /// Number of different strings.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is indexed.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Offset of `text` in the indexed section.
    #[inline]
    pub fn find(&self, section: &[u8], text: &[u8]) -> Option<u32> {
        self.find_hashed(section, text, hash(text))
    }

    #[inline]
    fn find_hashed(&self, section: &[u8], text: &[u8], hash: u64) -> Option<u32> {
        self.table.find(hash, |&o| is_at(section, o, text)).copied()
    }

    fn insert(&mut self, section: &[u8], offset: u32) {
        let text = at(section, offset);
        self.table
            .entry(hash(text), |&o| is_at(section, o, text), |&o| hash(at(section, o)))
            .or_insert(offset);
    }
}

/// Whether exactly `text` and a NUL stand at `offset`.
#[inline]
fn is_at(section: &[u8], offset: u32, text: &[u8]) -> bool {
    section.get(offset as usize..).is_some_and(|rest| {
        rest.len() > text.len() && rest[text.len()] == 0 && &rest[..text.len()] == text
    })
}

/// The growing string section of the layer that is being made.
#[derive(Clone, Debug)]
pub struct Interner<'base> {
    base: Option<(&'base StringIndex, &'base [u8])>,
    start: u32,
    bytes: Vec<u8>,
    own: StringIndex,
    is_full: bool,
    /// The offsets of all texts in the order in which they were interned, some more than once.
    met: Option<Vec<u32>>,
}

/// Bytes that one layer's strings may take; the kernel reads a quarter of that.
pub const MAX_BYTES: usize = 64 << 20;

impl<'base> Interner<'base> {
    /// A section on top of `base`: its index and its whole bytes. Without a base the section
    /// begins with the empty string at offset 0.
    pub fn new(base: Option<(&'base StringIndex, &'base [u8])>) -> Interner<'base> {
        let mut interner = Interner {
            base,
            start: base.map_or(0, |(_, bytes)| bytes.len() as u32),
            bytes: Vec::new(),
            own: StringIndex::default(),
            is_full: false,
            met: None,
        };
        if base.is_none() {
            interner.bytes.push(0);
        }
        interner
    }

    /// Offset of `text`, from the base where it has it, else appended on first use; 0 where there is
    /// no room left, which [`Interner::is_full`] tells.
    pub fn intern(&mut self, text: &[u8]) -> u32 {
        self.intern_hashed(text, hash(text))
    }

    /// From now on, remembers what is interned.
    pub fn remember(&mut self) {
        self.met = Some(Vec::new());
    }

    /// The offsets of what was interned since, in that order, some more than once.
    pub fn take_met(&mut self) -> Option<Vec<u32>> {
        self.met.take()
    }

    /// The same for a text whose [`hash`] is known.
    pub fn intern_hashed(&mut self, text: &[u8], hash: u64) -> u32 {
        let offset = self.offset(text, hash);
        if let Some(met) = &mut self.met {
            met.push(offset);
        }
        offset
    }

    fn offset(&mut self, text: &[u8], hash: u64) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some((index, bytes)) = self.base
            && let Some(offset) = index.find_hashed(bytes, text, hash)
        {
            return offset;
        }
        if let Some(offset) = self.own.find_hashed(&self.bytes, text, hash) {
            return self.start + offset;
        }
        if self.bytes.len() + text.len() >= MAX_BYTES {
            self.is_full = true;
            return 0;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.own.insert(&self.bytes, offset);
        self.start + offset
    }

    /// The text at `offset`, from this layer or the base.
    pub fn get(&self, offset: u32) -> &[u8] {
        match self.base {
            Some((_, bytes)) if offset < self.start => at(bytes, offset),
            _ => at(&self.bytes, offset - self.start),
        }
    }

    /// Whether some text found no room, so that the offsets given out are not to be used.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The section's own bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_copy_wins_and_tails_do_not_count() {
        let section = b"\0abc\0bc\0abc\0";
        let index = StringIndex::new(section);
        assert_eq!(index.find(section, b"abc"), Some(1));
        assert_eq!(index.find(section, b"bc"), Some(5));
        assert_eq!(index.find(section, b"c"), None);
        assert_eq!(index.find(section, b""), Some(0));
    }

    #[test]
    fn split_strings_continue_after_the_base() {
        let base = b"\0int\0";
        let index = StringIndex::new(base);
        let mut strings = Interner::new(Some((&index, base)));
        assert_eq!(strings.intern(b"int"), 1);
        assert_eq!(strings.intern(b"foo"), 5);
        assert_eq!(strings.intern(b"bar"), 9);
        assert_eq!(strings.intern(b"foo"), 5);
        assert_eq!((strings.get(1), strings.get(9)), (&b"int"[..], &b"bar"[..]));
        assert_eq!(strings.into_bytes(), b"foo\0bar\0");
    }
}
