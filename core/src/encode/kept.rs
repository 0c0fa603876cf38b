//! What is kept of an encode, so that a change of the base need not read DWARF again.
//!
//! [`Kept`] is one of two. *Settled* is the result itself, of a module in which nothing was doubtful
//! (see [`crate::identity`]): what it has that the base has not, and which types of the base stand for
//! all others. Where a [`Bridge`] leads from each of these to one in the new base, and the new base has
//! none of what it had itself, the exact engine would decide as before, and the result is the same with
//! other ids and string offsets. *Open* is, of the other modules, what the engine was given, and what it
//! answered and had asked of the base for that ([`Asked`]). Where the new base says the same, so does the
//! engine, and need not run; else it is given the same over the new base and decides anew. Where it
//! cannot be told whether more than that would change, there is no result.
//!
//! As bytes (`bytes`) it is checked against damage. It belongs to the state of the file, the base and
//! the options that it was made with, which its owner has to know.
//!
//! Cost: of the 1,121 modules of a kernel, 992 are settled: 8 kB each, and 25 us to put it onto a base.
//! The others are large ones that define what the base only declares: 300 kB each; 0.1 ms where the
//! answer holds, which is the case for 125 of them unless a change of the base touches what they see,
//! and else about 1 ms.

use super::bridge::Bridge;
use crate::btf::kind::Kind;
use crate::btf::strings::MAX_BYTES;
use crate::btf::types::{map_ids, map_names};
use crate::btf::{Btf, Types};
use crate::dedup::{self, Asked, Base, DedupError, Stats, Told};
use crate::identity::is_forward;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

mod bytes;

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
    state: State,
    /// The file has `.BTF_ids`, which are to be resolved anew.
    pub has_ids: bool,
    /// What else an encode of the file tells: its vermagic, and what it warned of.
    pub vermagic: Option<String>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Of which kind it is. Names of types are numbers of [`Kept::names`], from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Settled {
        /// The result.
        types: Types,
        /// Structs and unions of the base that are meant by names that units only declare.
        named: Vec<u32>,
        /// Those of the base that stand for functions of the file.
        functions: Vec<u32>,
        /// Other names that units only declare, by number: what they are bound to is a matter of all
        /// that has the name.
        declared: Vec<u32>,
    },
    Open {
        /// What the engine was given.
        given: Packed,
        /// Of those that are of units, whether each was doubtful; prototypes of functions come after
        /// them.
        doubtful: Vec<bool>,
        answer: Option<Answer>,
    },
}

/// What the engine made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    asked: Asked,
    /// The result.
    types: Types,
}

/// Types as bytes: most are never looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packed(Vec<u8>);

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
    first_id: u32,
    used: Vec<u32>,
    names: Names,
    types: Types,
    doubtful: Vec<bool>,
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
        Some(Given { first_id: btf.first_id, used, names, types, doubtful, numbers })
    }

    /// The engine has made `result`, and went as is `told`.
    pub fn decided(self, base: &Base, result: &Btf, stats: Stats, told: Told) -> Kept {
        let types = numbered(&result.types, &self.numbers);
        let sure = !self.doubtful.contains(&true) && stats.base_bound == 0;
        let settled = types.as_ref().filter(|_| sure);
        let settled = settled.and_then(|_| self.settled(base, &told.places));
        let first_id = self.first_id;
        let (used, state) = match (types, settled) {
            (Some(types), Some((used, [named, functions, declared]))) => {
                (used, State::Settled { types, named, functions, declared })
            }
            (types, _) => {
                let answer = types.zip(told.asked);
                let answer = answer.and_then(|(types, asked)| Answer::of(asked, types, first_id));
                let given = Packed::of(&self.types);
                (self.used, State::Open { given, doubtful: self.doubtful, answer })
            }
        };
        let (names, has_ids, vermagic, warnings) = (self.names, false, None, Vec::new());
        Kept { first_id, used, names, state, has_ids, vermagic, warnings }
    }

    /// Of a module in which nothing is doubtful: the types of the base that stand for others, and as in
    /// [`State::Settled`] those that are named, functions, and names that are declared.
    fn settled(&self, base: &Base, places: &[u32]) -> Option<(Vec<u32>, [Vec<u32>; 3])> {
        let mut used = self.used.clone();
        let (mut named, mut functions, mut declared) = (Vec::new(), Vec::new(), Vec::new());
        let is_composite =
            |id: u32| base.btf().types.get(id as usize - 1).kind().is_some_and(Kind::is_composite);
        for (ty, &place) in self.types.iter().zip(places) {
            let kind = ty.kind()?;
            if kind == Kind::Fwd && place < self.first_id && is_composite(place) {
                named.push(place);
                continue;
            }
            if is_forward(ty.info()) {
                declared.push(ty.name());
            }
            match kind {
                // The base may have the same, which nothing tells.
                Kind::DeclTag => return None,
                _ if place >= self.first_id => {}
                Kind::Func => functions.push(place),
                Kind::Var | Kind::Datasec => return None,
                // Prototypes, and what the base only declares as well.
                _ => used.push(place),
            }
        }
        for list in [&mut used, &mut named, &mut functions, &mut declared] {
            list.sort_unstable();
            list.dedup();
        }
        Some((used, [named, functions, declared]))
    }
}

