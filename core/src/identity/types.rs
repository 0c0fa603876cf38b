//! The identities of the types of one unit.

use super::hash::{Identity, Key, Level, Name};
use super::sketch::{FILE_INT, Sketch, TagKind};
use crate::btf::Kind;
use crate::btf::types::info;

/// Nesting from which on a comparison of copies is not sure to see the end: see the fallback of
/// the exact engine, which looks 16 aggregates deep.
pub(super) const DEEP: u8 = 12;

/// What a type's own part of the graph is like: up to structs, unions and enums with a name.
///
/// A bit for each level of references after each other, a bit for each depth of aggregates within
/// each other, and two more, so that what several types have together is one operation a type.
#[derive(Clone, Copy, Debug)]
struct Shape(u64);

impl Shape {
    /// Of a type whose identity is not known.
    const UNKNOWN: Shape = Shape(1 << 63);
    /// It is an array or has one.
    const ARRAY: Shape = Shape(1 << 62);
    /// Of what refers to nothing.
    const LEAF: Shape = Shape(1);
    /// The bit of the first depth.
    const DEPTH: u32 = 40;

    #[inline]
    fn is_known(self) -> bool {
        self.0 & Shape::UNKNOWN.0 == 0
    }

    #[inline]
    fn has_array(self) -> bool {
        self.0 & Shape::ARRAY.0 != 0
    }

    /// How many references after each other lead out of a type that refers to types of this shape.
    #[inline]
    fn level_above(self) -> usize {
        (u32::BITS - (self.0 as u32).leading_zeros()) as usize
    }

    /// Aggregates within each other.
    #[inline]
    fn depth(self) -> u8 {
        let depths = (self.0 >> Shape::DEPTH) as u16;
        (u16::BITS - depths.leading_zeros()) as u8
    }

    /// The shape of a type of this level and depth.
    #[inline]
    fn of(level: usize, depth: u8, array: bool) -> Shape {
        let depths = if depth == 0 { 0 } else { 1 << Shape::DEPTH << (depth - 1) };
        Shape(1 << level | depths | if array { Shape::ARRAY.0 } else { 0 })
    }
}

/// What types that refer to a type see of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    identity: Identity,
    shape: Shape,
}

impl Seen {
    const UNKNOWN: Seen = Seen { identity: Identity::NONE, shape: Shape::UNKNOWN };

    fn leaf(identity: Identity) -> Seen {
        Seen { identity, shape: Shape::LEAF }
    }
}

/// The identities of a row of types that refer to each other by position.
///
/// Two types with the same identity are equal in all that they contain, where a struct, union or
/// forward declaration with a name counts as that name. A struct or union with a name has two:
/// itself, with its members, and what others see of it.
#[derive(Debug)]
pub struct Identities {
    /// Of the type itself.
    pub own: Vec<Identity>,
    /// What types that refer to it see, by id: void first, then these types, then those below them.
    seen: Vec<Seen>,
    /// The same of the int that indexes arrays, [`FILE_INT`], which is beyond all ids.
    int: Seen,
    /// Whether it is an array or has one.
    arrays: Vec<bool>,
    /// Some type leads back to itself without a struct, union or forward declaration with a name,
    /// or is nested too deep, or is an enum without name and values,
    /// or a name is given and empty.
    pub(super) unusual: bool,
}

/// What all references to a struct, union or enum of this name see, forward declarations included.
pub(super) fn tag(key: &Key, kind: TagKind, name: Identity) -> Identity {
    let mut row = key.tags.row(Identity::START);
    row.link(name);
    row.number(kind as u64);
    row.hash()
}

/// What references to nothing see.
fn void(key: &Key) -> Identity {
    key.tags.row(Identity::START).hash()
}

/// The int that indexes arrays, before it is known which type that is in this file.
pub(super) fn standard_int(key: &Key) -> Identity {
    const SIGNED_32: u32 = 1 << 24 | 32;
    let mut int = crate::btf::Types::new();
    int.push(&[1, info(Kind::Int, 0, false), 4, SIGNED_32]);
    let sketch = Sketch::of(&int, key, |_| Name::Text(b"int"));
    key.types[0].row(sketch.part(0)).hash()
}

