//! The identities of the types of one unit.

use super::hash::{Identity, Key, LEVELS, Level};
use crate::btf::types::info;
use crate::btf::{Kind, Type, Types};
use crate::dwarf::FILE_INT;

/// Nesting from which on a comparison of copies is not sure to see the end: see the fallback of
/// the exact engine, which looks 16 aggregates deep.
pub(super) const DEEP: u8 = 12;

/// What a type's own part of the graph is like: up to structs, unions and enums with a name.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// References after each other.
    level: u8,
    /// Aggregates within each other.
    depth: u8,
    /// It is an array or has one.
    array: bool,
}

/// The identities of a row of types that refer to each other by position.
///
/// Two types with the same identity are equal in all that they contain, where a struct, union or
/// forward declaration with a name counts as that name. A struct or union with a name has two:
/// itself, with its members, and what others see of it.
#[derive(Debug, Default)]
pub struct Identities {
    /// Of the type itself.
    pub own: Vec<Identity>,
    /// What types that refer to it see.
    pub(super) seen: Vec<Identity>,
    /// How deep references go, aggregates without a name are nested, and whether there is an array.
    shapes: Vec<Shape>,
    /// Some type leads back to itself without a struct, union or forward declaration with a name,
    /// or is nested too deep, or is an enum without name and values,
    /// or a name is given and empty.
    pub(super) unusual: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagKind {
    Struct = 1,
    Union = 2,
    Enum = 3,
}

/// What all references to a struct, union or enum of this name see, forward declarations included.
pub(super) fn tag(key: &Key, kind: TagKind, name: Identity) -> Identity {
    key.tags.element(Identity::START, name, kind as u32, Identity::NONE)
}

/// What references to nothing see.
fn void(key: &Key) -> Identity {
    key.tags.element(Identity::START, Identity::NONE, 0, Identity::NONE)
}

/// What a type counts as by its name alone, where it does.
pub(super) fn tag_kind(ty: Type<'_>) -> Option<TagKind> {
    match ty.kind() {
        _ if ty.name() == 0 => None,
        Some(Kind::Struct) => Some(TagKind::Struct),
        Some(Kind::Union) => Some(TagKind::Union),
        Some(Kind::Fwd) if ty.kflag() => Some(TagKind::Union),
        Some(Kind::Fwd) => Some(TagKind::Struct),
        Some(Kind::Enum | Kind::Enum64) => Some(TagKind::Enum),
        _ => None,
    }
}

/// Whether it only declares what another type defines.
pub(super) fn is_forward(ty: Type<'_>) -> bool {
    match ty.kind() {
        Some(Kind::Fwd) => true,
        Some(Kind::Enum | Kind::Enum64) => ty.vlen() == 0,
        _ => false,
    }
}

/// The int that indexes arrays, before it is known which type that is in this file.
pub(super) fn standard_int(key: &Key) -> Identity {
    const SIGNED_32: u32 = 1 << 24 | 32;
    let level = &key.types[0];
    let head = head(level, [1, info(Kind::Int, 0, false), 4], key.text(b"int"));
    level.words(head, SIGNED_32, 0)
}

fn head(level: &Level, words: [u32; 3], name: Identity) -> Identity {
    let hash = level.words(Identity::START, words[1], words[2]);
    level.element(hash, name, u32::from(words[0] != 0), Identity::NONE)
}

/// Whether the type has an identity: the others stand at the end of a file and are few.
fn counts(kind: Kind) -> bool {
    !matches!(kind, Kind::Void | Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag)
}

impl Identities {
    /// Of `types`, whose ids count from 1; `name` gives the hash of a name.
    pub fn of(types: &Types, key: &Key, mut name: impl FnMut(u32) -> Identity) -> Identities {
        let mut this = Identities {
            own: vec![Identity::NONE; types.len()],
            seen: vec![Identity::NONE; types.len()],
            shapes: vec![Shape::default(); types.len()],
            unusual: false,
        };
        for (index, ty) in types.iter().enumerate() {
            if let Some(kind) = tag_kind(ty) {
                this.seen[index] = tag(key, kind, name(ty.name()));
            }
        }
        this.fill(types, key, &mut name, false, |_| true);
        this
    }

    /// The same where arrays count by their length alone; only types that contain one differ.
    ///
    /// The exact engine's fallback compares no more of arrays.
    pub fn without_elements(
        &self,
        types: &Types,
        key: &Key,
        mut name: impl FnMut(u32) -> Identity,
    ) -> Identities {
        let mut this = Identities {
            own: self.own.clone(),
            seen: self.seen.clone(),
            shapes: self.shapes.clone(),
            unusual: false,
        };
        for (index, ty) in types.iter().enumerate() {
            if self.shapes[index].array && tag_kind(ty).is_none() {
                this.seen[index] = Identity::NONE;
            }
        }
        this.fill(types, key, &mut name, true, |index| self.has_array(index));
        this
    }

    /// Whether the type at `index` is an array or contains one.
    pub(super) fn has_array(&self, index: usize) -> bool {
        self.shapes[index].array
    }

    /// Whether no two different arrays of the same length can be reached from the type at `index`.
    ///
    /// Then the exact engine cannot mistake one for the other. Looks at a few types only.
    pub(super) fn one_array_a_length(&self, types: &Types, index: usize) -> bool {
        /// Types that are looked at.
        const FEW: usize = 256;
        let mut reached = vec![index as u32];
        let mut arrays: Vec<(u32, Identity)> = Vec::new();
        let mut at = 0;
        while let Some(&next) = reached.get(at) {
            at += 1;
            let ty = types.get(next as usize);
            match ty.kind() {
                Some(Kind::Array) => {
                    let (length, own) = (ty.payload()[2], self.own[next as usize]);
                    if arrays.iter().any(|&(n, other)| n == length && other != own) {
                        return false;
                    }
                    arrays.push((length, own));
                }
                Some(Kind::Fwd) => return false,
                _ => {}
            }
            ty.for_each_id(|id| {
                if id != 0 && id != FILE_INT && !reached.contains(&(id - 1)) {
                    reached.push(id - 1);
                }
            });
            if reached.len() > FEW {
                return false;
            }
        }
        true
    }

