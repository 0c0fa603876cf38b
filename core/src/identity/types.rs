//! The identities of the types of one unit.

use super::hash::{Identity, Key, Level, Name};
use super::sketch::{FILE_INT, Sketch};
use crate::btf::Kind;
use crate::btf::kind::KINDS;
use crate::btf::types::info;

/// Nesting from which on a comparison of copies is not sure to see the end: see the fallback of
/// the exact engine, which looks 16 aggregates deep.
pub(super) const DEEP: u8 = 12;

/// What a type's own part of the graph is like: up to structs, unions and enums with a name.
///
/// As many bits as there are references after each other, as many as there are aggregates within
/// each other, and two more, so that what several types have together is one operation a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape(u64);

impl Shape {
    /// Of a type whose identity is not known.
    const UNKNOWN: Shape = Shape(1 << 63);
    /// The same, while it is being worked out.
    const OPEN: Shape = Shape(1 << 63 | 1 << 62);
    /// It is an array or has one.
    const ARRAY: u64 = 1 << 61;
    /// Of what refers to nothing.
    const LEAF: Shape = Shape(1);
    /// The bits of references.
    const LEVELS: u64 = (1 << DEPTH) - 1;
    /// The bits of aggregates, from here on.
    const DEPTHS: u64 = ((1 << (DEEP + 1)) - 1) << DEPTH;
    /// Set where there are too many.
    const TOO_DEEP: u64 = 1 << DEPTH << DEEP;

    #[inline]
    fn is_known(self) -> bool {
        self.0 & Shape::UNKNOWN.0 == 0
    }

    #[inline]
    fn has_array(self) -> bool {
        self.0 & Shape::ARRAY != 0
    }

    #[inline]
    fn is_too_deep(self) -> bool {
        self.0 & Shape::TOO_DEEP != 0
    }

    /// How many references after each other lead out of a type that refers to types of this shape.
    #[inline]
    fn level_above(self) -> usize {
        self.0.trailing_ones() as usize
    }

    /// The shape of a type that refers to types of this shape.
    #[inline]
    fn above(self, kind: &Growth) -> Shape {
        Shape((self.0 + (self.0 & kind.longer)) | kind.more)
    }
}

/// The lowest bit of aggregates in a [`Shape`].
const DEPTH: u32 = 40;

/// What types of one kind add to the shapes of what they refer to.
#[derive(Clone, Copy)]
struct Growth {
    /// The rows of bits that become longer by one.
    longer: u64,
    /// The first bits of these, and what else there is.
    more: u64,
}

/// By kind.
static GROWTHS: [Growth; KINDS] = {
    let reference = Growth { longer: Shape::LEVELS, more: 1 };
    let proto = Growth { longer: Shape::LEVELS | Shape::DEPTHS, more: 1 | 1 << DEPTH };
    let mut all = [reference; KINDS];
    all[Kind::Array as usize].more |= Shape::ARRAY;
    all[Kind::FuncProto as usize] = proto;
    all[Kind::Struct as usize] = proto;
    all[Kind::Union as usize] = proto;
    all
};

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

/// The int that indexes arrays, before it is known which type that is in this file.
pub(super) fn standard_int(key: &Key) -> Identity {
    const SIGNED_32: u32 = 1 << 24 | 32;
    let mut int = crate::btf::Types::new();
    int.push(&[1, info(Kind::Int, 0, false), 4, SIGNED_32]);
    let sketch = Sketch::of(&int, key, |_| Name::Text(b"int"));
    key.types[0].row(sketch.part(0)).hash()
}

/// A type on the way, whose references are gone through in their order.
#[derive(Clone, Copy)]
struct Open {
    index: u32,
    /// How many of them are known.
    done: u32,
    /// What those are like together.
    all: Shape,
}

impl Identities {
    /// Of the types of `sketch`. Cost: about 180 instructions a type and 30 a reference.
    pub fn of(sketch: &Sketch, key: &Key) -> Identities {
        Identities::over(sketch, key, &[])
    }

    /// The same of types that refer to others as well, whose ids follow theirs.
    pub(super) fn over(sketch: &Sketch, key: &Key, lower: &[Seen]) -> Identities {
        let len = sketch.len();
        let mut seen = vec![Seen::UNKNOWN; len + 1];
        seen[0] = Seen::leaf(Identity::START);
        seen.extend_from_slice(lower);
        let mut this = Identities {
            own: Vec::new(),
            seen,
            int: Seen::leaf(standard_int(key)),
            arrays: vec![false; len],
            unusual: sketch.empty_name,
        };
        for &(index, name) in sketch.tag_names() {
            if let Some(kind) = sketch.tag_kind(index as usize) {
                // Forward declarations are seen as the same.
                this.seen[index as usize + 1] = Seen::leaf(key.tag(kind, name));
            }
        }
        let settled = this.settle(sketch, key);
        // Only those with a name are seen as something else than they are.
        this.own = this.seen[1..=len].iter().map(|seen| seen.identity).collect();
        let named = if settled { this.settle_named(sketch, key) } else { 0 };
        let unsettled = &sketch.tag_names()[named..];
        for &(index, _) in unsettled {
            this.own[index as usize] = Identity::NONE;
        }
        this.unusual |= !settled || !unsettled.is_empty();
        this
    }

