//! From one base to another, for what was kept of encodes over the old one.
//!
//! A [`Bridge`] is made once for a pair of bases and shared by all threads: which id stands for the same type, which
//! offset for the same name, whether the new base has anything that the old one has not.
//!
//! Cost: 10 ms over two threads, and for each base once 15 ms for its identities; 6 MB.

use crate::bits::Bits;
use crate::btf::kind::Kind;
use crate::btf::{Btf, Type, strings};
use crate::dedup::{Asked, Base};
use crate::identity::{Known, Rebase, additions, new_ids};
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// A bridge from one base to another.
#[derive(Debug)]
pub struct Bridge {
    old: Arc<Base>,
    new: Arc<Base>,
    /// The new ids by the old ones; 0 where there is none to rely on.
    ids: Vec<u32>,
    /// The new offsets of names by the old ones; 0 where the new base does not have them.
    names: Vec<u32>,
    /// Hashes of names that the new base has and the old one has not.
    new_names: HashSet<u64, FixedState>,
    /// The new ids of structs and unions by the old ones, as names tell; 0 where they do not.
    namesakes: Vec<u32>,
    /// The functions of the new base.
    functions: HashSet<[u32; 3], FixedState>,
    /// What the new base has and the old one has not, by [`likeness`].
    additions: HashSet<u64, FixedState>,
    /// The same by [`rivalry`].
    rivals: HashSet<u64, FixedState>,
    /// Types of the new base that have a rival among these.
    contested: Bits,
}

impl Bridge {
    /// From one to the other; `None` where identities do not tell the types of one of them apart.
    pub fn new(old: Arc<Base>, new: Arc<Base>) -> Option<Bridge> {
        let (from, to): (&Known, &Known) = rayon::join(|| old.known(), || new.known());
        let types = &new.btf().types;
        let ((ids, added), ((names, new_names), functions)) = rayon::join(
            || (new_ids(from, to, new.btf()), additions(from, to).collect::<Vec<_>>()),
            || (names(&old, &new), functions(new.btf())),
        );
        let ids = ids?;
        let added = || added.iter().map(|&id| types.get(id as usize - 1));
        let additions = added().map(likeness).collect();
        let rivals: HashSet<_, _> = added().map(rivalry).collect();
        let mut contested = Bits::default();
        if !rivals.is_empty() {
            contested = Bits::below(types.len() + 1);
            let has_rival = |ty| rivals.contains(&rivalry(ty));
            let ids = (1..).zip(types.iter()).filter(|&(_, ty)| has_rival(ty));
            ids.for_each(|(id, _)| contested.insert(id));
        }
        let namesakes = namesakes(&old, &new, &names);
        Some(Bridge {
            old,
            new,
            ids,
            names,
            new_names,
            namesakes,
            functions,
            additions,
            rivals,
            contested,
        })
    }

    /// The base that it leads to.
    pub fn new_base(&self) -> &Base {
        &self.new
    }

    /// The id in the new base of a type of the old one.
    pub fn id(&self, old: u32) -> Option<u32> {
        self.rebase().id(old)
    }

    /// The id in the new base of the only struct or union that has the name of one of the old base;
    /// what it holds does not matter.
    pub(super) fn namesake(&self, old: u32) -> Option<u32> {
        self.namesakes.get(old as usize).copied().filter(|&new| new != 0)
    }

    /// The offset in the new base of a name of the old one, or the name where there is none.
    pub(super) fn name(&self, old: u32) -> Result<u32, &[u8]> {
        match self.names.get(old as usize) {
            Some(&new) if new != 0 => Ok(new),
            _ => Err(strings::at(&self.old.btf().strings, old)),
        }
    }

