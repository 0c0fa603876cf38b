//! The passes, in their order; each goes over the split's types by id.
//!
//! A type that becomes canonical enters the table at once, so that later ones fold into it. The
//! order of insertions decides the order of candidates, hence nothing here may be done in
//! another order or in parallel.

use super::DedupError;
use super::base::{Named, Names, note_name};
use super::graph::{IN_PROGRESS, Run, declared, shallow_equal};
use super::table::{Candidate, Keys, enum_family, enum_forward};
use crate::btf::types::id_positions;
use crate::btf::{Kind, Type};

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
                Kind::Enum | Kind::Enum64 => self.fold_enum(id, kind)?,
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
    fn fold_enum(&mut self, id: u32, kind: Kind) -> Result<(), DedupError> {
        let ty = self.ty(id);
        let (keys, name, full) = (self.keys(id, kind), ty.name(), ty.vlen() > 0);
        let equal = match full {
            true => self.first_equal(id, keys.main),
            false => self.first(enum_family(name), |t| t.name() == name && is_enum(t)),
        };
        if name == 0 && !full {
            self.asking.any();
        }
        if full {
            let mut scan = self.table.scan(enum_forward(name));
            while let Some(forward) = self.table.next(&mut scan) {
                self.step()?;
                self.asking.look(forward.id);
                if equal.is_some_and(|e| !self.table.precedes(forward.position, e.position)) {
                    break;
                }
                let t = self.ty(forward.id);
                if t.name() == name && is_enum(t) && t.vlen() == 0 {
                    self.set(forward.id, id);
                }
            }
        }
        self.decide(id, keys, equal.map(|candidate| candidate.id));
        Ok(())
    }

    /// The first candidate whose words are those of `id`.
    #[inline]
    fn first_equal(&self, id: u32, key: u64) -> Option<Candidate> {
        let ty = self.ty(id);
        self.first(key, |t| t == ty)
    }

    /// The first candidate that is accepted. Keys only say where to look: unequal types can have
    /// equal ones.
    #[inline]
    fn first(&self, key: u64, accept: impl Fn(Type<'_>) -> bool) -> Option<Candidate> {
        let mut scan = self.table.scan(key);
        while let Some(candidate) = self.table.next(&mut scan) {
            if accept(self.ty(candidate.id)) {
                return Some(candidate);
            }
        }
        None
    }

    /// `id` folds into `equal`, or is canonical and a candidate from now on.
    #[inline]
    fn decide(&mut self, id: u32, keys: Keys, equal: Option<u32>) {
        self.set(id, equal.unwrap_or(id));
        // Keys are over all that counts here: what was tried in vain had an equal key by chance.
        equal.into_iter().for_each(|equal| self.asking.look(equal));
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
            let mut scan = self.table.scan(keys.main);
            let mut equal = None;
            let mut several = self.table.has_several_below(&scan);
            while let Some(candidate) = self.table.next(&mut scan) {
                self.asking.look(candidate.id);
                if several && candidate.id < self.first {
                    self.asking.row(candidate.id);
                    several = false;
                }
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
            if self.mapped(id) == id && self.kind(id).is_composite() {
                note_name(&mut own, self.ty(id).name(), id);
            }
        }
        for id in self.own_ids() {
            if self.mapped(id) != id || self.kind(id) != Kind::Fwd {
                continue;
            }
            let name = self.ty(id).name();
            let below = self.base.and_then(|base| base.composites.get(&name)).copied();
            self.asking.named(below);
            let definition = match (below, own.get(&name)) {
                (Some(Named::Unique(one)), None) | (None, Some(&Named::Unique(one))) => one,
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
            self.set(root, IN_PROGRESS);
            stack.push((root, 0));
            while let Some((id, done)) = stack.pop() {
                match self.resolve_references(id, done)? {
                    Some((done, target)) => {
                        self.set(target, IN_PROGRESS);
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
            match self.mapped(target) {
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

fn is_enum(ty: Type<'_>) -> bool {
    ty.kind().is_some_and(Kind::is_enum)
}
