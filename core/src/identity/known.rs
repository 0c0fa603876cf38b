//! The identities of a base: what of a module's types it has already.
//!
//! Built once a base, shared between threads. Cost: about 20 ms for the 95 thousand types of a
//! kernel, and 5 MB, half of them for rebases alone.

use super::hash::{Identity, Key, Name};
use super::sketch::Sketch;
use super::types::{Identities, Loose, Seen};
use crate::bits::Bits;
use crate::btf::strings::{self, StringIndex};
use crate::btf::{Btf, Kind};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet, HashTable};

pub(super) type Map<V> = HashMap<Identity, V, FixedState>;

/// What a base has under the name of a struct or union.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BaseTag {
    /// The definition, if there is one.
    pub definition: Identity,
    /// There are several, or one and a forward declaration.
    pub ambiguous: bool,
    /// There is a forward declaration.
    pub forward: bool,
}

/// What a type of this identity is in the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nowhere,
    /// One type, this one.
    At(u32),
    /// Several types.
    Several,
}

/// The types of a base by identity.
#[derive(Debug)]
pub struct Known {
    /// Of each type, by position.
    own: Vec<Identity>,
    /// The first type of each identity.
    table: HashTable<u32>,
    /// Of each type, by position: [`SEVERAL`], [`PLAIN`].
    notes: Vec<u8>,
    pub(super) tags: Map<BaseTag>,
    /// Structs, unions and typedefs with arrays in them by their identity without the arrays'
    /// elements; NONE where several types share it.
    loose: Map<Identity>,
    /// Those of them that share it.
    twins: HashSet<Identity, FixedState>,
    /// What types that refer to one see, by id.
    seen: Vec<Seen>,
    /// The same without the elements of arrays, where that differs.
    seen_loosely: HashMap<u32, Identity, FixedState>,
    /// Some type leads back to itself in an unusual way.
    pub(super) unusable: bool,
}

/// There are other types of its identity.
const SEVERAL: u8 = 1;
/// Its name says nothing that is not said by itself.
const PLAIN: u8 = 2;

impl Known {
    /// Indexes a base that stands alone.
    ///
    /// A name that does not stand where the index has it equals no name of a module.
    pub fn of(btf: &Btf, index: &StringIndex) -> Known {
        let key = Key::of_process();
        let names = Names::of(btf, index);
        let sketch = Sketch::of(&btf.types, key, |offset| names.get(offset));
        let all = Identities::of(&sketch, key);
        let mut loose_all = Loose::new(&sketch, &all, key, &[]);

        let mut this = Known {
            own: Vec::new(),
            table: HashTable::with_capacity(btf.types.len()),
            notes: vec![0; sketch.len()],
            tags: Map::default(),
            loose: Map::default(),
            twins: HashSet::default(),
            seen: Vec::new(),
            seen_loosely: HashMap::default(),
            unusable: false,
        };
        for index in 0..sketch.len() {
            let own = all.own[index];
            let Some(kind) = sketch.kind(index) else { continue };
            if own == Identity::NONE {
                // Functions and variables have none; what leads back to itself has none either.
                this.unusable |=
                    !matches!(kind, Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag);
                continue;
            }
            let id = index as u32 + 1;
            let of = |&id: &u32| all.own[id as usize - 1];
            match this.table.entry(own.spread(), |id| of(id) == own, |id| of(id).spread()) {
                hashbrown::hash_table::Entry::Occupied(entry) => {
                    this.notes[*entry.get() as usize - 1] = SEVERAL;
                    this.notes[index] = SEVERAL;
                }
                hashbrown::hash_table::Entry::Vacant(entry) => {
                    entry.insert(id);
                }
            }
            let forward = sketch.is_forward(index);
            this.unusable |= forward && sketch.name(index) == 0;
            if sketch.tag_kind(index).is_some() {
                let tag = this.tags.entry(all.seen(index)).or_default();
                tag.ambiguous |= tag.definition != Identity::NONE || tag.forward;
                if forward {
                    tag.forward = true;
                } else {
                    tag.definition = own;
                }
            }
            if all.has_array(index) && sketch.tag_kind(index).is_none() {
                this.seen_loosely.insert(id, loose_all.get(index));
            }
            if all.has_array(index) && (kind.is_composite() || kind == Kind::Typedef) {
                let other = this.loose.entry(loose_all.get(index)).or_insert(own);
                if *other != own {
                    this.twins.extend([own, std::mem::take(other)]);
                }
            }
        }
        let is_plain = |index: usize| {
            let own = all.own[index];
            sketch.tag_kind(index).is_none()
                || this
                    .tags
                    .get(&all.seen(index))
                    .is_some_and(|tag| tag.definition == own && !tag.ambiguous && !tag.forward)
        };
        for (index, notes) in this.notes.iter_mut().enumerate() {
            *notes |= if is_plain(index) { PLAIN } else { 0 };
        }
        (this.own, this.seen) = all.into_parts();
        this
    }