    fn fill(
        &mut self,
        types: &Types,
        key: &Key,
        name: &mut impl FnMut(u32) -> Identity,
        loose: bool,
        wanted: impl Fn(usize) -> bool,
    ) {
        let fixed = Fixed { void: void(key), int: standard_int(key), loose };
        // Types under way, the innermost last, and which have been tried once.
        let mut path: Vec<u32> = Vec::new();
        let mut tried = vec![false; types.len()];
        for first in 0..types.len() {
            if !wanted(first) || !types.get(first).kind().is_some_and(counts) {
                continue;
            }
            let mut next = Some(first);
            while let Some(at) = next.take().or_else(|| path.last().map(|&at| at as usize)) {
                let ty = types.get(at);
                let is_tag = tag_kind(ty).is_some();
                if !is_tag && self.seen[at] != Identity::NONE {
                    path.pop();
                    continue;
                }
                let Some(shape) = self.shape(ty) else {
                    // What it refers to comes first; what is under way already never will.
                    if std::mem::replace(&mut tried[at], true) {
                        self.unusual = true;
                        return;
                    }
                    if path.is_empty() {
                        path.push(at as u32);
                    }
                    let mut cycle = false;
                    ty.for_each_id(|id| {
                        if id == 0 || id == FILE_INT || self.seen[id as usize - 1] != Identity::NONE
                        {
                            return;
                        }
                        cycle |= tried[id as usize - 1];
                        path.push(id - 1);
                    });
                    if cycle {
                        self.unusual = true;
                        return;
                    }
                    continue;
                };
                if usize::from(shape.level) >= LEVELS || shape.depth > DEEP {
                    self.unusual = true;
                    return;
                }
                let hash = self.content(ty, &key.types[usize::from(shape.level)], name, fixed);
                self.own[at] = hash;
                self.shapes[at] = shape;
                self.unusual |= !is_tag && is_forward(ty);
                if !is_tag {
                    self.seen[at] = hash;
                }
                path.pop();
            }
        }
    }

    /// The shape of a type; `None` where a type that it refers to has to come first.
    #[inline]
    fn shape(&self, ty: Type<'_>) -> Option<Shape> {
        let mut shape = Shape::default();
        let mut missing = false;
        ty.for_each_id(|id| {
            let mut part = Shape::default();
            if id != 0 && id != FILE_INT {
                let index = id as usize - 1;
                let seen = self.seen[index];
                missing |= seen == Identity::NONE;
                if seen == self.own[index] {
                    part = self.shapes[index];
                }
            }
            shape.level = shape.level.max(part.level + 1);
            shape.depth = shape.depth.max(part.depth);
            shape.array |= part.array;
        });
        match ty.kind() {
            Some(Kind::Struct | Kind::Union | Kind::FuncProto) => shape.depth += 1,
            Some(Kind::Array) => shape.array = true,
            _ => {}
        }
        (!missing).then_some(shape)
    }

    /// The hash of a type; what it refers to has one.
    #[inline]
    fn content(
        &mut self,
        ty: Type<'_>,
        level: &Level,
        name: &mut impl FnMut(u32) -> Identity,
        fixed: Fixed,
    ) -> Identity {
        let Some(kind) = ty.kind().filter(|&kind| counts(kind)) else { return Identity::NONE };
        let seen = |id: u32| match id {
            0 => fixed.void,
            FILE_INT => fixed.int,
            id => self.seen[id as usize - 1],
        };
        let mut empty = false;
        let mut name = |offset: u32| match offset {
            0 => Identity::NONE,
            offset => {
                let hash = name(offset);
                empty |= hash == Identity::START;
                hash
            }
        };
        let w = ty.0;
        let size_or_type = if kind.shape().refers { 0 } else { w[2] };
        let mut hash = head(level, [w[0], w[1], size_or_type], name(w[0]));
        match kind {
            Kind::Struct | Kind::Union => {
                for m in ty.payload().chunks_exact(3) {
                    hash = level.element(hash, name(m[0]), m[2], seen(m[1]));
                }
            }
            Kind::FuncProto => {
                hash = level.element(hash, Identity::NONE, 0, seen(w[2]));
                for p in ty.payload().chunks_exact(2) {
                    hash = level.element(hash, name(p[0]), 0, seen(p[1]));
                }
            }
            Kind::Array => {
                hash = level.words(hash, w[5], 0);
                if !fixed.loose {
                    hash = level.element(hash, Identity::NONE, 0, seen(w[3]));
                    hash = level.element(hash, Identity::NONE, 0, seen(w[4]));
                }
            }
            Kind::Enum | Kind::Enum64 => {
                for v in ty.elements() {
                    hash = level.element(hash, name(v[0]), v[1], Identity::NONE);
                    if let Some(&high) = v.get(2) {
                        hash = level.words(hash, high, 0);
                    }
                }
            }
            Kind::Fwd | Kind::Float => {}
            Kind::Int => hash = level.words(hash, w[3], 0),
            _ => hash = level.element(hash, Identity::NONE, 0, seen(w[2])),
        }
        self.unusual |= empty;
        hash
    }
}

/// What is the same for all types of a unit.
#[derive(Clone, Copy)]
struct Fixed {
    void: Identity,
    int: Identity,
    /// Arrays count by their length alone.
    loose: bool,
}
