//! Keyed hashes that tell contents apart.
//!
//! A content is a row of numbers. Its hash is the sum of these, each times the secret factor of its
//! place, modulo the prime 2^61 - 1; twice, with independent secrets. Two contents of n numbers agree
//! with a probability of at most ((n / 30 + 2) / 2^61)^2 over the choice of the secrets (30 or more: a
//! row that is longer than there are factors goes on as a polynomial of such sums, where it does so
//! depends on what came before); who writes the contents does not know them, so he cannot do better
//! than that.
//!
//! A number 0 adds nothing, so no row may be the beginning of another one. What tells how a row is
//! read, such as how many elements follow, need not come first for that: it may be added at the end,
//! in places of its own. Rows that differ there differ in one place, the others are read alike.
//!
//! This holds while the numbers do not depend on the secrets. Hashes of parts are numbers of the
//! whole, so each level of nesting has secrets of its own: what types say of themselves, then types
//! by how deep the references in them go.
//!
//! What types say of themselves begins with their names, whose hash is that of the row so far: they
//! are read once. What references to a struct, union or enum see is the hash of its name plus a secret
//! of its kind; two of different kinds agree with a probability of at most (1 / 2^60)^2.
//!
//! Secrets are drawn once a process and never shown. Only equality of hashes is ever looked at,
//! hence no result depends on them. Cost: 12 instructions a number, 15 more where it is letters, 30 a
//! row; 20 KB of secrets, of which a few are used again and again.

use super::sketch::TagKind;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// The prime 2^61 - 1.
const P: u64 = (1 << 61) - 1;

/// How many hashes one sum takes: so many products of a hash and a factor, and some more, are less
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

/// The secrets of one level: two factors for each place, what rows go on by, and the factors of the
/// two places that are filled last.
#[derive(Debug)]
pub(super) struct Level {
    factors: Box<[Identity]>,
    point: Identity,
    last: [Identity; 2],
}

/// Draws random words from the one source of randomness in the standard library: SipHash under a
/// random key.
pub(super) fn draw() -> impl FnMut() -> u64 {
    let random = RandomState::new();
    let mut count = 0u64;
    move || {
        count += 1;
        let mut hasher = random.build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    }
}

/// All secrets.
#[derive(Debug)]
pub struct Key {
    pub(super) parts: Level,
    /// What is added to the hash of a name, by what it names.
    tags: [Identity; 3],
    /// The parts of types that say no more than their kind, by its number.
    pub(super) bare: [Identity; 1 << 5],
    /// Where a collision costs time alone.
    pub(super) loose: Level,
    pub(super) types: [Level; LEVELS],
}

impl Key {
    /// Those of this process.
    pub fn of_process() -> &'static Key {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| {
            let mut draw = draw();
            let mut level = |numbers| Level::new(numbers, &mut draw);
            let parts = level(WORDS);
            let tags = std::array::from_fn(|_| level(1).point);
            let bare = std::array::from_fn(|kind| {
                let mut row = parts.row(Identity::START);
                row.named(None, None);
                row.hash_with((kind as u32) << 24, 0)
            });
            Key {
                parts,
                tags,
                bare,
                loose: level(HASHES),
                types: std::array::from_fn(|_| level(HASHES)),
            }
        })
    }

    /// The part of a type without size and name, if its info word tells no more than its kind.
    #[inline(always)]
    pub(super) fn bare(&self, info: u32) -> Option<Identity> {
        self.bare.get(info.rotate_left(8) as usize).copied()
    }

    /// Of a text without NUL bytes, or of what stands before the first NUL.
    pub fn text(&self, text: &[u8]) -> Identity {
        self.name(Name::Text(text))
    }

    /// Of a name.
    pub(super) fn name(&self, name: Name<'_>) -> Identity {
        let mut row = self.parts.row(Identity::START);
        row.named(None, Some(name));
        row.hash()
    }

    /// Of what has a name and is a struct, union or enum.
    #[inline]
    pub(super) fn tag(&self, kind: TagKind, name: Identity) -> Identity {
        let Identity(a, b) = self.tags[kind as usize];
        let plus = |hash: u64, secret: u64| Sum { low: hash + secret, high: 0 }.reduce();
        Identity(plus(name.0, a), plus(name.1, b))
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
#[inline(always)]
fn seven(text: &[u8]) -> u64 {
    text.first_chunk().map_or_else(|| few(text), word_of)
}

/// The same of eight.
#[inline(always)]
fn word_of(bytes: &[u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*bytes);
    // The lowest bit that is set is the highest of the first byte that is 0.
    let nul = word.wrapping_sub(ONES) & !word & (ONES << 7);
    // The bits up to that one, of which the last eight go: at most seven bytes are left.
    word & ((nul ^ nul.wrapping_sub(1)) >> 8)
}

/// The same of less.
#[cold]
fn few(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    word_of(&bytes)
}

impl Level {
    /// For sums of so many numbers: [`HASHES`] or [`WORDS`], by what they are.
    fn new(numbers: usize, draw: &mut impl FnMut() -> u64) -> Level {
        let mut factor = || 2 + draw() % (P - 2);
        let mut pair = || Identity(factor(), factor());
        let factors = (0..numbers).map(|_| pair()).collect();
        Level { factors, point: pair(), last: [pair(), pair()] }
    }

    /// For rows of words alone.
    pub fn of_words(draw: &mut impl FnMut() -> u64) -> Level {
        Level::new(WORDS, draw)
    }

    /// A row that begins with a number of its own for either sum.
    #[inline]
    pub fn row(&self, first: Identity) -> Row<'_> {
        let sums = Sums::of(first);
        Row { level: self, sums, factors: &self.factors, least: u64::MAX }
    }

    /// A whole row: the same, and then the hash of each of these.
    #[inline]
    pub fn hash<T>(
        &self,
        first: Identity,
        mut rest: &[T],
        of: impl Fn(&T) -> Identity,
    ) -> Identity {
        let mut sums = Sums::of(first);
        loop {
            for (item, &factors) in rest.iter().zip(self.factors.iter()) {
                sums = sums.add(of(item), factors);
            }
            match rest.get(self.factors.len()..) {
                None | Some([]) => return sums.hash(),
                Some(more) => (sums, rest) = (sums.go_on(self), more),
            }
        }
    }
}

