//! Keyed hashes that tell contents apart.
//!
//! A content is a row of numbers. Its hash is the value of a polynomial with these numbers as
//! coefficients at a secret point, modulo the prime 2^61 - 1, twice with independent secrets. Two
//! contents of n numbers agree with a probability of at most (n / 2^61)^2 over the choice of the
//! secrets; who writes the contents does not know them, so he cannot do better than that.
//!
//! This holds while the numbers do not depend on the secrets. Hashes of parts are numbers of the
//! whole, so each level of nesting has secrets of its own: names, tags, what types say of themselves,
//! then types by how deep the references in them go.
//!
//! Secrets are drawn once a process and never shown. Only equality of hashes is ever looked at,
//! hence no result depends on them. Cost: about 20 instructions a step, most of them
//! multiplications that overlap.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// The prime 2^61 - 1.
const P: u64 = (1 << 61) - 1;

/// How deep references may go.
pub(super) const LEVELS: usize = 32;

/// The hash of a content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity(u64, u64);

impl Identity {
    /// Of nothing; no content has it.
    pub const NONE: Identity = Identity(0, 0);

    /// Where a row begins, so that rows of different lengths differ.
    pub(super) const START: Identity = Identity(1, 1);

    /// Whether it is of nothing.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 | self.1 == 0
    }

    /// For hash tables: all bits vary.
    #[inline]
    pub fn spread(self) -> u64 {
        self.0.rotate_left(3) ^ self.1
    }
}

/// The secrets of one polynomial: the point, and what makes one number of several.
#[derive(Debug)]
struct Lane {
    point: u64,
    low: u64,
    high: u64,
}

/// The secrets of one level.
#[derive(Debug)]
pub(super) struct Level([Lane; 2]);

/// All secrets.
#[derive(Debug)]
pub struct Key {
    names: Level,
    pub(super) tags: Level,
    pub(super) parts: Level,
    /// Where a collision costs time alone.
    pub(super) loose: Level,
    pub(super) types: [Level; LEVELS],
}

impl Key {
    /// Those of this process.
    pub fn of_process() -> &'static Key {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| {
            // The one source of randomness in the standard library: SipHash under a random key.
            let random = RandomState::new();
            let mut count = 0u64;
            let mut draw = || {
                count += 1;
                let mut hasher = random.build_hasher();
                hasher.write_u64(count);
                2 + hasher.finish() % (P - 2)
            };
            let mut lane = || Lane { point: draw(), low: draw(), high: draw() };
            let mut level = || Level([lane(), lane()]);
            let (names, tags, parts, loose) = (level(), level(), level(), level());
            Key { names, tags, parts, loose, types: std::array::from_fn(|_| level()) }
        })
    }

    /// Of a text without NUL bytes, or of what stands before the first NUL.
    ///
    /// Seven bytes are one number, so that it is smaller than the prime, and two of them one step;
    /// most names take one.
    #[inline]
    pub fn text(&self, text: &[u8]) -> Identity {
        let mut chunk = fourteen(text);
        if chunk.0 == 0 {
            return Identity::START;
        }
        let mut hash = self.names.first_words(chunk.0, chunk.1);
        let mut rest = text;
        while !chunk.2 {
            rest = rest.get(14..).unwrap_or_default();
            chunk = fourteen(rest);
            if chunk.0 != 0 {
                hash = self.names.long_words(hash, chunk.0, chunk.1);
            }
        }
        hash
    }

    /// Of a text that equals no other, told by a number.
    pub(super) fn odd_text(&self, number: u32) -> Identity {
        // No text begins with a 0.
        self.names.long_words(Identity::START, 0, u64::from(number))
    }
}

/// The first fourteen bytes, seven each; those from the first NUL on count as 0. Tells whether
/// there is one.
#[inline]
fn fourteen(text: &[u8]) -> (u64, u64, bool) {
    const ONES: u64 = 0x0001_0101_0101_0101;
    let word = |at: usize| -> u64 {
        match text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(&word) => u64::from_le_bytes(word) & SEVEN,
            None => {
                let rest = text.get(at..).unwrap_or_default();
                let rest = &rest[..rest.len().min(7)];
                rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
            }
        }
    };
    // The lowest bit that is set is of the first byte that is 0.
    let nul = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let before = |word: u64, nul: u64| word & ((nul & nul.wrapping_neg()).wrapping_sub(1) >> 7);
    let low = word(0);
    let end = nul(low);
    if end != 0 {
        return (before(low, end), 0, true);
    }
    let high = word(7);
    match nul(high) {
        0 => (low, high, false),
        end => (low, before(high, end), true),
    }
}