impl Answer {
    /// `None` where the base may have what it asked for without an identity to tell.
    fn of(asked: Asked, types: Types, first_id: u32) -> Option<Answer> {
        let is_of_base =
            types.iter().any(|ty| ty.kind() == Some(Kind::DeclTag) && ty.size_or_type() < first_id);
        (!is_of_base).then_some(Answer { asked, types })
    }
}

impl Kept {
    /// Whether it is the result.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled { .. })
    }

    /// The result over the new base of a bridge that begins where it was made; `None` where it takes the
    /// DWARF to tell.
    pub fn over(&self, bridge: &Bridge) -> Result<Option<Btf>, DedupError> {
        let Some(names) = self.names_over(bridge) else { return Ok(None) };
        match (self.at_once(bridge, &names), &self.state) {
            (None, State::Open { given, doubtful, .. }) => {
                let given = given.types();
                let put = given.and_then(|types| self.put(&types, &[], bridge, &names));
                let Some(mut btf) = put else { return Ok(None) };
                if !bridge.leaves(&btf, doubtful) {
                    return Ok(None);
                }
                dedup::dedup(Some(bridge.new_base()), &mut btf)?;
                Ok(Some(btf))
            }
            (told, _) => Ok(told),
        }
    }

    /// Whether the engine need not run for it.
    pub fn is_told_at_once(&self, bridge: &Bridge) -> bool {
        self.names_over(bridge).is_some_and(|names| self.at_once(bridge, &names).is_some())
    }

    /// The result over the new base, where the engine would decide as before.
    fn at_once(&self, bridge: &Bridge, names: &Placed) -> Option<Btf> {
        match &self.state {
            State::Settled { types, named, functions, declared } => {
                let btf = self.put(types, named, bridge, names)?;
                // Names that only the file has are behind those of the base.
                let declared = declared
                    .iter()
                    .filter_map(|&name| names.offsets.get(name.checked_sub(1)? as usize))
                    .copied();
                let stays = named.iter().all(|&id| bridge.namesake(id).is_some())
                    && bridge.adds_none_of(declared)
                    && bridge.keeps_functions(functions, &btf)
                    && bridge.leaves(&btf, &vec![false; btf.types.len()]);
                stays.then_some(btf)
            }
            State::Open { answer, .. } => {
                let Answer { asked, types } = answer.as_ref()?;
                if !bridge.answers(asked) {
                    return None;
                }
                let btf = self.put(types, &asked.named, bridge, names)?;
                let stays =
                    bridge.has_no_rival(&btf) && bridge.keeps_functions(&asked.functions, &btf);
                stays.then_some(btf)
            }
        }
    }

    /// Where its names stand; `None` where some type that stood for its own is gone, too.
    fn names_over(&self, bridge: &Bridge) -> Option<Placed> {
        if self.used.iter().any(|&id| bridge.id(id).is_none()) {
            return None;
        }
        self.names.over(bridge)
    }

    /// Types of its own over the new base; `None` where they refer to what is not there. What is `named` is
    /// told by its name alone.
    fn put(&self, types: &Types, named: &[u32], bridge: &Bridge, names: &Placed) -> Option<Btf> {
        let below = bridge.new_base().btf();
        let mut btf = Btf::empty(below.endian, Some(below));
        btf.types = types.clone();
        btf.strings = names.strings.clone();
        let (first, count) = (btf.first_id, types.len());
        let id_over = |id: u32| match bridge.id(id) {
            None if named.binary_search(&id).is_ok() => bridge.namesake(id),
            found => found,
        };
        let mut sound = true;
        let mut or_unsound = |found: Option<u32>| {
            sound &= found.is_some();
            found.unwrap_or(0)
        };
        for index in 0..count {
            let words = btf.types.get_mut(index);
            map_names(words, |number| match number.checked_sub(1) {
                None => 0,
                Some(at) => or_unsound(names.offsets.get(at as usize).copied()),
            });
            map_ids(words, |id| match id.checked_sub(self.first_id) {
                Some(own) => or_unsound(((own as usize) < count).then_some(first + own)),
                None => or_unsound(id_over(id)),
            });
        }
        sound.then_some(btf)
    }
}

/// Names over a new base.
struct Placed {
    offsets: Vec<u32>,
    /// Those that the base does not have.
    strings: Vec<u8>,
}

impl Names {
    /// `None` where there is no room for them.
    fn over(&self, bridge: &Bridge) -> Option<Placed> {
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
        (strings.len() < MAX_BYTES).then_some(Placed { offsets, strings })
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
