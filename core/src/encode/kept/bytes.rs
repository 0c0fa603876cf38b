//! What is kept, as bytes: list after list, each behind its count, and a checksum in front.
//!
//! Cost: a pass over them each way, 1 ns a byte.

use super::{Answer, Kept, Names, Packed, State};
use crate::btf::Types;
use crate::btf::kind::Kind;
use crate::btf::types::MAX_VLEN;
use crate::dedup::Asked;
use flate2::Crc;

/// How the bytes begin; the digits are the version.
const MAGIC: &[u8; 8] = b"btfdkp03";

/// What the first number says.
const HAS_VERMAGIC: u32 = 1;
const HAS_IDS: u32 = 2;
const IS_OPEN: u32 = 4;
const HAS_ANSWER: u32 = 8;

impl Kept {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let (is_open, answer) = match &self.state {
            State::Settled { .. } => (false, None),
            State::Open { answer, .. } => (true, answer.as_ref()),
        };
        let mut body = Vec::new();
        put(
            &mut body,
            flag(self.vermagic.is_some(), HAS_VERMAGIC)
                | flag(self.has_ids, HAS_IDS)
                | flag(is_open, IS_OPEN)
                | flag(answer.is_some(), HAS_ANSWER),
        );
        put(&mut body, self.first_id);
        let notes = self.vermagic.iter().chain(&self.warnings);
        let notes: Vec<u8> = notes.flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect();
        put_bytes(&mut body, &notes);
        put_ascending(&mut body, &self.used);
        put(&mut body, self.names.places.len() as u32);
        self.names.places.iter().for_each(|&place| put(&mut body, place));
        put_bytes(&mut body, &self.names.own);
        match &self.state {
            State::Settled { types, named, functions, declared } => {
                put_bytes(&mut body, &Packed::of(types).0);
                put_ascending(&mut body, named);
                put_ascending(&mut body, functions);
                put_ascending(&mut body, declared);
            }
            State::Open { given, doubtful, .. } => {
                put_bytes(&mut body, &given.0);
                let byte = |bits: &[bool]| {
                    bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))
                };
                put(&mut body, doubtful.len() as u32);
                body.extend(doubtful.chunks(8).map(byte));
            }
        }
        if let Some(Answer { asked, types }) = answer {
            put_ascending(&mut body, &asked.types);
            put_ascending(&mut body, &asked.named);
            put_ascending(&mut body, &asked.functions);
            put_ascending(&mut body, &asked.rows);
            put(&mut body, asked.inserted);
            put_bytes(&mut body, &Packed::of(types).0);
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
        let rest = &mut &body[..];
        let flags = number(rest)?;
        let has = |flag: u32| flags & flag != 0;
        let first_id = number(rest)?;
        let mut lines = take_bytes(rest)?.split(|&byte| byte == 0);
        lines.next_back(); // behind the last NUL
        let mut lines = lines.map(|line| String::from_utf8_lossy(line).into_owned());
        let vermagic = if has(HAS_VERMAGIC) { Some(lines.next()?) } else { None };
        let warnings = lines.collect();
        let used = take_ascending(rest)?;
        let places = (0..number(rest)?).map(|_| number(rest)).collect::<Option<_>>()?;
        let names = Names { places, own: take_bytes(rest)?.to_vec() };
        let bytes = take_bytes(rest)?;
        let mut state = if has(IS_OPEN) {
            let count = number(rest)? as usize;
            let bits = take(rest, count.div_ceil(8))?;
            let bit = |at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
            let doubtful = (0..count).map(bit).collect();
            State::Open { given: Packed(bytes.to_vec()), doubtful, answer: None }
        } else {
            let (types, named) = (unpack(bytes)?, take_ascending(rest)?);
            let (functions, declared) = (take_ascending(rest)?, take_ascending(rest)?);
            State::Settled { types, named, functions, declared }
        };
        if let State::Open { answer, .. } = &mut state
            && has(HAS_ANSWER)
        {
            let asked = Asked {
                types: take_ascending(rest)?,
                named: take_ascending(rest)?,
                functions: take_ascending(rest)?,
                rows: take_ascending(rest)?,
                inserted: number(rest)?,
            };
            *answer = Some(Answer { asked, types: unpack(take_bytes(rest)?)? });
        }
        let has_ids = has(HAS_IDS);
        let kept = Kept { first_id, used, names, state, has_ids, vermagic, warnings };
        rest.is_empty().then_some(kept)
    }
}

fn checksum(body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(body);
    crc.sum()
}

fn take<'b>(rest: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (front, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(front)
}

/// A number of seven bits a byte, the lowest first.
fn put(body: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

fn number(rest: &mut &[u8]) -> Option<u32> {
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

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    put(body, bytes.len() as u32);
    body.extend_from_slice(bytes);
}

fn take_bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let len = number(rest)?;
    take(rest, len as usize)
}

/// Ids that ascend are close to each other: most differences take a byte.
fn put_ascending(body: &mut Vec<u8>, ids: &[u32]) {
    put(body, ids.len() as u32);
    let mut last = 0;
    for &id in ids {
        put(body, id - last);
        last = id;
    }
}

fn take_ascending(rest: &mut &[u8]) -> Option<Vec<u32>> {
    let mut last = 0u32;
    let mut ids = Vec::new();
    for _ in 0..number(rest)? {
        last = last.checked_add(number(rest)?)?;
        ids.push(last);
    }
    Some(ids)
}

impl Packed {
    pub(super) fn of(types: &Types) -> Packed {
        Packed(types.words().iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// `None` where these are no types.
    pub(super) fn types(&self) -> Option<Types> {
        unpack(&self.0)
    }
}

fn unpack(bytes: &[u8]) -> Option<Types> {
    let (words, []) = bytes.as_chunks::<4>() else { return None };
    let words: Vec<u32> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
    split(&words)
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

    fn some_types() -> Types {
        let mut types = Types::new();
        types.push(&[1, info(Kind::Struct, 1, false), 8, 2, 7, 0]);
        types.push(&[0, info(Kind::Ptr, 0, false), 300]);
        types
    }

    fn sample(state: State) -> Kept {
        Kept {
            first_id: 300,
            used: vec![1, 7, 200],
            names: Names { places: vec![0, 70_000, 0], own: b"s\0member\0".to_vec() },
            state,
            has_ids: true,
            vermagic: Some("6.1 SMP".into()),
            warnings: vec!["something was left out".into()],
        }
    }

    #[test]
    fn bytes_give_the_same_again_and_damage_nothing() {
        let asked = Asked {
            types: vec![3, 900],
            named: vec![4],
            functions: vec![8],
            rows: vec![900],
            inserted: 200,
        };
        for state in [
            State::Open {
                given: Packed::of(&some_types()),
                doubtful: vec![false, true],
                answer: None,
            },
            State::Open {
                given: Packed::of(&some_types()),
                doubtful: vec![false, true],
                answer: Some(Answer { asked, types: some_types() }),
            },
            State::Settled {
                types: some_types(),
                named: vec![5],
                functions: vec![3, 400],
                declared: vec![2],
            },
        ] {
            let kept = sample(state);
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

    #[test]
    fn without_vermagic_and_warnings() {
        let (named, functions, declared) = (Vec::new(), Vec::new(), Vec::new());
        let state = State::Settled { types: some_types(), named, functions, declared };
        let kept = Kept { has_ids: false, vermagic: None, warnings: Vec::new(), ..sample(state) };
        assert_eq!(Kept::from_bytes(&kept.to_bytes()), Some(kept));
    }
}
