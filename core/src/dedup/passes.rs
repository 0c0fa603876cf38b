//! The passes, in their order; each goes over the split's types by id.
//!
//! A type that becomes canonical enters the table at once, so that later ones fold into it. The
//! order of insertions decides the order of candidates, hence nothing here may be done in
//! another order or in parallel.

use super::DedupError;
use super::base::{Named, Names, note_name};
use super::graph::{IN_PROGRESS, Run, declared, shallow_equal};
use super::table::{Candidate, Keys, enum_family, enum_forward};
use crate::btf::Kind;
use crate::btf::types::id_positions;

impl Run<'_> {
    /// Integers, floats, forwards and enums: what refers to nothing.
    pub fn primitives(&mut self) -> Result<(), DedupError> {
        for id in self.own_ids() {
            let ty = self.ty(id);
            let Some(kind) = ty.kind() else {
                return Err(DedupError::UnknownKind { id, kind: ty.kind_value() });
            };
            match kind {
                Kind::Int | Kind::Float | Kind::Fwd => {
                    let keys = self.keys(id, kind);
                    let equal = self.first_equal(id, keys.main).map(|candidate| candidate.id);
                    self.decide(id, keys, equal);
                }
                Kind::Enum | Kind::Enum64 => self.fold_enum(id, kind),
                Kind::Var | Kind::Datasec => self.set(id, id),
                _ => (),
            }
        }
        Ok(())
    }

    /// libbpf tries all enums with the name in order: an equal one ends the search; a value-less
    /// enum takes the first of any kind; an enum with values becomes what every value-less one
    /// stands for that comes before its equal. Keys over values and over value-less enums find
    /// the same without trying hundreds of nameless ones.
    fn fold_enum(&mut self, id: u32, kind: Kind) {
        let ty = self.ty(id);
        let (keys, name) = (self.keys(id, kind), ty.name());
        if ty.vlen() == 0 {
            let first = self.table.first(enum_family(name)).map(|candidate| candidate.id);
            return self.decide(id, keys, first);
        }
        let equal = self.first_equal(id, keys.main);
        let mut forwards = std::mem::take(&mut self.candidates);
        self.table.candidates(enum_forward(name), &mut forwards);
        for forward in &forwards {
            let before = equal.is_none_or(|e| self.table.precedes(forward.position, e.position));
            // Equal keys of unequal names are possible.
            if before && self.ty(forward.id).name() == name && self.kind(forward.id).is_enum() {
                self.set(forward.id, id);
            }
        }
        self.candidates = forwards;
        self.decide(id, keys, equal.map(|candidate| candidate.id));
    }

    /// The first candidate whose words are those of `id`.
    #[inline]
    fn first_equal(&mut self, id: u32, key: u64) -> Option<Candidate> {
        let mut candidates = std::mem::take(&mut self.candidates);
        self.table.candidates(key, &mut candidates);
        let words = self.ty(id).0;
        let found = candidates.iter().find(|c| self.ty(c.id).0 == words).copied();
        self.candidates = candidates;
        found
    }

    /// `id` folds into `equal`, or is canonical and a candidate from now on.
    #[inline]
    fn decide(&mut self, id: u32, keys: Keys, equal: Option<u32>) {
        self.set(id, equal.unwrap_or(id));
        if equal.is_none() {
            self.table.insert(id, keys);
        }
    }

    /// Structs, unions and typedefs, through which all cycles go.
    pub fn composites(&mut self) -> Result<(), DedupError> {
        for id in self.own_ids() {
            let kind = self.kind(id);
            if self.is_mapped(id) || !(kind.is_composite() || kind == Kind::Typedef) {
                continue;
            }
            self.folding = id;
            let keys = self.keys(id, kind);
            let mut candidates = std::mem::take(&mut self.candidates);
            self.table.candidates(keys.main, &mut candidates);
            let mut equal = None;
            for candidate in &candidates {
                let (a, b) = (self.ty(id), self.ty(candidate.id));
                let alike = match kind {
                    Kind::Typedef => a.0[..2] == b.0[..2],
                    _ => shallow_equal(a, b),
                };
                if alike && self.equivalent(id, candidate.id)? {
                    self.merge();
                    if !self.adjusts_base {
                        equal = Some(candidate.id);
                        break;
                    }
                }
            }
            self.candidates = candidates;
            self.decide(id, keys, equal);
        }
        // Nothing else asks for identical types.
        self.memo = Default::default();
        Ok(())
    }

    /// Forwards that no comparison met go to the only composite with their name, if there is one.
    pub fn forwards(&mut self) {
        let mut own = Names::default();
        for id in self.own_ids() {
            if self.map[id as usize] == id && self.kind(id).is_composite() {
                note_name(&mut own, self.ty(id).name(), id);
            }
        }
        for id in self.own_ids() {
            if self.map[id as usize] != id || self.kind(id) != Kind::Fwd {
                continue;
            }
            let name = self.ty(id).name();
            let below = self.base.and_then(|base| base.composites.get(&name));
            let definition = match (below, own.get(&name)) {
                (Some(&Named::Unique(one)), None) | (None, Some(&Named::Unique(one))) => one,
                _ => continue,
            };
            if self.kind(definition) == declared(self.ty(id)) {
                self.set(id, definition);
            }
        }
    }

    /// All that refers to other types by id: targets first, then equality is equality of words.
    ///
    /// In depth from each type, since the first of equal types in that order stays.
    pub fn references(&mut self) -> Result<(), DedupError> {
        // A type under way, and how many of its references are done.
        let mut stack: Vec<(u32, u32)> = Vec::new();
        for root in self.own_ids() {
            if self.is_mapped(root) {
                continue;
            }
            self.map[root as usize] = IN_PROGRESS;
            stack.push((root, 0));
            while let Some((id, done)) = stack.pop() {
                match self.resolve_references(id, done)? {
                    Some((done, target)) => {
                        self.map[target as usize] = IN_PROGRESS;
                        stack.push((id, done));
                        stack.push((target, 0));
                    }
                    None => {
                        let keys = self.keys(id, self.kind(id));
                        let equal = self.first_equal(id, keys.main).map(|candidate| candidate.id);
                        self.decide(id, keys, equal);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes canonical ids into `id` from its reference number `done` on. Stops at a target that
    /// is not decided, and returns it with its number.
    fn resolve_references(&mut self, id: u32, done: u32) -> Result<Option<(u32, u32)>, DedupError> {
        let index = (id - self.first) as usize;
        for (number, at) in (done..).zip(id_positions(self.split.get(index).0).skip(done as usize))
        {
            let target = self.split.get(index).0[at];
            match self.map[target as usize] {
                IN_PROGRESS => return Err(DedupError::Loop { id: target }),
                0 if target >= self.first => return Ok(Some((number, target))),
                _ => {
                    let canonical = self.resolve(target);
                    self.split.get_mut(index)[at] = canonical;
                }
            }
        }
        Ok(None)
    }
}