/// Where the walk over references is.
#[derive(Default)]
struct Path {
    /// Types under way, the innermost last.
    open: Vec<u32>,
    /// Which have been tried once.
    tried: Vec<bool>,
}

impl Identities {
    /// Of the types of `sketch`. Cost: about 100 instructions a type and 30 a reference.
    pub fn of(sketch: &Sketch, key: &Key) -> Identities {
        Identities::over(sketch, key, &[])
    }

    /// The same of types that refer to others as well, whose ids follow theirs.
    pub(super) fn over(sketch: &Sketch, key: &Key, lower: &[Seen]) -> Identities {
        let len = sketch.len();
        let mut seen = vec![Seen::UNKNOWN; len + 1];
        seen[0] = Seen::leaf(void(key));
        seen.extend_from_slice(lower);
        let mut this = Identities {
            own: vec![Identity::NONE; len],
            seen,
            int: Seen::leaf(standard_int(key)),
            arrays: vec![false; len],
            unusual: sketch.empty_name,
        };
        for &(index, name) in sketch.tag_names() {
            if let Some(kind) = sketch.tag_kind(index as usize) {
                this.seen[index as usize + 1] = Seen::leaf(tag(key, kind, name));
            }
        }
        let mut path = Path::default();
        for index in 0..len {
            if this.own[index].is_none()
                && !this.settle(sketch, key, index)
                && !this.follow(sketch, key, index, &mut path)
            {
                this.unusual = true;
                break;
            }
        }
        this
    }

    /// Works the identity of a type out, if all is known that it refers to; tells whether.
    #[inline]
    fn settle(&mut self, sketch: &Sketch, key: &Key, index: usize) -> bool {
        let part = sketch.part(index);
        if part.is_none() {
            return true; // it has none
        }
        let seen = &mut self.seen[..];
        let links = sketch.links(index);
        let int = self.int;
        let all = links.iter().fold(0, |all, &id| {
            let seen = seen.get(id as usize).unwrap_or(&int);
            all | seen.shape.0
        });
        let all = Shape(all);
        if !all.is_known() {
            return false;
        }
        let (mut depth, mut array) = (all.depth(), all.has_array());
        match sketch.kind(index) {
            Some(Kind::Struct | Kind::Union | Kind::FuncProto) => depth += 1,
            Some(Kind::Array) => array = true,
            _ => {}
        }
        if depth > DEEP {
            return false;
        }
        let level = all.level_above();
        let Some(secrets) = key.types.get(level) else { return false };
        let hash = secrets.hash(part, links, |&id| seen.get(id as usize).unwrap_or(&int).identity);
        self.own[index] = hash;
        self.arrays[index] = array;
        if sketch.tag_kind(index).is_none() {
            self.unusual |= sketch.is_forward(index);
            seen[index + 1] = Seen { identity: hash, shape: Shape::of(level, depth, array) };
        }
        true
    }

    /// The same where it has to be preceded by what it refers to; `false` where that leads back to
    /// it, or too deep.
    #[cold]
    fn follow(&mut self, sketch: &Sketch, key: &Key, index: usize, path: &mut Path) -> bool {
        path.tried.resize(sketch.len(), false);
        path.open.push(index as u32);
        while let Some(&next) = path.open.last() {
            let next = next as usize;
            if !self.own[next].is_none() || self.settle(sketch, key, next) {
                path.open.pop();
                continue;
            }
            // What it refers to comes first; what is under way already never will.
            if std::mem::replace(&mut path.tried[next], true) {
                return false;
            }
            for &id in sketch.links(next) {
                if (1..=sketch.len() as u32).contains(&id)
                    && !self.seen[id as usize].shape.is_known()
                {
                    if path.tried[id as usize - 1] {
                        return false;
                    }
                    path.open.push(id - 1);
                }
            }
        }
        true
    }

    /// What types that refer to the one at `index` see.
    #[inline]
    pub(super) fn seen(&self, index: usize) -> Identity {
        self.seen[index + 1].identity
    }

    /// The same of all types, by id, void first.
    pub(super) fn into_seen(self) -> Vec<Seen> {
        self.seen
    }

