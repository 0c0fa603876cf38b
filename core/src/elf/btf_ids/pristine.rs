//! Back to the words that the linker wrote.
//!
//! Ids and counts are easy: they were 0. The flags of a `set8` went along with their ids when the
//! set was sorted. They are given back
//!
//! 1. by nothing at all, where the file is fresh from the linker, which all-zero ids show;
//! 2. from words kept since an earlier sight of the same link, if the caller has them;
//! 3. for free, where all flags of a set are the same;
//! 4. by looking up what the resolver must have written for each symbol in the BTF that the file
//!    has now: over its own `.BTF.base`, or the base that the caller gives;
//! 5. by the same without a base, when all functions of the set are in the file's own BTF: string
//!    offsets and ids then only miss a constant each, which the file shows.
//!
//! In 4 and 5 the ids found must be exactly those in the set, so a wrong base is noticed: shifting
//! a finite set of ids never gives the same set. What no look at one file can show is that a tool
//! resolved a section twice and moved the flags; kept words (2) heal that.

use super::{BtfIds, IdsError, Place, Set};
use crate::btf::{Btf, Kind, strings};
use crate::elf::Image;
use std::collections::BTreeMap;

/// Words kept since an earlier sight of a link.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// Of the file they were taken from.
    pub build_id: &'a str,
    /// The pristine words.
    pub words: &'a [u8],
}

/// What the linker wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pristine {
    /// The section's content.
    pub words: Vec<u8>,
    /// The file itself has them: nothing resolved it since it was linked.
    pub fresh: bool,
}

impl BtfIds {
    /// Whether nothing resolved the section since it was linked.
    pub fn is_fresh(&self) -> bool {
        self.zeroed() == self.bytes
    }

    /// The words as the linker wrote them. `image` is the file that this section is of, `base` what
    /// its BTF may stand on.
    ///
    /// Errors: [`IdsError::Lost`] where that would be a guess; a file that cannot be read.
    pub fn pristine(
        &self,
        image: &Image,
        base: Option<&Btf>,
        earlier: Option<&Earlier>,
    ) -> Result<Pristine, IdsError> {
        let mut words = self.zeroed();
        if words == self.bytes {
            return Ok(Pristine { words, fresh: true });
        }
        if let Some(earlier) = earlier
            && self.build_id() == Some(earlier.build_id)
            && self.same_but_for_order(earlier.words)
        {
            return Ok(Pristine { words: earlier.words.to_vec(), fresh: false });
        }
        let mixed: Vec<&Set> = self.sets.iter().filter(|set| self.is_mixed(set)).collect();
        if mixed.is_empty() {
            return Ok(Pristine { words, fresh: false });
        }
        let raw = match image.section(b".BTF") {
            Some(section) => image.read(section)?,
            None => return lost(mixed[0], "the file has no .BTF to look its ids up in"),
        };
        let own_base = match image.section(b".BTF.base").filter(|s| s.size > 0) {
            Some(section) => Btf::parse(&image.read(section)?, None).ok(),
            None => None,
        };
        let base = own_base.as_ref().or(base);
        let now = Btf::parse(&raw, base).ok();
        let over_base = now.map(|now| {
            let layers: Vec<&Btf> = base.into_iter().chain([&now]).collect();
            let ids = self.find(&layers, &mut Vec::new());
            self.places.iter().map(|place| place.at).zip(ids).collect::<BTreeMap<_, _>>()
        });
        let functions = Btf::parse_alone(&raw).ok().and_then(|now| functions(&now));
        let positions = functions.map(|functions| {
            let known = self.places.iter().filter(|place| place.kind == Kind::Func);
            let position = |place: &Place| Some((place.at, *functions.get(&place.name)?));
            known.filter_map(position).collect::<BTreeMap<_, _>>()
        });
        for set in mixed {
            let by_base = |at: &usize| over_base.as_ref().and_then(|ids| ids.get(at).copied());
            let expected: Vec<u32> =
                set.members().map(|at| by_base(&at).unwrap_or_default()).collect();
            let flags = self.give_back(set, &expected).or_else(|| {
                let expected = self.without_base(set, positions.as_ref()?)?;
                self.give_back(set, &expected)
            });
            let Some(flags) = flags else {
                return lost(set, "its ids fit neither the file's BTF nor this base");
            };
            for (at, flags) in set.members().zip(flags) {
                self.put(&mut words, at + 4, flags);
            }
        }
        Ok(Pristine { words, fresh: false })
    }