    /// The offset in the new base of a name that the old one does not have, or the name.
    pub(super) fn find<'n>(&self, name: &'n [u8]) -> Result<u32, &'n [u8]> {
        // Few are new, and to ask the base is a cache miss or two.
        if !self.new_names.contains(&of_text(name)) {
            return Err(name);
        }
        let below = &self.new.btf().strings;
        self.new.string_index().find(below, name).ok_or(name)
    }

    /// Whether a run that asked this of the old base would find the same in the new one, and no more.
    ///
    /// What it might find besides is a rival of a type of the run; then also of the one that stands for
    /// it, which is of the base and was `asked` for, or in the result ([`Bridge::has_no_rival`]).
    pub(super) fn answers(&self, asked: &Asked) -> bool {
        let is_alone = |id: u32| !self.contested.contains(id);
        asked.types.iter().all(|&id| self.id(id).is_some_and(is_alone))
            && asked.named.iter().all(|&id| self.namesake(id).is_some())
            && self.new.keeps_order(&self.old, asked, |id| self.id(id))
    }

    /// Whether the new base has nothing more that might be taken for a type of `split`, which stands over it
    /// already.
    pub(super) fn has_no_rival(&self, split: &Btf) -> bool {
        self.rivals.is_empty() || !split.types.iter().any(|ty| self.rivals.contains(&rivalry(ty)))
    }

    /// See [`Rebase::leaves`].
    pub(super) fn leaves(&self, split: &Btf, doubtful: &[bool]) -> bool {
        let units = split.types.iter().zip(doubtful);
        !units.filter(|&(_, &doubtful)| !doubtful).any(|(ty, _)| self.is_like_an_addition(ty))
            || self.rebase().leaves(split, doubtful, self.new.btf())
    }

    /// Whether the new base has no type more of any of these names, given by their offsets in it.
    pub(super) fn adds_none_of(&self, mut names: impl Iterator<Item = u32>) -> bool {
        self.additions.is_empty() || !names.any(|name| self.additions.contains(&of_name(name)))
    }

    fn is_like_an_addition(&self, ty: Type<'_>) -> bool {
        !self.additions.is_empty() && self.additions.contains(&likeness(ty))
    }

    /// Whether these functions of the old base are in the new one, and none of `split` is, which
    /// stands over the new one already.
    pub(super) fn keeps_functions(&self, old: &[u32], split: &Btf) -> bool {
        let types = &self.old.btf().types;
        let is_there = |&id: &u32| {
            let Some(index) = (id as usize).checked_sub(1).filter(|&at| at < types.len()) else {
                return false;
            };
            let ty = types.get(index);
            match (self.name(ty.name()), self.id(ty.size_or_type())) {
                (Ok(name), Some(proto)) => self.functions.contains(&[name, ty.info(), proto]),
                _ => false,
            }
        };
        let is_new = |ty: Type<'_>| !is_function(ty) || !self.functions.contains(&key(ty));
        old.iter().all(is_there) && split.types.iter().all(is_new)
    }

    fn rebase(&self) -> Rebase<'_> {
        Rebase::new(self.old.known(), self.new.known(), &self.ids)
    }
}

/// The same for types over one base that are equal, that have one name, or that differ at most in
/// what they refer to where identities do not tell that; often for others as well.
fn likeness(ty: Type<'_>) -> u64 {
    if ty.name() != 0 {
        return of_name(ty.name());
    }
    let mut hasher = FixedState::default().build_hasher();
    match ty.kind() {
        // Of what they refer to, a part may be taken for another one.
        Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::FuncProto) => {
            ty.info().hash(&mut hasher);
            ty.for_each_name(|name| name.hash(&mut hasher));
        }
        _ => ty.0.hash(&mut hasher),
    }
    hasher.finish()
}

/// The same for types over one base that the engine tries for each other, or looks up by one name.
fn rivalry(ty: Type<'_>) -> u64 {
    if ty.name() != 0 {
        return of_name(ty.name());
    }
    let mut hasher = FixedState::default().build_hasher();
    if ty.kind().is_some_and(Kind::is_composite) {
        ty.0[..3].hash(&mut hasher);
        ty.elements().for_each(|member| (member[0], member[2]).hash(&mut hasher));
    } else {
        ty.0.hash(&mut hasher);
    }
    hasher.finish()
}

/// The likeness of all types of a name.
fn of_name(name: u32) -> u64 {
    FixedState::default().hash_one(name)
}

fn of_text(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name)
}

fn is_function(ty: Type<'_>) -> bool {
    ty.kind() == Some(Kind::Func)
}

/// All that a function is: its name, its linkage, its prototype.
fn key(ty: Type<'_>) -> [u32; 3] {
    [ty.name(), ty.info(), ty.size_or_type()]
}

fn functions(btf: &Btf) -> HashSet<[u32; 3], FixedState> {
    btf.types.iter().filter(|&ty| is_function(ty)).map(key).collect()
}

/// See [`Bridge::namesake`]; `names` are the new offsets by the old ones.
fn namesakes(old: &Base, new: &Base, names: &[u32]) -> Vec<u32> {
    let (from, to) = (&old.btf().types, &new.btf().types);
    let forwards = to.iter().filter(|ty| ty.kind() == Some(Kind::Fwd));
    let forwards: HashSet<u32, FixedState> = forwards.map(Type::name).collect();
    let namesake = |was: Type<'_>| {
        let is_named = was.kind().is_some_and(Kind::is_composite) && was.name() != 0;
        let name = *names.get(was.name() as usize).filter(|&&name| is_named && name != 0)?;
        let id = new.composite_of(name).filter(|_| !forwards.contains(&name))?;
        (to.get(id as usize - 1).kind() == was.kind()).then_some(id)
    };
    let of = |was| namesake(was).unwrap_or(0);
    std::iter::once(0).chain(from.iter().map(of)).collect()
}

/// Where the names of one base stand in another, 0 where they do not; and hashes of names that only the
/// other has.
fn names(old: &Base, new: &Base) -> (Vec<u32>, HashSet<u64, FixedState>) {
    let (from, to) = (&old.btf().strings[..], &new.btf().strings[..]);
    let mut offsets = vec![0; from.len()];
    let mut old_ones = Bits::below(to.len());
    for (at, name) in strings::each(from).filter(|(_, name)| !name.is_empty()) {
        let found = new.string_index().find(to, name).unwrap_or(0);
        offsets[at as usize] = found;
        old_ones.insert(found);
    }
    let added = strings::each(to).filter(|&(at, _)| !old_ones.contains(at));
    let added = added.map(|(_, name)| of_text(name)).collect();
    (offsets, added)
}