/// The bits of seven bytes.
const SEVEN: u64 = (1 << 56) - 1;

impl Level {
    /// Takes two numbers below the prime in.
    #[inline]
    fn long_words(&self, hash: Identity, low: u64, high: u64) -> Identity {
        let step = |lane: &Lane, hash| {
            let words = product(lane.low, low) + u128::from(high);
            reduce(product(hash, lane.point) + words)
        };
        Identity(step(&self.0[0], hash.0), step(&self.0[1], hash.1))
    }

    /// The same where a row begins.
    #[inline]
    fn first_words(&self, low: u64, high: u64) -> Identity {
        let step = |lane: &Lane| reduce(product(lane.low, low) + u128::from(lane.point + high));
        Identity(step(&self.0[0]), step(&self.0[1]))
    }

    /// Takes a word in.
    #[inline]
    pub fn word(&self, hash: Identity, word: u32) -> Identity {
        self.element(hash, Identity::NONE, word)
    }

    /// Takes a name, given by its hash, and two words in.
    #[inline]
    pub fn head(&self, hash: Identity, name: Identity, low: u32, high: u32) -> Identity {
        let step = |lane: &Lane, hash, name| {
            let words = product(lane.low, low.into()) + product(lane.high, high.into());
            reduce(product(hash, lane.point) + words + u128::from(name))
        };
        Identity(step(&self.0[0], hash.0, name.0), step(&self.0[1], hash.1, name.1))
    }

    /// Takes a name, given by its hash, and a word in.
    #[inline]
    pub fn element(&self, hash: Identity, name: Identity, word: u32) -> Identity {
        let step = |lane: &Lane, hash, name| {
            let word = product(lane.low, word.into()) + u128::from(name);
            reduce(product(hash, lane.point) + word)
        };
        Identity(step(&self.0[0], hash.0, name.0), step(&self.0[1], hash.1, name.1))
    }

    /// Where a row begins with the hash of something.
    #[inline]
    pub fn row(&self, first: Identity) -> Identity {
        let sum = |lane: &Lane, first: u64| {
            let sum = lane.point + first;
            if sum >= P { sum - P } else { sum }
        };
        Identity(sum(&self.0[0], first.0), sum(&self.0[1], first.1))
    }

    /// Takes the hash of something else in.
    #[inline]
    pub fn link(&self, hash: Identity, link: Identity) -> Identity {
        let step = |lane: &Lane, hash, link| reduce(product(hash, lane.point) + u128::from(link));
        Identity(step(&self.0[0], hash.0, link.0), step(&self.0[1], hash.1, link.1))
    }
}

#[inline]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// The residue of a number below 2^124.
#[inline]
fn reduce(x: u128) -> u64 {
    let sum = (x as u64 & P) + (x >> 61) as u64;
    let folded = (sum & P) + (sum >> 61);
    if folded >= P { folded - P } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_are_those_of_a_division() {
        let mut x: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        for _ in 0..1000 {
            x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(1);
            let below = x >> 4;
            assert_eq!(u128::from(reduce(below)), below % u128::from(P));
        }
        for x in [0, u128::from(P) - 1, u128::from(P), u128::from(P) * 2, (1 << 124) - 1] {
            assert_eq!(u128::from(reduce(x)), x % u128::from(P));
        }
    }

    #[test]
    fn texts_differ_by_length_and_by_every_byte() {
        let key = Key::of_process();
        let text = b"a name that is longer than two words";
        for len in 0..text.len() {
            assert_ne!(key.text(&text[..len]), key.text(&text[..=len]));
            let mut other = text.to_vec();
            other[len] ^= 1;
            assert_ne!(key.text(text), key.text(&other));
            // What stands after a NUL does not count.
            other[len] = 0;
            assert_eq!(key.text(&other), key.text(&text[..len]));
        }
    }
}
