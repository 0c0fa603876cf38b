//! Keyed hashes that tell contents apart.
//!
//! A content is a row of numbers. Its hash is the value of a polynomial with these numbers as
//! coefficients at a secret point, modulo the prime 2^61 - 1, twice with independent secrets. Two
//! contents of n numbers agree with a probability of at most (n / 2^61)^2 over the choice of the
//! secrets; who writes the contents does not know them, so he cannot do better than that.
//!
//! This holds while the numbers do not depend on the secrets. Hashes of parts are numbers of the
//! whole, so each level of nesting has secrets of its own: names, tags, then types by how deep
//! the references in them go.
//!
//! Secrets are drawn once a process and never shown. Only equality of hashes is ever looked at,
//! hence no result depends on them. Cost: about 40 instructions a step, most of them
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
    link: u64,
}

/// The secrets of one level.
#[derive(Debug)]
pub(super) struct Level([Lane; 2]);

/// All secrets.
#[derive(Debug)]
pub struct Key {
    names: Level,
    pub(super) tags: Level,
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
            let mut lane = || Lane { point: draw(), low: draw(), high: draw(), link: draw() };
            let mut level = || Level([lane(), lane()]);
            Key { names: level(), tags: level(), types: std::array::from_fn(|_| level()) }
        })
    }

    /// Of a text without NUL bytes, or of what stands before the first NUL.
    #[inline]
    pub fn text(&self, text: &[u8]) -> Identity {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let mut hash = Identity::START;
        let mut rest = text;
        while !rest.is_empty() {
            let word = match rest.split_first_chunk::<8>() {
                Some((&chunk, after)) => {
                    rest = after;
                    u64::from_le_bytes(chunk)
                }
                None => {
                    let mut chunk = [0; 8];
                    chunk[..rest.len()].copy_from_slice(rest);
                    rest = &[];
                    u64::from_le_bytes(chunk)
                }
            };
            // The lowest bit of the first byte that is 0; bytes from there on count as 0.
            let nul = word.wrapping_sub(ONES) & !word & (ONES << 7);
            let below = (nul & nul.wrapping_neg()).wrapping_sub(1);
            let word = word & (below >> if nul == 0 { 0 } else { 7 });
            if word != 0 {
                hash = self.names.words(hash, word as u32, (word >> 32) as u32);
            }
            if nul != 0 {
                break;
            }
        }
        hash
    }

    /// Of a text that equals no other, told by a number.
    pub(super) fn odd_text(&self, number: u32) -> Identity {
        // Zero bytes in front: no text has them.
        self.names.words(self.names.words(Identity::START, 0, 0), 0, number)
    }
}

impl Level {
    /// Takes two words in.
    #[inline]
    pub fn words(&self, hash: Identity, low: u32, high: u32) -> Identity {
        let step = |lane: &Lane, hash: u64| {
            reduce(
                u128::from(hash) * u128::from(lane.point)
                    + u128::from(lane.low) * u128::from(low)
                    + u128::from(lane.high) * u128::from(high),
            )
        };
        Identity(step(&self.0[0], hash.0), step(&self.0[1], hash.1))
    }

    /// Takes a name, a word and a reference in, names and references given by their hashes.
    #[inline]
    pub fn element(&self, hash: Identity, name: Identity, word: u32, link: Identity) -> Identity {
        let step = |lane: &Lane, hash: u64, name: u64, link: u64| {
            reduce(
                u128::from(hash) * u128::from(lane.point)
                    + u128::from(lane.low) * u128::from(word)
                    + u128::from(lane.link) * u128::from(link)
                    + u128::from(name),
            )
        };
        Identity(step(&self.0[0], hash.0, name.0, link.0), step(&self.0[1], hash.1, name.1, link.1))
    }
}

/// The residue of a number below 2^126.
#[inline]
fn reduce(x: u128) -> u64 {
    let sum = (x as u64 & P) + ((x >> 61) as u64 & P) + (x >> 122) as u64;
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
            let below = x >> 2;
            assert_eq!(u128::from(reduce(below)), below % u128::from(P));
        }
        for x in [0, u128::from(P) - 1, u128::from(P), u128::from(P) * 2, (1 << 126) - 1] {
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
