//! What is kept of an encode, so that a change of the base need not read DWARF again.
//!
//! [`Kept`] is one of two. *Settled* is the result itself, of a module in which nothing was doubtful
//! (see [`crate::identity`]): what it has that the base has not, and which types of the base stand for
//! all others. Where a [`Bridge`] leads from each of these to one in the new base, and the new base has
//! none of what it had itself, the exact engine would decide as before, and the result is the same with
//! other ids and string offsets. *Open* is, of the other modules, what the engine was given; it is
//! given the same over the new base and decides anew. Where it cannot be told whether more than that
//! would change, there is no result.
//!
//! As bytes it is checked against damage. It belongs to the state of the file, the base and the options
//! that it was made with, which its owner has to know.
//!
//! Cost: of the 1,121 modules of a kernel, 992 are settled: 8 kB each, and 23 us to put it onto a base.
//! The others are large ones that define what the base only declares: 290 kB, and about 1 ms each.

use super::bridge::Bridge;
use crate::btf::kind::Kind;
use crate::btf::strings::MAX_BYTES;
use crate::btf::types::{MAX_VLEN, map_ids, map_names};
use crate::btf::{Btf, Types};
use crate::dedup::{self, Base, DedupError, Stats};
use crate::identity::is_forward;
use flate2::Crc;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// How the bytes begin; the digits are the version.
const MAGIC: &[u8; 8] = b"btfdkp02";

/// Words of types that are kept; more would take about as long as the DWARF.
const MOST_WORDS: usize = 2 << 20;

/// What has to be known of one file to put its types onto another base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The first id of its own types.
    first_id: u32,
    /// The types of the base that stand for types of the file, ascending.
    used: Vec<u32>,
    names: Names,
    /// Its own types; names are numbers of `names`, from 1.
    types: Types,
    state: State,
    /// The file has `.BTF_ids`, which are to be resolved anew.
    pub has_ids: bool,
    /// What else an encode of the file tells: its vermagic, and what it warned of.
    pub vermagic: Option<String>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Of which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The types are the result.
    Settled {
        /// Those of the base that stand for functions of the file.
        functions: Vec<u32>,
        /// Names, by number, that a unit only declares: what they are bound to is a matter of all
        /// that has the name.
        declared: Vec<u32>,
    },
    /// The types are what the engine was given. Of those that are of units, whether each was doubtful;
    /// prototypes of functions come after them.
    Open { doubtful: Vec<bool> },
}

/// Names in the order in which they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    /// The offset in the base, or 0 for one of its own.
    places: Vec<u32>,
    /// Its own ones, each ended by a NUL.
    own: Vec<u8>,
}

/// What the engine is given, which has not decided yet.
#[derive(Clone, Debug)]
pub struct Given {
    kept: Kept,
    numbers: Numbers,
}

/// Numbers of names, from 1, by string offset.
type Numbers = HashMap<u32, u32, FixedState>;

impl Given {
    /// Of types that stand over `base`, of which `used` stand for others. `met` are the string
    /// offsets of all names, in the order in which they were met; `doubtful` is of the types of units.
    /// `None` where there is more of it than pays.
    pub fn of(
        btf: &Btf,
        doubtful: Vec<bool>,
        base: &Base,
        used: Vec<u32>,
        met: &[u32],
    ) -> Option<Given> {
        if btf.types.words().len() > MOST_WORDS {
            return None;
        }
        let mut numbers = Numbers::default();
        let mut names = Names::default();
        for &offset in met.iter().filter(|&&offset| offset != 0) {
            let next = numbers.len() as u32 + 1;
            if *numbers.entry(offset).or_insert(next) == next {
                let is_own = offset >= btf.first_string;
                names.places.push(if is_own { 0 } else { offset });
                if is_own {
                    names.own.extend_from_slice(btf.string(Some(base.btf()), offset));
                    names.own.push(0);
                }
            }
        }
        let is_used = |id: u32| id == 0 || id >= btf.first_id || used.binary_search(&id).is_ok();
        let mut complete = true;
        btf.types.iter().for_each(|ty| ty.for_each_id(|id| complete &= is_used(id)));
        let types = numbered(&btf.types, &numbers).filter(|_| complete)?;
        let (state, first_id) = (State::Open { doubtful }, btf.first_id);
        let (has_ids, vermagic, warnings) = (false, None, Vec::new());
        Some(Given {
            kept: Kept { first_id, used, names, types, state, has_ids, vermagic, warnings },
            numbers,
        })
    }