    /// The words with ids and counts as before resolving; flags stay where they are.
    fn zeroed(&self) -> Vec<u8> {
        let mut words = self.bytes.clone();
        let places = self.places.iter().map(|place| place.at);
        let sets = self.sets.iter().flat_map(|set| set.members().chain([set.at]));
        for at in places.chain(sets) {
            self.put(&mut words, at, 0);
        }
        words
    }

    /// Whether flags of members differ, so that their order matters.
    fn is_mixed(&self, set: &Set) -> bool {
        let mut flags = set.members().map(|at| self.word(&self.bytes, at + 4));
        let first = flags.next();
        set.flagged && flags.any(|f| Some(f) != first)
    }

    /// Whether `words` are pristine and differ from the file's in the order of flags only.
    fn same_but_for_order(&self, words: &[u8]) -> bool {
        let sorted = |words: &[u8]| {
            let mut out = words.to_vec();
            for set in self.sets.iter().filter(|set| set.flagged) {
                let mut flags: Vec<u32> =
                    set.members().map(|at| self.word(words, at + 4)).collect();
                flags.sort_unstable();
                for (at, flags) in set.members().zip(flags) {
                    self.put(&mut out, at + 4, flags);
                }
            }
            out
        };
        words.len() == self.bytes.len() && sorted(words) == sorted(&self.zeroed())
    }

    /// The flags of a set in its symbols' order, if resolving gave the members `expected` ids.
    fn give_back(&self, set: &Set, expected: &[u32]) -> Option<Vec<u32>> {
        let mut order: Vec<usize> = (0..expected.len()).collect();
        order.sort_by_key(|&i| expected[i] as i32);
        let mut flags = vec![0; expected.len()];
        for (&i, at) in order.iter().zip(set.members()) {
            if self.word(&self.bytes, at) != expected[i] {
                return None;
            }
            flags[i] = self.word(&self.bytes, at + 4);
        }
        Some(flags)
    }

    /// The ids that a resolver gave the members, if all that it found are functions of the file:
    /// `positions` that miss a constant, which the lowest one shows.
    fn without_base(&self, set: &Set, positions: &BTreeMap<usize, u32>) -> Option<Vec<u32>> {
        let own: Vec<Option<&u32>> = set.members().map(|at| positions.get(&at)).collect();
        let lowest = own.iter().flatten().min()?;
        let id = set.members().map(|at| self.word(&self.bytes, at)).find(|&id| id != 0)?;
        let first_id = id.checked_sub(**lowest)?;
        Some(own.iter().map(|p| p.map_or(0, |p| first_id.wrapping_add(*p))).collect())
    }
}

fn lost<T>(set: &Set, reason: &'static str) -> Result<T, IdsError> {
    Err(IdsError::Lost { set: set.text(), reason })
}

/// Position of the first function of each name, of BTF whose base is not at hand.
///
/// Every string of a split layer is in use, so the highest offset in use is that of the last one,
/// and tells where the layer's strings begin.
fn functions(btf: &Btf) -> Option<BTreeMap<Vec<u8>, u32>> {
    let (_, body) = btf.strings.split_last()?;
    let last = memchr::memrchr(0, body).map_or(0, |nul| nul + 1) as u32;
    let mut highest = 0;
    btf.types.iter().for_each(|ty| ty.for_each_name(|name| highest = highest.max(name)));
    let first_string = highest.checked_sub(last)?;
    let mut found = BTreeMap::new();
    for (position, ty) in (0..).zip(btf.types.iter()) {
        let Some(offset) = ty.name().checked_sub(first_string) else { continue };
        if offset.checked_sub(1).is_some_and(|before| btf.strings.get(before as usize) != Some(&0))
        {
            return None; // not where its strings begin
        }
        if ty.kind() == Some(Kind::Func) {
            found.entry(strings::at(&btf.strings, offset).to_vec()).or_insert(position);
        }
    }
    Some(found)
}
