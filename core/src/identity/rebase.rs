//! From one base to another: what stands for the same types, and whether more than that changes.
//!
//! Of units whose types were told apart over the old base, no other types are doubtful over the new
//! one, and of the others the same are left, where
//!
//! * each type of the old base that stood for some is in the new one, once, and its name means
//!   nothing else there;
//! * none of those that were left and not doubtful is in the new one, nor is what their names stand
//!   for;
//! * none of either has a twin there, unless it had one before.
//!
//! That is all that [`super::Merge`] asks a base. Then the exact engine is given over the new base
//! what it would be given if all DWARF were read again, and perhaps more: types that are doubtful no
//! longer, in every unit, which does not change what it answers. Where it does not hold, the DWARF has
//! to be read. Cost: a probe for each type of the base, once; for the types of a module as in `Merge`.

use super::hash::{Identity, Key, Name};
use super::known::{Found, Known};
use super::sketch::{Sketch, TagKind, is_forward, tag_kind_of};
use super::types::{Identities, Loose};
use crate::btf::{Btf, Kind, Type};

/// A way from one base to another.
#[derive(Clone, Copy, Debug)]
pub struct Rebase<'b> {
    old: &'b Known,
    new: &'b Known,
    key: &'static Key,
    ids: &'b [u32],
}

/// The ids in a new base, by those in an old one; 0 where there is none to rely on. `below` is the
/// new one. `None` where identities do not tell the types of one of them apart.
pub fn new_ids(old: &Known, new: &Known, below: &Btf) -> Option<Vec<u32>> {
    if old.unusable || new.unusable {
        return None;
    }
    let rebase = Rebase::new(old, new, &[]);
    let mut ids = vec![0; old.ids()];
    for (identity, id) in old.unique() {
        if let Found::At(other) = new.find(identity)
            && rebase.is_clear(below, below.types.get(other as usize - 1), identity)
        {
            ids[id as usize] = other;
        }
    }
    Some(ids)
}

/// The types of the new base that the old one has not, or not as often; one of each identity.
///
/// What [`Rebase::leaves`] finds in the new base is equal to one of these, has the name of one, or
/// differs from one in elements of arrays only.
pub fn additions(old: &Known, new: &Known) -> impl Iterator<Item = u32> {
    new.all().filter_map(|(identity, id)| match (old.find(identity), new.find(identity)) {
        (Found::Nowhere, _) | (Found::At(_), Found::Several) => Some(id),
        _ => None,
    })
}

impl<'b> Rebase<'b> {
    /// From one to the other; `ids` are [`new_ids`] of these two.
    pub fn new(old: &'b Known, new: &'b Known, ids: &'b [u32]) -> Rebase<'b> {
        Rebase { old, new, key: Key::of_process(), ids }
    }

    /// The id in the new base of a type of the old one.
    pub fn id(&self, old: u32) -> Option<u32> {
        match self.ids.get(old as usize) {
            _ if old == 0 => Some(0),
            Some(&id) if id != 0 => Some(id),
            _ => None,
        }
    }

    /// Whether nothing else of the new base could be meant by a type that it has.
    fn is_clear(&self, below: &Btf, ty: Type<'_>, identity: Identity) -> bool {
        let Some(kind) = tag_kind_of(ty.info()).filter(|_| ty.name() != 0) else {
            return !self.became_twin(identity);
        };
        let name = self.key.text(below.string(None, ty.name()));
        let Some(tag) = self.new.tags.get(&self.key.tag(kind, name)) else { return false };
        let forward = is_forward(ty.info());
        let means_more = tag.ambiguous || tag.forward != forward;
        let may_mean_more = forward && self.has_other(kind, name);
        !means_more && !may_mean_more && !self.became_twin(identity)
    }

    /// Whether a type of both bases has a twin in the new one alone.
    fn became_twin(&self, identity: Identity) -> bool {
        self.new.is_twin(identity) && !self.old.is_twin(identity)
    }

    /// Whether the new base has a union of a struct's name, or the other way round.
    fn has_other(&self, kind: TagKind, name: Identity) -> bool {
        let other = match kind {
            TagKind::Struct => TagKind::Union,
            TagKind::Union => TagKind::Struct,
            TagKind::Enum => return false,
        };
        self.new.tags.contains_key(&self.key.tag(other, name))
    }

    /// Whether the types that were left over the old base are left over the new one: the first ones of
    /// `split`, which has them over the new base already. `doubtful` says of each whether it was.
    pub fn leaves(&self, split: &Btf, doubtful: &[bool], below: &Btf) -> bool {
        let key = self.key;
        let mut sketch =
            Sketch::of(&split.types, key, |name| Name::Text(split.string(Some(below), name)));
        let own = sketch.len() as u32;
        let mut lower: Vec<u32> = sketch
            .all_links()
            .iter()
            .copied()
            .filter(|&id| id != 0 && id < split.first_id)
            .collect();
        lower.sort_unstable();
        lower.dedup();
        for link in sketch.all_links() {
            *link = match link.checked_sub(split.first_id) {
                _ if *link == 0 => 0,
                Some(index) => index + 1,
                None => match lower.binary_search(link) {
                    Ok(at) => own + 1 + at as u32,
                    Err(_) => return false,
                },
            };
        }
        let (seen, loose): (Vec<_>, Vec<_>) = lower.iter().map(|&id| self.new.seen(id)).unzip();
        let all = Identities::over(&sketch, key, &seen);
        let mut loose = Loose::new(&sketch, &all, key, &loose);
        !all.unusual
            && doubtful
                .iter()
                .take(sketch.len())
                .enumerate()
                .all(|(index, &was)| was || self.is_left(&sketch, &all, &mut loose, index))
    }

    fn is_left(
        &self,
        sketch: &Sketch,
        all: &Identities,
        loose: &mut Loose<'_>,
        index: usize,
    ) -> bool {
        let own = all.own[index];
        if own.is_none() {
            return true; // functions and variables are not told by identity
        }
        if self.new.find(own) != Found::Nowhere {
            return false;
        }
        if let Some(kind) = sketch.tag_kind(index) {
            let below = self.new.tags.get(&all.seen(index)).copied().unwrap_or_default();
            let meant = if sketch.is_forward(index) {
                below.ambiguous || self.has_other(kind, sketch.tag_name(index))
            } else {
                below.ambiguous || below.forward || !below.definition.is_none()
            };
            if meant {
                return false;
            }
        }
        let kind = sketch.kind(index).unwrap_or(Kind::Void);
        let may_have_twins = kind.is_composite() || kind == Kind::Typedef;
        if !may_have_twins || !all.has_array(index) {
            return true;
        }
        let loose = loose.get(index);
        !self.new.has_twin(loose, own) || self.old.has_twin(loose, own)
    }
}