    /// Whether the type at `index` is an array or contains one.
    #[inline]
    pub(super) fn has_array(&self, index: usize) -> bool {
        self.arrays[index]
    }
}

/// Identities where arrays count by their length alone; only types that contain one differ.
///
/// The exact engine's fallback compares no more of arrays. Worked out one by one, since they are
/// asked for of new types only.
pub(super) struct Loose<'a> {
    sketch: &'a Sketch,
    all: &'a Identities,
    key: &'a Key,
    /// Of the types below that differ, by their position; NONE of the others.
    lower: &'a [Identity],
    /// Those worked out, by position.
    known: Vec<Identity>,
}

impl<'a> Loose<'a> {
    pub fn new(
        sketch: &'a Sketch,
        all: &'a Identities,
        key: &'a Key,
        lower: &'a [Identity],
    ) -> Loose<'a> {
        Loose { sketch, all, key, lower, known: Vec::new() }
    }

    /// That of the type at `index`, which has an identity.
    pub fn get(&mut self, index: usize) -> Identity {
        if !self.all.has_array(index) {
            return self.all.own[index];
        }
        self.known.resize(self.sketch.len(), Identity::NONE);
        let mut path = vec![index as u32];
        while let Some(&next) = path.last() {
            let next = next as usize;
            if self.known[next] != Identity::NONE {
                path.pop();
                continue;
            }
            let open = path.len();
            if self.sketch.kind(next) != Some(Kind::Array) {
                let links = self.sketch.links(next).iter().copied();
                path.extend(links.filter(|&id| self.is_missing(id)).map(|id| id - 1));
            }
            if path.len() == open {
                self.known[next] = self.hash(next);
                path.pop();
            }
        }
        self.known[index]
    }

    fn is_missing(&self, id: u32) -> bool {
        self.is_own(id) && self.differs(id as usize - 1) && self.known[id as usize - 1].is_none()
    }

    fn is_own(&self, id: u32) -> bool {
        (1..=self.sketch.len() as u32).contains(&id)
    }

    /// Whether references to it see something else than usual.
    fn differs(&self, index: usize) -> bool {
        self.all.has_array(index) && self.sketch.tag_kind(index).is_none()
    }

    fn hash(&self, index: usize) -> Identity {
        let level: &Level = &self.key.loose;
        let part = self.sketch.part(index);
        if self.sketch.kind(index) == Some(Kind::Array) {
            return part;
        }
        level.hash(part, self.sketch.links(index), |&id| {
            let at = id as usize;
            let loose = match at.checked_sub(1) {
                Some(own) if self.is_own(id) && self.differs(own) => self.known[own],
                Some(_) if at > self.sketch.len() => {
                    self.lower.get(at - self.sketch.len() - 1).copied().unwrap_or_default()
                }
                _ => Identity::NONE,
            };
            let usual = || self.all.seen.get(at).unwrap_or(&self.all.int).identity;
            if loose.is_none() { usual() } else { loose }
        })
    }
}

/// Whether no two different arrays of the same length can be reached from the type at `index`.
///
/// Then the exact engine cannot mistake one for the other. Looks at a few types only.
pub(super) fn one_array_a_length(sketch: &Sketch, all: &Identities, index: usize) -> bool {
    /// Types that are looked at.
    const FEW: usize = 256;
    let mut reached = vec![index as u32];
    let mut arrays: Vec<(u32, Identity)> = Vec::new();
    let mut at = 0;
    while let Some(&next) = reached.get(at) {
        at += 1;
        let next = next as usize;
        match sketch.kind(next) {
            Some(Kind::Array) => {
                let (length, own) = (sketch.word(next), all.own[next]);
                if arrays.iter().any(|&(n, other)| n == length && other != own) {
                    return false;
                }
                arrays.push((length, own));
            }
            Some(Kind::Fwd) => return false,
            _ => {}
        }
        for &id in sketch.links(next) {
            if id != 0 && id != FILE_INT && !reached.contains(&(id - 1)) {
                reached.push(id - 1);
            }
        }
        if reached.len() > FEW {
            return false;
        }
    }
    true
}
