//! Keyed hashes that tell contents apart.
//!
//! A content is a row of numbers. Its hash is the sum of these, each times the secret factor of its
//! place, modulo the prime 2^61 - 1; twice, with independent secrets. Two contents of n numbers agree
//! with a probability of at most ((n / 30 + 2) / 2^61)^2 over the choice of the secrets (30 or more: a
//! row that is longer than there are factors goes on as a polynomial of such sums); who writes the
//! contents does not know them, so he cannot do better than that.
//!
//! This holds while the numbers do not depend on the secrets. Hashes of parts are numbers of the
//! whole, so each level of nesting has secrets of its own: names, tags, what types say of themselves,
//! then types by how deep the references in them go.
//!
//! Secrets are drawn once a process and never shown. Only equality of hashes is ever looked at,
//! hence no result depends on them. Cost: 8 instructions a number, 20 a row; 19 KB of secrets, of
//! which a few are used again and again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// The prime 2^61 - 1.
const P: u64 = (1 << 61) - 1;

/// How many hashes one sum takes: so many products of a hash and a factor, and one more, are less
/// than 2^128.
const HASHES: usize = 30;

/// How many words and letters one sum takes, which are 2^58 at most.
const WORDS: usize = 120;

/// How deep references may go.
pub(super) const LEVELS: usize = 32;

/// The hash of a content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity(u64, u64);

impl Identity {
    /// Of nothing; no content has it.
    pub const NONE: Identity = Identity(0, 0);

    /// Of a text without a byte.
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

/// The secrets of one level: two factors for each place, and what rows go on by.
#[derive(Debug)]
pub(super) struct Level {
    factors: Box<[Identity]>,
    point: Identity,
}

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
            let mut pair = || Identity(draw(), draw());
            let mut level =
                |numbers| Level { factors: (0..numbers).map(|_| pair()).collect(), point: pair() };
            Key {
                names: level(HASHES),
                tags: level(HASHES),
                parts: level(WORDS),
                loose: level(HASHES),
                types: std::array::from_fn(|_| level(HASHES)),
            }
        })
    }

    /// Of a text without NUL bytes, or of what stands before the first NUL.
    pub fn text(&self, text: &[u8]) -> Identity {
        self.name(Name::Text(text))
    }

    /// Of a name.
    pub(super) fn name(&self, name: Name<'_>) -> Identity {
        let mut row = self.names.row(Identity::START);
        row.name(name);
        row.hash()
    }
}

/// A name, as rows take it in.
#[derive(Clone, Copy, Debug)]
pub enum Name<'t> {
    /// What stands before the first NUL.
    Text(&'t [u8]),
    /// One that equals no other, told by a number.
    Odd(u32),
}

/// In a number: no seven bytes are it.
const NO_TEXT: u64 = 1 << 57;

/// The first seven bytes; those from the first NUL on count as 0.
#[inline]
fn seven(text: &[u8]) -> u64 {
    const ONES: u64 = 0x0001_0101_0101_0101;
    let word = match text.first_chunk::<8>() {
        Some(&word) => u64::from_le_bytes(word) & SEVEN,
        None => {
            let text = &text[..text.len().min(7)];
            text.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
        }
    };
    // The lowest bit that is set is of the first byte that is 0.
    let nul = word.wrapping_sub(ONES) & !word & (ONES << 7);
    word & ((nul & nul.wrapping_neg()).wrapping_sub(1) >> 7)
}

/// The bits of seven bytes.
const SEVEN: u64 = (1 << 56) - 1;

impl Level {
    /// A row that begins with a number of its own for either sum.
    #[inline]
    pub fn row(&self, first: Identity) -> Row<'_> {
        Row { level: self, sums: Sums(first.0.into(), first.1.into()), count: 0 }
    }

    /// A whole row: the same, and then the hash of each of these.
    #[inline]
    pub fn hash<T>(&self, first: Identity, rest: &[T], of: impl Fn(&T) -> Identity) -> Identity {
        let mut sums = Sums(first.0.into(), first.1.into());
        for (number, part) in rest.chunks(HASHES).enumerate() {
            if number > 0 {
                sums = sums.go_on(self);
            }
            for (item, &factors) in part.iter().zip(self.factors.iter()) {
                sums = sums.add(of(item), factors);
            }
        }
        sums.hash()
    }
}

/// The two sums of a row.
#[derive(Clone, Copy)]
struct Sums(u128, u128);

impl Sums {
    #[inline(always)]
    fn add(self, number: Identity, factors: Identity) -> Sums {
        Sums(self.0 + product(number.0, factors.0), self.1 + product(number.1, factors.1))
    }