/// A number as both sums take it.
#[inline(always)]
fn number(word: u64) -> Identity {
    Identity(word, word)
}

/// The two sums of a row.
#[derive(Clone, Copy)]
struct Sums(Sum, Sum);

impl Sums {
    #[inline(always)]
    fn of(first: Identity) -> Sums {
        Sums(Sum { low: first.0, high: 0 }, Sum { low: first.1, high: 0 })
    }

    #[inline(always)]
    fn add(self, number: Identity, factors: Identity) -> Sums {
        Sums(self.0.add(number.0, factors.0), self.1.add(number.1, factors.1))
    }

    /// The factors are used up: what there is so far counts as one number, and they begin anew.
    #[inline(always)]
    fn go_on(self, level: &Level) -> Sums {
        Sums::of(go_on(self.0, self.1, level.point))
    }

    #[inline]
    fn hash(self) -> Identity {
        Identity(self.0.reduce(), self.1.reduce())
    }
}

/// The first number of sums that go on.
// All that goes in and out in registers: sums that have an address are kept in memory.
#[cold]
#[inline(never)]
fn go_on(first: Sum, second: Sum, point: Identity) -> Identity {
    Sums::of(Identity(0, 0)).add(Sums(first, second).hash(), point).hash()
}

/// A sum of products, below 2^128.
// In halves: as numbers of 128 bits the two of a row go through vector registers, at twice the cost.
#[derive(Clone, Copy)]
struct Sum {
    low: u64,
    high: u64,
}

impl Sum {
    #[inline(always)]
    fn add(self, number: u64, factor: u64) -> Sum {
        let product = u128::from(number) * u128::from(factor);
        let (low, carry) = self.low.overflowing_add(product as u64);
        Sum { low, high: self.high + (product >> 64) as u64 + u64::from(carry) }
    }

    /// A small number of the same residue, the same for equal sums: below 2^62 + 64.
    #[inline]
    fn reduce(self) -> u64 {
        // 2^61 is 1, so digits of 61 bits are added up; there are three.
        let Sum { low, high } = self;
        (low & P) + ((high << 3 | low >> 61) & P) + (high >> 58)
    }
}

/// A row of numbers that are being summed up, as many at a time as its level has factors for.
pub(super) struct Row<'k> {
    level: &'k Level,
    sums: Sums,
    /// Those of the places that follow.
    factors: &'k [Identity],
    /// The smallest word that a name began with.
    least: u64,
}

