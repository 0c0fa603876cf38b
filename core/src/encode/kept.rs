//! What is kept of an encode, so that a change of the base need not read DWARF again.
//!
//! [`Kept`] is what the exact engine was given: the types that the base does not have, with
//! functions and variables, the names in the order in which they were met, and which types of the
//! base stand for all others. [`Kept::over`] puts that onto another base and lets the engine decide
//! anew, so that the result is the same bytes as that of an encode; where [`Rebase`] cannot tell
//! that nothing else would change, there is none. As bytes it is checked against damage, and
//! belongs to the base and options that it was made with, which its owner has to know.
//!
//! Cost: some kilobytes for a module; putting it onto a base takes a probe for each name and type.

use crate::btf::kind::Kind;
use crate::btf::strings::Interner;
use crate::btf::types::{MAX_VLEN, map_ids, map_names};
use crate::btf::{Btf, Types};
use crate::dedup::{self, Base, DedupError};
use crate::identity::Rebase;
use flate2::Crc;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// How the bytes begin; the digits are the version.
const MAGIC: &[u8; 8] = b"btfdkp01";

/// What the exact engine was given for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The first id of its own types.
    first_id: u32,
    /// How many of its own types are those of units; prototypes of functions come after.
    of_units: u32,
    /// The types of the base that stand for types of the file, ascending.
    used: Vec<u32>,
    /// Names in the order in which they were met, each ended by a NUL.
    names: Vec<u8>,
    /// Their types; names are numbers of these, from 1.
    types: Types,
}

impl Kept {
    /// Of types that stand over `base`, of which `used` stand for others. `met` are the string
    /// offsets of all names, in the order in which they were met; `of_units` types are those of units.
    pub(super) fn of(
        btf: &Btf,
        of_units: u32,
        base: &Base,
        used: Vec<u32>,
        met: &[u32],
    ) -> Option<Kept> {
        let mut numbers: HashMap<u32, u32, FixedState> = HashMap::default();
        let mut names = Vec::new();
        for &offset in met.iter().filter(|&&offset| offset != 0) {
            let next = numbers.len() as u32 + 1;
            if *numbers.entry(offset).or_insert(next) == next {
                names.extend_from_slice(btf.string(Some(base.btf()), offset));
                names.push(0);
            }
        }
        let mut types = btf.types.clone();
        let mut complete = true;
        for index in 0..types.len() {
            let words = types.get_mut(index);
            map_names(words, |offset| match offset {
                0 => 0,
                offset => numbers.get(&offset).copied().unwrap_or_else(|| {
                    complete = false;
                    0
                }),
            });
            map_ids(words, |id| {
                let is_used = id == 0 || id >= btf.first_id || used.binary_search(&id).is_ok();
                complete &= is_used;
                id
            });
        }
        complete.then_some(Kept { first_id: btf.first_id, of_units, used, names, types })
    }