    /// All identities, and the first type of each.
    pub(super) fn all(&self) -> impl Iterator<Item = (Identity, u32)> + '_ {
        self.table.iter().map(|&id| (self.own[id as usize - 1], id))
    }

    /// Whether there is one definition of the name of the type `id`, itself, or it has none.
    #[inline]
    pub(super) fn is_plain(&self, id: u32) -> bool {
        self.notes[id as usize - 1] & PLAIN != 0
    }

    /// The types that have an identity of their own, and their ids.
    pub(super) fn unique(&self) -> impl Iterator<Item = (Identity, u32)> + '_ {
        self.all().filter(|&(_, id)| self.notes[id as usize - 1] & SEVERAL == 0)
    }

    /// How many ids there are, void included.
    pub(super) fn ids(&self) -> usize {
        self.seen.len()
    }

    /// What types that refer to the type `id` see, and what they see loosely where that differs.
    pub(super) fn seen(&self, id: u32) -> (Seen, Identity) {
        (self.seen[id as usize], self.seen_loosely.get(&id).copied().unwrap_or_default())
    }

    /// Where the base has a type of this identity.
    #[inline]
    pub(super) fn find(&self, identity: Identity) -> Found {
        let same = |&id: &u32| self.own[id as usize - 1] == identity;
        match self.table.find(identity.spread(), same) {
            None => Found::Nowhere,
            Some(&id) => self.found(id),
        }
    }

    /// The same of one that is likely to follow the type `last`, which becomes the one that is found.
    ///
    /// A module's headers declare their types in the order in which the base has them, and those
    /// that follow are at hand; to look for others is two cache misses each.
    #[inline]
    pub(super) fn find_next(&self, identity: Identity, last: &mut u32) -> Found {
        if self.own.get(*last as usize) == Some(&identity) {
            *last += 1;
            return self.found(*last);
        }
        let found = self.find(identity);
        if let Found::At(id) = found {
            *last = id;
        }
        found
    }

    #[inline]
    fn found(&self, id: u32) -> Found {
        if self.notes[id as usize - 1] & SEVERAL != 0 { Found::Several } else { Found::At(id) }
    }

    /// Whether types of the base differ from the one of these identities at most in elements of
    /// arrays.
    pub(super) fn has_twin(&self, loose: Identity, own: Identity) -> bool {
        self.loose.get(&loose).is_some_and(|&other| other != own)
    }

    /// The same of a type that the base has.
    pub(super) fn is_twin(&self, own: Identity) -> bool {
        !self.twins.is_empty() && self.twins.contains(&own)
    }
}

/// The names of a base.
struct Names<'b> {
    section: &'b [u8],
    /// Where a string begins, the first one with its letters.
    starts: Bits,
}

impl<'b> Names<'b> {
    fn of(btf: &'b Btf, index: &StringIndex) -> Names<'b> {
        let section = &btf.strings[..];
        let (mut starts, mut count) = (Bits::below(section.len()), 0);
        for (offset, _) in strings::each(section) {
            starts.insert(offset);
            count += 1;
        }
        let mut names = Names { section, starts };
        if index.len() != count {
            names.leave_first_ones(index);
        }
        names
    }

    /// Some strings stand twice.
    #[cold]
    fn leave_first_ones(&mut self, index: &StringIndex) {
        for offset in 0..self.section.len() as u32 {
            let text = || strings::at(self.section, offset);
            if self.starts.contains(offset) && index.find(self.section, text()) != Some(offset) {
                self.starts.remove(offset);
            }
        }
    }

    fn get(&self, offset: u32) -> Name<'b> {
        if self.starts.contains(offset) {
            return Name::Text(&self.section[offset as usize..]);
        }
        // It begins within another, or is another one's double.
        Name::Odd(offset)
    }
}