    /// The engine has made `result`, where types of the ids `places` stand for what it was given.
    pub fn decided(self, result: &Btf, stats: Stats, places: &[u32]) -> Kept {
        let Given { kept, numbers } = self;
        match kept.settled(stats, places).zip(numbered(&result.types, &numbers)) {
            Some(((used, state), types)) => Kept { used, types, state, ..kept },
            None => kept,
        }
    }
}

impl Kept {
    /// Of a module in which nothing is doubtful: the types of the base that stand for others, and
    /// what else there is to know.
    fn settled(&self, stats: Stats, places: &[u32]) -> Option<(Vec<u32>, State)> {
        let State::Open { doubtful } = &self.state else { return None };
        if doubtful.contains(&true) || stats.base_bound > 0 {
            return None;
        }
        let (mut used, mut functions, mut declared) = (self.used.clone(), Vec::new(), Vec::new());
        for (ty, &place) in self.types.iter().zip(places) {
            if is_forward(ty.info()) {
                declared.push(ty.name());
            }
            match ty.kind()? {
                // The base may have the same, which nothing tells.
                Kind::DeclTag => return None,
                _ if place >= self.first_id => {}
                Kind::Func => functions.push(place),
                Kind::Var | Kind::Datasec => return None,
                // Prototypes, and forward declarations of what the base defines.
                _ => used.push(place),
            }
        }
        for list in [&mut used, &mut functions, &mut declared] {
            list.sort_unstable();
            list.dedup();
        }
        Some((used, State::Settled { functions, declared }))
    }

    /// Whether it is the result.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled { .. })
    }

    /// The result over the new base of a bridge that begins where it was made; `None` where it takes the
    /// DWARF to tell.
    pub fn over(&self, bridge: &Bridge) -> Result<Option<Btf>, DedupError> {
        if self.used.iter().any(|&id| bridge.id(id).is_none()) {
            return Ok(None);
        }
        let Some((offsets, strings)) = self.names.over(bridge) else { return Ok(None) };
        let below = bridge.new_base().btf();
        let mut btf = Btf::empty(below.endian, Some(below));
        btf.types = self.types.clone();
        btf.strings = strings;
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
                None => bridge.id(id).unwrap_or_else(|| {
                    sound = false;
                    0
                }),
                Some(_) => {
                    sound = false;
                    0
                }
            });
        }
        if !sound {
            return Ok(None);
        }
        match &self.state {
            State::Settled { functions, declared } => {
                // Names that only the file has are behind those of the base.
                let declared = declared
                    .iter()
                    .filter_map(|&name| offsets.get(name.checked_sub(1)? as usize))
                    .copied();
                let stays = bridge.adds_none_of(declared)
                    && bridge.keeps_functions(functions, &btf)
                    && bridge.leaves(&btf, &vec![false; btf.types.len()]);
                Ok(stays.then_some(btf))
            }
            State::Open { doubtful } => {
                if !bridge.leaves(&btf, doubtful) {
                    return Ok(None);
                }
                dedup::dedup(Some(bridge.new_base()), &mut btf)?;
                Ok(Some(btf))
            }
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let notes = self.vermagic.iter().chain(&self.warnings);
        let notes: Vec<u8> = notes.flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect();
        let (kind, lists) = match &self.state {
            State::Settled { functions, declared } => (0, [functions.len(), declared.len()]),
            State::Open { doubtful } => (1, [doubtful.len(), 0]),
        };
        let words = self.types.words();
        for count in [
            kind << 2 | usize::from(self.has_ids) << 1 | usize::from(self.vermagic.is_some()),
            self.first_id as usize,
            notes.len(),
            self.used.len(),
            self.names.places.len(),
            self.names.own.len(),
            lists[0],
            lists[1],
            words.len(),
        ] {
            body.extend_from_slice(&(count as u32).to_le_bytes());
        }
        body.extend_from_slice(&notes);
        put_ascending(&mut body, &self.used);
        self.names.places.iter().for_each(|&place| put(&mut body, place));
        body.extend_from_slice(&self.names.own);
        match &self.state {
            State::Settled { functions, declared } => {
                put_ascending(&mut body, functions);
                put_ascending(&mut body, declared);
            }
            State::Open { doubtful } => {
                let byte = |bits: &[bool]| {
                    bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))
                };
                body.extend(doubtful.chunks(8).map(byte));
            }
        }
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
        let (counts, mut rest) = body.split_first_chunk::<36>()?;
        let mut counts = counts.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word));
        let mut count = || counts.next().map(|count| count as usize);
        let (flags, first_id, notes) = (count()?, count()? as u32, count()?);
        let (used, places, own) = (count()?, count()?, count()?);
        let (list, other, words) = (count()?, count()?, count()?);

        let mut lines = take(&mut rest, notes)?.split(|&byte| byte == 0);
        lines.next_back(); // behind the last NUL
        let mut lines = lines.map(|line| String::from_utf8_lossy(line).into_owned());
        let vermagic = if flags & 1 == 1 { Some(lines.next()?) } else { None };
        let warnings = lines.collect();
        let used = take_ascending(&mut rest, used)?;
        let places = (0..places).map(|_| number(&mut rest)).collect::<Option<_>>()?;
        let names = Names { places, own: take(&mut rest, own)?.to_vec() };
        let state = match flags >> 2 {
            0 => State::Settled {
                functions: take_ascending(&mut rest, list)?,
                declared: take_ascending(&mut rest, other)?,
            },
            _ => {
                let bits = take(&mut rest, list.div_ceil(8))?;
                let bit = |at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
                State::Open { doubtful: (0..list).map(bit).collect() }
            }
        };
        let (chunks, []) = rest.as_chunks::<4>() else { return None };
        if chunks.len() != words {
            return None;
        }
        let words: Vec<u32> = chunks.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let (types, has_ids) = (split(&words)?, flags & 2 != 0);
        Some(Kept { first_id, used, names, types, state, has_ids, vermagic, warnings })
    }
}

