//! From the offset of a DIE to the type it became.
//!
//! One bit per byte of DWARF and a rank per 64 of them: 3 bits of memory per byte of the group,
//! no hashing, and a lookup is two loads. Offsets are added in ascending order.

/// Maps offsets, added in ascending order, to type ids, set later in any order.
#[derive(Debug, Default)]
pub struct OffsetMap {
    bits: Vec<u64>,
    /// Number of bits set before each word of `bits`.
    ranks: Vec<u32>,
    ids: Vec<u32>,
}

impl OffsetMap {
    /// For offsets below `len`.
    pub fn new(len: usize) -> OffsetMap {
        OffsetMap { bits: vec![0; len / 64 + 1], ranks: Vec::new(), ids: Vec::new() }
    }

    /// Adds an offset above all others so far and returns its slot.
    #[inline]
    pub fn add(&mut self, offset: u32) -> u32 {
        self.bits[offset as usize / 64] |= 1 << (offset % 64);
        self.ids.push(0);
        self.ids.len() as u32 - 1
    }

    /// Sets what a slot leads to.
    #[inline]
    pub fn set(&mut self, slot: u32, id: u32) {
        self.ids[slot as usize] = id;
    }

    /// All offsets are added: from here on they can be looked up.
    pub fn seal(&mut self) {
        let mut rank = 0;
        self.ranks = self
            .bits
            .iter()
            .map(|word| {
                let before = rank;
                rank += word.count_ones();
                before
            })
            .collect();
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
        let word = *self.bits.get(offset as usize / 64)?;
        let bit = 1u64 << (offset % 64);
        if word & bit == 0 {
            return None;
        }
        Some(self.ranks[offset as usize / 64] + (word & (bit - 1)).count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        let mut map = OffsetMap::new(1000);
        let offsets = [11, 12, 63, 64, 65, 128, 640, 999];
        for (i, &offset) in offsets.iter().enumerate() {
            assert_eq!(map.add(offset), i as u32);
        }
        for i in (0..offsets.len()).rev() {
            map.set(i as u32, 100 + i as u32);
        }
        map.seal();
        for offset in 0..1200 {
            let want = offsets.iter().position(|&o| o == offset).map(|i| 100 + i as u32);
            assert_eq!(map.get(offset), want, "offset {offset}");
        }
    }
}