impl Row<'_> {
    /// Takes a name in, and in front of it a number, where there is one.
    ///
    /// Seven bytes are one number, so that it is smaller than the prime. Where there are seven, more
    /// follow, if only a 0: what comes next in the row cannot be taken for a part of the name.
    // One look for three factors: sums would change registers at each.
    #[inline(always)]
    pub fn named(&mut self, front: Option<u32>, name: Option<Name<'_>>) {
        let &[a, b, c] = loop {
            match self.factors.first_chunk() {
                Some(factors) => break factors,
                None => self.go_on(),
            }
        };
        let ([first, second], used) = match front {
            Some(_) => ([b, c], 1),
            None => ([a, b], 0),
        };
        if let Some(front) = front {
            self.sums = self.sums.add(number(front.into()), a);
        }
        let text = match name {
            Some(Name::Text(text)) => text,
            name => {
                let word = match name {
                    Some(Name::Odd(number)) => NO_TEXT | u64::from(number),
                    _ => NO_TEXT << 1,
                };
                self.sums = self.sums.add(number(word), first);
                self.factors = &self.factors[used + 1..];
                return;
            }
        };
        let mut rest = text;
        // Most names are shorter than fourteen letters, and one look shows that they can be read.
        if let Some(bytes) = text.first_chunk::<16>() {
            let [one, two] = [0, 7].map(|at| bytes[at..].first_chunk().map_or(0, word_of));
            self.sums = self.sums.add(number(one), first);
            if one >> 48 == 0 {
                self.least = self.least.min(one);
                self.factors = &self.factors[used + 1..];
                return;
            }
            self.sums = self.sums.add(number(two), second);
            self.factors = &self.factors[used + 2..];
            if two >> 48 == 0 {
                return;
            }
            rest = &text[14..];
        } else {
            self.least = self.least.min(seven(text));
            self.factors = &self.factors[used..];
        }
        loop {
            let word = seven(rest);
            self.number(word);
            if word >> 48 == 0 {
                return;
            }
            rest = rest.get(7..).unwrap_or_default();
        }
    }

    /// Takes a number in.
    #[inline(always)]
    pub fn number(&mut self, word: u64) {
        self.link(number(word));
    }

    /// Takes the hash of something else in.
    #[inline(always)]
    pub fn link(&mut self, link: Identity) {
        let (&factors, more) = loop {
            match self.factors.split_first() {
                Some(split) => break split,
                None => self.go_on(),
            }
        };
        self.sums = self.sums.add(link, factors);
        self.factors = more;
    }

    /// The factors are used up, and begin anew.
    #[inline(always)]
    fn go_on(&mut self) {
        self.sums = self.sums.go_on(self.level);
        self.factors = &self.level.factors;
    }

    /// Whether there is a name without letters in it.
    #[inline]
    pub fn has_empty_name(&self) -> bool {
        self.least == 0
    }

    /// The hash of the row with two numbers more, of places of their own wherever the row ends: they
    /// may tell how the others are to be read.
    #[inline]
    pub fn hash_with(self, info: u32, size: u32) -> Identity {
        let [first, second] = self.level.last;
        self.sums.add(number(info.into()), first).add(number(size.into()), second).hash()
    }

    /// The hash of the row so far.
    #[inline(always)]
    pub fn hash(&self) -> Identity {
        self.sums.hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_are_those_of_a_division() {
        let reduce = |x: u128| Sum { low: x as u64, high: (x >> 64) as u64 }.reduce();
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
        let level = &Key::of_process().loose;
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
                    (sum + u128::from(number) * u128::from(half(factor))) % u128::from(P)
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
    #[test]
    fn rows_of_names_differ_by_every_letter_and_number() {
        let hash = |members: &[(u32, Vec<u8>)], last: (u32, u32)| {
            let mut row = Key::of_process().parts.row(Identity::START);
            members.iter().for_each(|(at, name)| row.named(Some(*at), Some(Name::Text(name))));
            row.hash_with(last.0, last.1)
        };
        // Of all lengths, some of them at the end of what can be read, over several sums.
        let name = |i: usize| [vec![b'a'; i % 25], vec![0; [1, 20][i % 2]]].concat();
        let mut members: Vec<(u32, Vec<u8>)> = (0..150).map(|i| (u32::MAX, name(i))).collect();
        let all = hash(&members, (7, 1));
        assert_ne!(hash(&members, (8, 1)), all);
        assert_ne!(hash(&members, (7, 2)), all);
        for at in 0..members.len() {
            assert_ne!(hash(&members[..at], (7, 1)), hash(&members[..=at], (7, 1)));
            members[at].0 -= 1;
            assert_ne!(hash(&members, (7, 1)), all);
            members[at].0 += 1;
            for letter in 0..at % 25 {
                members[at].1[letter] ^= 1;
                assert_ne!(hash(&members, (7, 1)), all);
                members[at].1[letter] ^= 1;
            }
        }
        assert_eq!(hash(&members, (7, 1)), all);
    }

    #[test]
    fn a_row_knows_of_a_name_without_letters() {
        for (names, has) in [(&["a", "long enough for two"][..], false), (&["a", "", "b"], true)] {
            for behind in ["", "\0 and more than sixteen bytes"] {
                let mut row = Key::of_process().parts.row(Identity::START);
                for name in names {
                    row.named(None, Some(Name::Text([name, behind].concat().as_bytes())));
                }
                row.named(None, None);
                assert_eq!(row.has_empty_name(), has);
            }
        }
    }
}