impl Names {
    /// The offsets over the new base, and the strings that it does not have.
    fn over(&self, bridge: &Bridge) -> Option<(Vec<u32>, Vec<u8>)> {
        let start = bridge.new_base().btf().strings.len() as u32;
        let mut own = self.own.split(|&byte| byte == 0);
        let mut strings = Vec::with_capacity(self.own.len());
        let mut offsets = Vec::with_capacity(self.places.len());
        for &place in &self.places {
            let found = match place {
                0 => bridge.find(own.next()?),
                place => bridge.name(place),
            };
            offsets.push(found.unwrap_or_else(|text| {
                let offset = start + strings.len() as u32;
                strings.extend_from_slice(text);
                strings.push(0);
                offset
            }));
        }
        (strings.len() < MAX_BYTES).then_some((offsets, strings))
    }
}

/// Types with their names by number; `None` where some have none.
fn numbered(types: &Types, numbers: &Numbers) -> Option<Types> {
    let mut types = types.clone();
    let mut complete = true;
    for index in 0..types.len() {
        map_names(types.get_mut(index), |offset| match offset {
            0 => 0,
            offset => numbers.get(&offset).copied().unwrap_or_else(|| {
                complete = false;
                0
            }),
        });
    }
    complete.then_some(types)
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

/// Ids that ascend are close to each other: most differences take a byte.
fn put_ascending(body: &mut Vec<u8>, ids: &[u32]) {
    let mut last = 0;
    for &id in ids {
        put(body, id - last);
        last = id;
    }
}

fn take_ascending(rest: &mut &[u8], count: usize) -> Option<Vec<u32>> {
    let mut last = 0u32;
    let mut ids = Vec::new();
    for _ in 0..count {
        last = last.checked_add(number(rest)?)?;
        ids.push(last);
    }
    Some(ids)
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

    fn sample(state: State) -> Kept {
        let mut types = Types::new();
        types.push(&[1, info(Kind::Struct, 1, false), 8, 2, 7, 0]);
        types.push(&[0, info(Kind::Ptr, 0, false), 300]);
        Kept {
            first_id: 300,
            used: vec![1, 7, 200],
            names: Names { places: vec![0, 70_000, 0], own: b"s\0member\0".to_vec() },
            types,
            state,
            has_ids: true,
            vermagic: Some("6.1 SMP".into()),
            warnings: vec!["something was left out".into()],
        }
    }

    #[test]
    fn bytes_give_the_same_again_and_damage_nothing() {
        for state in [
            State::Open { doubtful: vec![false, true] },
            State::Settled { functions: vec![3, 400], declared: vec![2] },
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
        let state = State::Settled { functions: Vec::new(), declared: Vec::new() };
        let kept = Kept { has_ids: false, vermagic: None, warnings: Vec::new(), ..sample(state) };
        assert_eq!(Kept::from_bytes(&kept.to_bytes()), Some(kept));
    }
}