    /// The factors are used up: what there is so far counts as one number, and they begin anew.
    #[cold]
    #[inline(never)]
    fn go_on(self, level: &Level) -> Sums {
        Sums(0, 0).add(self.hash(), level.point)
    }

    #[inline]
    fn hash(self) -> Identity {
        Identity(reduce(self.0), reduce(self.1))
    }
}

/// A row of numbers that are being summed up, as many at a time as its level has factors for.
pub(super) struct Row<'k> {
    level: &'k Level,
    sums: Sums,
    /// Numbers since the factors began.
    count: usize,
}

impl Row<'_> {
    /// Takes a name in.
    ///
    /// Seven bytes are one number, so that it is smaller than the prime. Where there are seven, more
    /// follow, if only a 0: what comes next in the row cannot be taken for a part of the name.
    /// Tells whether the name is one without letters.
    #[inline(always)]
    pub fn name(&mut self, name: Name<'_>) -> bool {
        let mut rest = match name {
            Name::Text(text) => text,
            Name::Odd(number) => {
                self.number(NO_TEXT | u64::from(number));
                return false;
            }
        };
        let first = seven(rest);
        let mut word = first;
        loop {
            self.number(word);
            if word >> 48 == 0 {
                return first == 0;
            }
            rest = rest.get(7..).unwrap_or_default();
            word = seven(rest);
        }
    }

    /// Takes in that there is no name.
    #[inline(always)]
    pub fn no_name(&mut self) {
        self.number(NO_TEXT << 1);
    }

    /// Takes a number in.
    #[inline(always)]
    pub fn number(&mut self, number: u64) {
        self.link(Identity(number, number));
    }

    /// Takes the hash of something else in.
    #[inline(always)]
    pub fn link(&mut self, link: Identity) {
        let factors = match self.level.factors.get(self.count) {
            Some(&factors) => factors,
            None => {
                (self.sums, self.count) = (self.sums.go_on(self.level), 0);
                self.level.factors[0]
            }
        };
        self.sums = self.sums.add(link, factors);
        self.count += 1;
    }

    /// The hash of the row so far.
    #[inline]
    pub fn hash(self) -> Identity {
        self.sums.hash()
    }
}

#[inline]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// A small number of the same residue, the same for equal numbers: below 2^62 + 64.
#[inline]
fn reduce(x: u128) -> u64 {
    // 2^61 is 1, so digits of 61 bits are added up; there are three.
    let (low, high) = (x as u64, (x >> 64) as u64);
    (low & P) + ((high << 3 | low >> 61) & P) + (high >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_are_those_of_a_division() {
        let mut x: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        for _ in 0..1000 {
            x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(1);
            assert_eq!(u128::from(reduce(x) % P), x % u128::from(P));
        }
        for x in [0, u128::from(P) - 1, u128::from(P), u128::from(P) * 2, u128::MAX] {
            assert_eq!(u128::from(reduce(x) % P), x % u128::from(P));
            assert!(reduce(x) < (1 << 62) + 64);
        }
    }

    #[test]
    fn rows_of_any_length_differ_by_every_number() {
        let level = &Key::of_process().tags;
        let hash = |numbers: &[u64]| {
            let mut row = level.row(Identity::START);
            numbers.iter().for_each(|&number| row.number(number));
            row.hash()
        };
        // The largest numbers make the largest sums.
        let mut numbers = vec![(1 << 62) + 63; 3 * HASHES];
        for at in 0..numbers.len() {
            let before = hash(&numbers);
            assert_ne!(hash(&numbers[..at]), hash(&numbers[..=at]));
            numbers[at] -= 1;
            assert_ne!(hash(&numbers), before);
        }
        let folded = numbers.chunks(HASHES).fold([1u128, 1], |[a, b], chunk| {
            let sum = |hash: u128, half: fn(Identity) -> u64, is_first: bool| {
                let point = if is_first { 1 } else { u128::from(half(level.point)) };
                let terms = chunk.iter().zip(level.factors.iter());
                terms.fold(hash * point % u128::from(P), |sum, (&number, &factor)| {
                    (sum + product(number, half(factor))) % u128::from(P)
                })
            };
            let is_first = chunk.as_ptr() == numbers.as_ptr();
            [sum(a, |i| i.0, is_first), sum(b, |i| i.1, is_first)]
        });
        let Identity(a, b) = hash(&numbers);
        assert_eq!([a % P, b % P].map(u128::from), folded);
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
