//! Keyed hashes of bytes in bulk.
//!
//! Blocks of 64 words are hashed by NH (Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC", 1999):
//! the sum of products of neighbouring words, each plus a secret of its place, modulo 2^128. Two
//! such sums, the second one by the secrets of the next places, agree for two different blocks with a
//! probability of 2^-128 at most. They become numbers of a row ([`super::hash`]), after the length.
//!
//! Cost: 1 instruction a byte.

use super::hash::{Identity, Level, Row, draw};
use std::sync::OnceLock;

/// Pairs of words in a block.
pub const PAIRS: usize = 32;

/// What is hashed at once. The last block of a piece is filled up with zeros.
pub type Block = [[u64; 2]; PAIRS];

/// Bits of a digit: numbers of a row are smaller than 2^58.
const DIGIT: u32 = 43;

/// The secrets: two words for each pair of a block, and one more pair.
#[derive(Debug)]
struct Secrets {
    words: [[u64; 2]; PAIRS + 1],
    level: Level,
}

impl Secrets {
    /// Those of this process.
    fn of_process() -> &'static Secrets {
        static SECRETS: OnceLock<Secrets> = OnceLock::new();
        SECRETS.get_or_init(|| {
            let mut draw = draw();
            let words = std::array::from_fn(|_| [draw(), draw()]);
            Secrets { words, level: Level::of_words(&mut draw) }
        })
    }

    /// The two sums of a block of what is pairs.
    #[inline]
    fn sums<T: Copy>(&self, block: &[T; PAIRS], pair: impl Fn(T) -> [u64; 2]) -> [u128; 2] {
        let (mut sum, mut other) = (0u128, 0u128);
        let product = |[low, high]: [u64; 2], secrets: [u64; 2]| {
            let (low, high) = (low.wrapping_add(secrets[0]), high.wrapping_add(secrets[1]));
            u128::from(low) * u128::from(high)
        };
        for (at, &item) in block.iter().enumerate() {
            let pair = pair(item);
            sum = sum.wrapping_add(product(pair, self.words[at]));
            other = other.wrapping_add(product(pair, self.words[at + 1]));
        }
        [sum, other]
    }
}

/// The hash of pieces of bytes, growing.
pub struct Bulk {
    secrets: &'static Secrets,
    row: Row<'static>,
}

impl Default for Bulk {
    fn default() -> Bulk {
        let secrets = Secrets::of_process();
        Bulk { secrets, row: secrets.level.row(Identity::START) }
    }
}

impl Bulk {
    /// Takes a piece in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.begin(bytes.len());
        let pair = |bytes: [u8; 16]| {
            let pair = u128::from_le_bytes(bytes);
            [pair as u64, (pair >> 64) as u64]
        };
        let (pairs, rest) = bytes.as_chunks::<16>();
        let (blocks, pairs) = pairs.as_chunks::<PAIRS>();
        for block in blocks {
            self.take(self.secrets.sums(block, pair));
        }
        if !bytes.len().is_multiple_of(16 * PAIRS) {
            let mut last = [[0; 16]; PAIRS];
            last[..pairs.len()].copy_from_slice(pairs);
            last[pairs.len()][..rest.len()].copy_from_slice(rest);
            self.take(self.secrets.sums(&last, pair));
        }
    }

    /// Begins a piece of so many parts, of which blocks follow. The length comes first, so that rows
    /// of pieces are told apart by where these end.
    pub fn begin(&mut self, len: usize) {
        // Never 0, which a row cannot tell from nothing at its end.
        self.row.number(len as u64 + 1);
    }

    /// Takes the next block of a piece in.
    pub fn block(&mut self, block: &Block) {
        self.take(self.secrets.sums(block, |pair| pair));
    }

    fn take(&mut self, sums: [u128; 2]) {
        const MASK: u128 = (1 << DIGIT) - 1;
        for sum in sums {
            for digit in 0..3 {
                self.row.number((sum >> (DIGIT * digit) & MASK) as u64);
            }
        }
    }

    /// The hash of all pieces.
    pub fn hash(self) -> Identity {
        self.row.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(pieces: &[&[u8]]) -> Identity {
        let mut bulk = Bulk::default();
        pieces.iter().for_each(|piece| bulk.bytes(piece));
        bulk.hash()
    }

    #[test]
    fn every_byte_and_every_end_counts() {
        let bytes: Vec<u8> = (0..3 * 512 + 17).map(|at| (at * 7 + at / 256) as u8).collect();
        let whole = hash(&[&bytes]);
        assert_eq!(hash(&[&bytes]), whole);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            assert_ne!(hash(&[&other]), whole, "byte {at}");
            assert_ne!(hash(&[&bytes[..at]]), whole, "length {at}");
            assert_ne!(hash(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        // What fills a block up is no part of it.
        assert_ne!(hash(&[&[1, 0]]), hash(&[&[1]]));
        assert_ne!(hash(&[&[]]), hash(&[]));
        assert_ne!(hash(&[b"ab", b""]), hash(&[b"", b"ab"]));
    }

    #[test]
    fn sums_are_those_of_their_definition() {
        let secrets = Secrets::of_process();
        let block: Block = std::array::from_fn(|at| [1 << at | 1 << (63 - at), at as u64]);
        let (words, keys) = (block.as_flattened(), secrets.words.as_flattened());
        for (shift, sum) in secrets.sums(&block, |pair| pair).into_iter().enumerate() {
            let plus = |at: usize| u128::from(words[at].wrapping_add(keys[at + 2 * shift]));
            let expected = (0..PAIRS)
                .fold(0u128, |sum, pair| sum.wrapping_add(plus(2 * pair) * plus(2 * pair + 1)));
            assert_eq!(sum, expected);
        }
    }
}