    /// The result over another base, and what is to be kept of it; `None` where it takes the DWARF
    /// to tell.
    pub fn over(
        &self,
        base: &Base,
        rebase: &Rebase<'_>,
    ) -> Result<Option<(Btf, Kept)>, DedupError> {
        let below = base.btf();
        if self.used.iter().any(|&id| rebase.id(id).is_none()) {
            return Ok(None);
        }
        let mut strings: Interner<'_> = base.interner();
        let names = self.names.split(|&byte| byte == 0);
        let offsets: Vec<u32> = names.map(|name| strings.intern(name)).collect();
        if strings.is_full() {
            return Ok(None);
        }
        let mut btf = Btf::empty(below.endian, Some(below));
        btf.types = self.types.clone();
        btf.strings = strings.into_bytes();
        let first = btf.first_id;
        let mut sound = true;
        for index in 0..btf.types.len() {
            let words = btf.types.get_mut(index);
            map_names(words, |number| match number.checked_sub(1) {
                None => 0,
                Some(at) => offsets.get(at as usize).copied().unwrap_or_else(|| {
                    sound = false;
                    0
                }),
            });
            map_ids(words, |id| match id.checked_sub(self.first_id) {
                Some(own) if (own as usize) < self.types.len() => first + own,
                None => rebase.id(id).unwrap_or_default(),
                Some(_) => {
                    sound = false;
                    0
                }
            });
        }
        if !sound || !rebase.leaves(&btf, self.of_units as usize, below) {
            return Ok(None);
        }
        let mut kept = Kept { first_id: first, ..self.clone() };
        for index in 0..kept.types.len() {
            map_ids(kept.types.get_mut(index), |id| match id.checked_sub(self.first_id) {
                Some(own) => first + own,
                None => rebase.id(id).unwrap_or_default(),
            });
        }
        kept.used = self.used.iter().filter_map(|&id| rebase.id(id)).collect();
        kept.used.sort_unstable();
        dedup::dedup(Some(base), &mut btf)?;
        Ok(Some((btf, kept)))
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let words = self.types.words();
        for count in [
            self.first_id,
            self.of_units,
            self.used.len() as u32,
            self.names.len() as u32,
            words.len() as u32,
        ] {
            body.extend_from_slice(&count.to_le_bytes());
        }
        let mut last = 0;
        for &id in &self.used {
            // Ids are close to each other: most differences take a byte.
            let mut step = id - last;
            while step >= 0x80 {
                body.push(step as u8 | 0x80);
                step >>= 7;
            }
            body.push(step as u8);
            last = id;
        }
        body.extend_from_slice(&self.names);
        for word in words {
            body.extend_from_slice(&word.to_le_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&checksum(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// From bytes; `None` where they are damaged or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Kept> {
        let (sum, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != checksum(body) {
            return None;
        }
        let mut rest = body;
        let mut number = || -> Option<u32> {
            let (word, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            Some(u32::from_le_bytes(*word))
        };
        let (first_id, of_units, used_len) = (number()?, number()?, number()?);
        let (names_len, words_len) = (number()?, number()?);
        let mut used = Vec::new();
        let mut last = 0u32;
        for _ in 0..used_len {
            last = last.checked_add(step(&mut rest)?)?;
            used.push(last);
        }
        let (names, rest) = rest.split_at_checked(names_len as usize)?;
        let words: Vec<u32> =
            rest.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        if words.len() != words_len as usize || rest.len() != words.len() * 4 {
            return None;
        }
        Some(Kept { first_id, of_units, used, names: names.to_vec(), types: split(&words)? })
    }
}

fn checksum(body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(body);
    crc.sum()
}

/// A number of seven bits a byte, the lowest first.
fn step(rest: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The types that these words are, one after the other.
fn split(mut words: &[u32]) -> Option<Types> {
    let mut types = Types::new();
    while let &[_, info, _, ..] = words {
        let shape = Kind::from_u32(info >> 24 & 0x7f)?.shape();
        let len = 3 + shape.fixed + (info & MAX_VLEN) as usize * shape.elem;
        let (ty, rest) = words.split_at_checked(len)?;
        types.push(ty);
        words = rest;
    }
    words.is_empty().then_some(types)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::types::info;

    fn sample() -> Kept {
        let mut types = Types::new();
        types.push(&[1, info(Kind::Struct, 1, false), 8, 2, 7, 0]);
        types.push(&[0, info(Kind::Ptr, 0, false), 300]);
        let names = b"s\0member\0".to_vec();
        Kept { first_id: 300, of_units: 2, used: vec![1, 7, 200], names, types }
    }

    #[test]
    fn bytes_give_the_same_again_and_damage_nothing() {
        let kept = sample();
        let bytes = kept.to_bytes();
        assert_eq!(Kept::from_bytes(&bytes), Some(kept));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Kept::from_bytes(&damaged), None, "byte {at}");
            assert_eq!(Kept::from_bytes(&bytes[..at]), None, "cut at {at}");
        }
    }
}
