//! Sets of small numbers, such as ids of types: a bit each.

/// A set of numbers below a bound. What lies beyond is never in it, and inserting it does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// An empty set of numbers below `bound`, which is rounded up.
    pub fn below(bound: usize) -> Bits {
        Bits { words: vec![0; bound.div_ceil(64)] }
    }

    /// Whether no number can be in it.
    pub fn is_void(&self) -> bool {
        self.words.is_empty()
    }

    #[inline]
    pub fn insert(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub fn remove(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    #[inline]
    pub fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Takes in what is in the other.
    pub fn insert_all(&mut self, other: &Bits) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..).step_by(64).zip(&self.words).flat_map(|(start, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let number = (left != 0).then(|| start + left.trailing_zeros());
                left &= left.wrapping_sub(1);
                number
            })
        })
    }
}