    /// Bytes that they take.
    pub fn size(&self) -> usize {
        size_of_val(&self.own[..]) + size_of_val(&self.seen[..]) + size_of_val(&self.arrays[..])
    }

    /// What references to this id see.
    #[inline(always)]
    fn see(&self, id: u32) -> &Seen {
        self.seen.get(id as usize).unwrap_or(&self.int)
    }

    /// Works out what references see of all types that are not known by name, of each first what it
    /// refers to itself; `false` where that leads back to it, or too deep.
    // Not in line: what it needs again and again is to stay in registers.
    #[inline(never)]
    fn settle(&mut self, sketch: &Sketch, key: &Key) -> bool {
        let mut open: Vec<Open> = Vec::new();
        for root in 0..sketch.len() {
            if self.seen[root + 1].shape != Shape::UNKNOWN || sketch.part(root).is_none() {
                continue; // it is known already, or never
            }
            let mut at = Open { index: root as u32, done: 0, all: Shape(0) };
            loop {
                let index = at.index as usize;
                let links = sketch.links(index);
                if let Some(id) = self.missing(links, &mut at) {
                    // What is under way already never will be known, nor what has no identity.
                    let next = (id as usize).wrapping_sub(1);
                    if next >= sketch.len()
                        || sketch.part(next).is_none()
                        || self.see(id).shape == Shape::OPEN
                    {
                        return false;
                    }
                    self.seen[index + 1].shape = Shape::OPEN;
                    open.push(at);
                    at = Open { index: next as u32, done: 0, all: Shape(0) };
                    continue;
                }
                let Some(seen) = self.hash(sketch, key, index, links, at.all) else { return false };
                self.seen[index + 1] = seen;
                if seen.shape.has_array() {
                    self.arrays[index] = true;
                }
                if links.is_empty() {
                    self.unusual |= sketch.is_forward(index);
                }
                let Some(last) = open.pop() else { break };
                at = last;
            }
        }
        true
    }

    /// Works out the identities of those that are known by name, once all others are; tells of how
    /// many: not of one that is nested too deep or refers to what has none, and those that follow.
    #[inline(never)]
    fn settle_named(&mut self, sketch: &Sketch, key: &Key) -> usize {
        for (number, &(index, _)) in sketch.tag_names().iter().enumerate() {
            let index = index as usize;
            let links = sketch.links(index);
            let all = links.iter().fold(0, |all, &id| all | self.see(id).shape.0);
            if !Shape(all).is_known() {
                return number;
            }
            let Some(itself) = self.hash(sketch, key, index, links, Shape(all)) else {
                return number;
            };
            self.own[index] = itself.identity;
            if itself.shape.has_array() {
                self.arrays[index] = true;
            }
        }
        sketch.tag_names().len()
    }

    /// The first of these references whose identity is not known, from where `at` is.
    #[inline(always)]
    fn missing(&self, links: &[u32], at: &mut Open) -> Option<u32> {
        while let Some(&id) = links.get(at.done as usize) {
            let shape = self.see(id).shape;
            if !shape.is_known() {
                return Some(id);
            }
            at.all.0 |= shape.0;
            at.done += 1;
        }
        None
    }

    /// The identity and shape of a type whose references are all known and are of these shapes;
    /// `None` where it is nested too deep.
    #[inline(always)]
    fn hash(
        &self,
        sketch: &Sketch,
        key: &Key,
        index: usize,
        links: &[u32],
        all: Shape,
    ) -> Option<Seen> {
        let shape = all.above(&GROWTHS[sketch.kind(index)? as usize]);
        let secrets = key.types.get(all.level_above())?;
        if shape.is_too_deep() {
            return None;
        }
        let part = sketch.part(index);
        let identity = match *links {
            [id] => {
                let mut row = secrets.row(part);
                row.link(self.see(id).identity);
                row.hash()
            }
            _ => secrets.hash(part, links, |&id| self.see(id).identity),
        };
        Some(Seen { identity, shape })
    }

    /// What types that refer to the one at `index` see.
    #[inline]
    pub(super) fn seen(&self, index: usize) -> Identity {
        self.seen[index + 1].identity
    }

    /// The identities of all types by position, and what is seen of them by id, void first.
    pub(super) fn into_parts(self) -> (Vec<Identity>, Vec<Seen>) {
        (self.own, self.seen)
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
