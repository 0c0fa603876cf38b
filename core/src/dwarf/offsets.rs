//! From the offset of a DIE to the type it became.
//!
//! A word for eight bytes of DWARF says which of them begin a type, and how many begin before: half
//! a byte of memory per byte of the group, no hashing, and a lookup is three loads. Offsets are
//! added in ascending order, so that a word knows its count when it gets its first one.

/// Maps offsets, added in ascending order, to type ids, set later in any order.
#[derive(Debug, Default)]
pub struct OffsetMap {
    /// The lowest eight bits: where types begin; the others: how many do before.
    blocks: Vec<u32>,
    ids: Vec<u32>,
}

/// A type in so many bytes of DWARF, as a rule.
pub(super) const TYPE: usize = 44;

/// How many offsets a map takes.
pub const MAX_OFFSETS: usize = 1 << 24;

/// The number of bits set in a byte.
static ONES: [u8; 256] = {
    let mut ones = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        ones[byte] = (byte as u32).count_ones() as u8;
        byte += 1;
    }
    ones
};

impl OffsetMap {
    /// For offsets below `len`.
    pub fn new(len: usize) -> OffsetMap {
        OffsetMap { blocks: vec![0; len / 8 + 1], ids: Vec::with_capacity(len / TYPE) }
    }

    /// For nobody who will look anything up.
    pub fn none() -> OffsetMap {
        OffsetMap::default()
    }

    /// Forgets the slots, of a map that nobody looks anything up in.
    pub fn clear(&mut self) {
        self.ids.clear();
    }

    /// Adds an offset above all others so far, and what it leads to; returns its slot.
    #[inline]
    pub fn add(&mut self, offset: u32, id: u32) -> u32 {
        let slot = self.ids.len() as u32;
        if let Some(block) = self.blocks.get_mut(offset as usize / 8) {
            if *block == 0 {
                *block = slot << 8;
            }
            *block |= 1 << (offset % 8);
        }
        self.ids.push(id);
        slot
    }

    /// Sets what a slot leads to.
    #[inline]
    pub fn set(&mut self, slot: u32, id: u32) {
        self.ids[slot as usize] = id;
    }

    /// Whether there are no more of them than it takes; else what it tells is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ids.len() < MAX_OFFSETS
    }

    /// What an offset leads to, if it was added.
    #[inline]
    pub fn get(&self, offset: u32) -> Option<u32> {
        self.slot(offset).map(|slot| self.ids[slot as usize])
    }

    /// What a slot leads to.
    pub fn id(&self, slot: u32) -> u32 {
        self.ids[slot as usize]
    }

    /// The slot of an offset, if it was added.
    #[inline]
    pub fn slot(&self, offset: u32) -> Option<u32> {
        let block = *self.blocks.get(offset as usize / 8)?;
        let bit = 1u32 << (offset % 8);
        if block & bit == 0 {
            return None;
        }
        Some((block >> 8) + u32::from(ONES[(block & (bit - 1)) as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        let mut map = OffsetMap::new(1000);
        let offsets = [0, 1, 11, 12, 63, 64, 65, 128, 640, 999];
        for (i, &offset) in offsets.iter().enumerate() {
            assert_eq!(map.add(offset, 7), i as u32);
        }
        for i in (0..offsets.len()).rev() {
            map.set(i as u32, 100 + i as u32);
        }
        assert!(map.is_whole());
        for offset in 0..1200 {
            let want = offsets.iter().position(|&o| o == offset).map(|i| 100 + i as u32);
            assert_eq!(map.get(offset), want, "offset {offset}");
        }
    }
}
