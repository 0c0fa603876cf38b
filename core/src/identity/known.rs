//! The identities of a base: what of a module's types it has already.
//!
//! Built once a base, shared between threads. Cost: about 20 ms for the 95 thousand types of a
//! kernel, and 3 MB.

use super::hash::{Identity, Key};
use super::types::{Identities, is_forward, tag_kind};
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
    own: Vec<Identity>,
    table: HashTable<u32>,
    several: HashSet<Identity, FixedState>,
    pub(super) tags: Map<BaseTag>,
    /// Structs, unions and typedefs with arrays in them by their identity without the arrays'
    /// elements; NONE where several types share it.
    pub(super) loose: Map<Identity>,
    /// Some type leads back to itself in an unusual way.
    pub(super) unusable: bool,
}

/// The hashes of names by a number, each computed once where the number is not too large.
#[derive(Debug)]
pub struct NameHashes {
    slots: Vec<u32>,
    hashes: Vec<Identity>,
}

impl NameHashes {
    /// Remembers those with numbers below `len`.
    pub fn new(len: usize) -> NameHashes {
        NameHashes { slots: vec![0; len], hashes: vec![Identity::NONE] }
    }

    /// The hash of the name with this number.
    #[inline]
    pub fn get(&mut self, name: u32, hash: impl FnOnce() -> Identity) -> Identity {
        let Some(slot) = self.slots.get_mut(name as usize) else { return hash() };
        if *slot == 0 {
            *slot = self.hashes.len() as u32;
            self.hashes.push(hash());
        }
        self.hashes[*slot as usize]
    }
}

impl Known {
    /// Indexes a base that stands alone.
    ///
    /// A name that does not stand where the index has it equals no name of a module.
    pub fn of(btf: &Btf, index: &StringIndex) -> Known {
        let key = Key::of_process();
        let mut names = NameHashes::new(btf.strings.len());
        let mut name = |offset: u32| {
            names.get(offset, || {
                let text = strings::at(&btf.strings, offset);
                match index.find(&btf.strings, text) {
                    Some(at) if at == offset => key.text(text),
                    _ => key.odd_text(offset),
                }
            })
        };
        let all = Identities::of(&btf.types, key, &mut name);
        let loose_all = all.without_elements(&btf.types, key, &mut name);

        let mut this = Known {
            own: Vec::new(),
            table: HashTable::with_capacity(btf.types.len()),
            several: HashSet::default(),
            tags: Map::default(),
            loose: Map::default(),
            unusable: false,
        };
        for (index, ty) in btf.types.iter().enumerate() {
            let own = all.own[index];
            let Some(kind) = ty.kind() else { continue };
            if own == Identity::NONE {
                // Functions and variables have none; what leads back to itself has none either.
                this.unusable |=
                    !matches!(kind, Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag);
                continue;
            }
            let same = |&other: &u32| all.own[other as usize] == own;
            let rehash = |&other: &u32| all.own[other as usize].spread();
            match this.table.entry(own.spread(), same, rehash) {
                hashbrown::hash_table::Entry::Occupied(_) => {
                    this.several.insert(own);
                }
                hashbrown::hash_table::Entry::Vacant(entry) => {
                    entry.insert(index as u32);
                }
            }
            this.unusable |= is_forward(ty) && ty.name() == 0;
            if tag_kind(ty).is_some() {
                let tag = this.tags.entry(all.seen[index]).or_default();
                tag.ambiguous |= tag.definition != Identity::NONE || tag.forward;
                if is_forward(ty) {
                    tag.forward = true;
                } else {
                    tag.definition = own;
                }
            }
            if all.has_array(index) && (kind.is_composite() || kind == Kind::Typedef) {
                this.loose
                    .entry(loose_all.own[index])
                    .and_modify(|other| {
                        if *other != own {
                            *other = Identity::NONE;
                        }
                    })
                    .or_insert(own);
            }
        }
        this.own = all.own;
        this
    }

    /// Where the base has a type of this identity.
    #[inline]
    pub(super) fn find(&self, identity: Identity) -> Found {
        let same = |&index: &u32| self.own[index as usize] == identity;
        match self.table.find(identity.spread(), same) {
            None => Found::Nowhere,
            Some(_) if !self.several.is_empty() && self.several.contains(&identity) => {
                Found::Several
            }
            Some(&index) => Found::At(index + 1),
        }
    }
}
