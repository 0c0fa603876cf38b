//! Sketches: the types of a unit, as far as telling them apart needs them.
//!
//! Of each type its kind, the hash of all that it says itself, and what it refers to. That is a
//! fifth of the type, and can be made while its DIEs are read, without ever writing it down: members
//! are added one by one, how many they are is said at the end. One made of DIEs and one made of types
//! that were written down are the same.

use super::hash::{Identity, Key, Name, Row};
use crate::btf::kind::Kind;
use crate::btf::types::{KFLAG, MAX_VLEN, info};
use crate::btf::{Type, Types};

/// In an ARRAY, the index type: "the int of this file", known only when CUs are appended.
pub const FILE_INT: u32 = u32::MAX;

/// What a type says itself.
#[derive(Clone, Copy, Debug)]
struct Outline {
    info: u32,
    /// A number for the name, 0 for none.
    name: u32,
    /// Its size; the length of an array; the third word of an INT.
    word: u32,
    /// Where its links begin.
    links: u32,
    /// The hash of all but its links.
    part: Identity,
}

/// The types of a unit, whose ids count from 1.
#[derive(Debug, Default)]
pub struct Sketch {
    outlines: Vec<Outline>,
    links: Vec<u32>,
    /// The hashes of the names of what is known by name, by position.
    names: Vec<(u32, Identity)>,
    /// A name is given and empty.
    pub(super) empty_name: bool,
}

/// What is left of a sketch when types have been told apart: what each refers to.
#[derive(Debug, Default)]
pub struct Links {
    links: Vec<u32>,
    /// Where those of each type begin.
    starts: Vec<u32>,
}

impl Links {
    /// Those of the type at `index`, in the order in which its words have them; none of what
    /// refers to nothing.
    pub fn of(&self, index: usize) -> &[u32] {
        let end = self.starts.get(index + 1).map_or(self.links.len(), |&start| start as usize);
        &self.links[self.starts[index] as usize..end]
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagKind {
    Struct,
    Union,
    Enum,
}

/// Head and size of a type.
#[derive(Clone, Copy, Debug)]
pub struct Heading {
    /// Kind, number of elements and flag, packed.
    pub info: u32,
    /// A number for the name, 0 for none.
    pub name: u32,
    /// Its size, where its kind has one.
    pub size: u32,
}

/// The hash of one part, which begins with the name. What tells how the elements are to be read is
/// known when all of them have been, and comes last.
#[inline(always)]
fn part<'k>(key: &'k Key, name: Option<Name<'_>>) -> Row<'k> {
    let mut row = key.parts.row(Identity::START);
    row.named(None, name);
    row
}

/// A struct, union, ENUM or FUNC_PROTO that is being added.
pub struct Adding<'s, 'k> {
    sketch: &'s mut Sketch,
    part: Row<'k>,
    /// Where its links begin.
    first: u32,
}

impl Adding<'_, '_> {
    /// Adds a member: its name, its type, and where it stands.
    #[inline(always)]
    pub fn member(&mut self, name: Option<Name<'_>>, ty: u32, at: u32) {
        self.part.named(Some(at), name);
        self.sketch.links.push(ty);
    }

    /// Adds a parameter: its name and its type.
    #[inline(always)]
    pub fn param(&mut self, name: Option<Name<'_>>, ty: u32) {
        self.part.named(None, name);
        self.sketch.links.push(ty);
    }

    /// Adds a value: its name, and its 32 bits.
    #[inline(always)]
    pub fn value(&mut self, name: Option<Name<'_>>, value: u32) {
        self.part.named(Some(value), name);
    }

    /// That was all of them; `heading` is that of the whole.
    #[inline]
    pub fn finish(self, heading: Heading) {
        self.sketch.push_from(self.first, self.part, heading, heading.size);
    }

    /// Forgets it.
    #[inline]
    pub fn forget(self) {
        let index = self.sketch.outlines.len() as u32;
        self.sketch.names.pop_if(|&mut (at, _)| at == index);
        self.sketch.links.truncate(self.first as usize);
    }
}

impl Sketch {
    /// Of types that are written down; `name` tells what a number names.
    pub fn of<'t>(types: &Types, key: &Key, mut name: impl FnMut(u32) -> Name<'t>) -> Sketch {
        let mut sketch = Sketch::with_capacity(types.len(), types.words().len() / 4);
        for ty in types.iter() {
            sketch.add(key, ty, &mut name);
        }
        sketch
    }

    /// No types, and room for some.
    pub fn with_capacity(types: usize, links: usize) -> Sketch {
        Sketch {
            outlines: Vec::with_capacity(types),
            links: Vec::with_capacity(links),
            ..Sketch::default()
        }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of_val(&self.outlines[..])
            + size_of_val(&self.links[..])
            + size_of_val(&self.names[..])
    }

    /// Number of types.
    pub fn len(&self) -> usize {
        self.outlines.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.outlines.is_empty()
    }

    /// Adds a type that is written down.
    pub fn add<'t>(&mut self, key: &Key, ty: Type<'_>, mut name: impl FnMut(u32) -> Name<'t>) {
        let w = ty.0;
        let refers = ty.kind().is_some_and(|kind| kind.shape().refers);
        let heading = Heading { info: w[1], name: w[0], size: if refers { 0 } else { w[2] } };
        let mut name = |number| (number != 0).then(|| name(number));
        let own = name(heading.name);
        match ty.kind() {
            Some(Kind::Struct | Kind::Union) => {
                let mut adding = self.composite(key, own);
                for &[member, ty, at] in ty.payload().as_chunks::<3>().0 {
                    adding.member(name(member), ty, at);
                }
                adding.finish(heading);
            }
            Some(Kind::FuncProto) => {
                let mut adding = self.prototype(key, w[2]);
                for &[param, ty] in ty.payload().as_chunks::<2>().0 {
                    adding.param(name(param), ty);
                }
                adding.finish(heading);
            }
            Some(Kind::Array) => {
                let mut part = part(key, own);
                part.number(w[5].into());
                self.push(part, heading, w[5]);
                self.links.extend([w[3], w[4]]);
            }
            Some(Kind::Enum | Kind::Enum64) => {
                let mut part = self.tagged(key, own);
                for v in ty.elements() {
                    part.named(Some(v[1]), name(v[0]));
                    v[2..].iter().for_each(|&word| part.number(word.into()));
                }
                self.push(part, heading, heading.size);
            }
            Some(Kind::Int) => {
                let mut part = part(key, own);
                part.number(w[3].into());
                self.push(part, heading, w[3]);
            }
            Some(Kind::Fwd) => {
                let part = self.tagged(key, own);
                self.push(part, heading, heading.size);
            }
            Some(Kind::Float) => self.push(part(key, own), heading, heading.size),
            Some(Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::Void) | None => {
                // They stand at the end of a file, are few, and are not told by identity.
                let (links, part) = (self.links.len() as u32, Identity::NONE);
                let Heading { info, name, size: word } = heading;
                self.outlines.push(Outline { info, name, word, links, part });
            }
            Some(_) => self.reference(key, heading, own, w[2]),
        }
    }

    /// Adds a pointer or qualifier without flags: what it refers to is all it says.
    #[inline(always)]
    pub fn bare(&mut self, key: &Key, kind: Kind, ty: u32) {
        let (links, part) = (self.links.len() as u32, key.bare[kind as usize]);
        self.outlines.push(Outline { info: info(kind, 0, false), name: 0, word: 0, links, part });
        self.links.push(ty);
    }

    /// Adds a pointer, qualifier, typedef or type tag.
    #[inline]
    pub fn reference(&mut self, key: &Key, heading: Heading, name: Option<Name<'_>>, ty: u32) {
        match key.bare(heading.info).filter(|_| name.is_none()) {
            // Most are pointers, and what they refer to is all they say.
            Some(part) => {
                let (Heading { info, name, .. }, links) = (heading, self.links.len() as u32);
                self.outlines.push(Outline { info, name, word: 0, links, part });
            }
            None => self.push(part(key, name), heading, 0),
        }
        self.links.push(ty);
    }

    /// Begins a struct, union or ENUM, whose members or values follow.
    #[inline(always)]
    pub fn composite<'s, 'k>(&'s mut self, key: &'k Key, name: Option<Name<'_>>) -> Adding<'s, 'k> {
        let (first, part) = (self.links.len() as u32, self.tagged(key, name));
        Adding { sketch: self, part, first }
    }

    /// Begins the part of what counts by its name, where it has one.
    #[inline(always)]
    fn tagged<'k>(&mut self, key: &'k Key, name: Option<Name<'_>>) -> Row<'k> {
        let part = part(key, name);
        if name.is_some() {
            self.names.push((self.outlines.len() as u32, part.hash()));
        }
        part
    }

    /// Begins a FUNC_PROTO; of each parameter its name and its type follow.
    #[inline(always)]
    pub fn prototype<'s, 'k>(&'s mut self, key: &'k Key, result: u32) -> Adding<'s, 'k> {
        let first = self.links.len() as u32;
        self.links.push(result);
        Adding { sketch: self, part: part(key, None), first }
    }

    #[inline]
    fn push(&mut self, part: Row<'_>, heading: Heading, word: u32) {
        self.push_from(self.links.len() as u32, part, heading, word);
    }

    #[inline(always)]
    fn push_from(&mut self, links: u32, part: Row<'_>, heading: Heading, word: u32) {
        let Heading { info, name, size } = heading;
        self.empty_name |= part.has_empty_name();
        let part = part.hash_with(info, size);
        self.outlines.push(Outline { info, name, word, links, part });
    }

    /// The kind of the type at `index`.
    #[inline]
    pub fn kind(&self, index: usize) -> Option<Kind> {
        Kind::from_u32(self.outlines[index].info >> 24 & 0x7f)
    }

    /// Its kind, number of elements and flag, packed.
    pub fn info(&self, index: usize) -> u32 {
        self.outlines[index].info
    }

    /// The number of its name, 0 for none.
    pub fn name(&self, index: usize) -> u32 {
        self.outlines[index].name
    }

    /// Its size; the length of an array; what an INT says of its bits.
    pub fn word(&self, index: usize) -> u32 {
        self.outlines[index].word
    }

    /// The hash of what it says itself; [`Identity::NONE`] of what has no identity.
    #[inline]
    pub(super) fn part(&self, index: usize) -> Identity {
        self.outlines[index].part
    }

    /// The types that it refers to: 0 for void, or [`FILE_INT`].
    #[inline]
    pub fn links(&self, index: usize) -> &[u32] {
        let end = self.outlines.get(index + 1).map_or(self.links.len(), |o| o.links as usize);
        &self.links[self.outlines[index].links as usize..end]
    }

    /// All references, to be replaced where they are not ids yet.
    pub fn all_links(&mut self) -> &mut [u32] {
        &mut self.links
    }

    /// What each type refers to, and nothing else.
    pub fn into_links(mut self) -> Links {
        self.links.shrink_to_fit();
        Links { starts: self.outlines.iter().map(|o| o.links).collect(), links: self.links }
    }

    /// What a type counts as by its name alone, where it does.
    #[inline]
    pub(super) fn tag_kind(&self, index: usize) -> Option<TagKind> {
        let Outline { info, name, .. } = self.outlines[index];
        if name == 0 { None } else { tag_kind_of(info) }
    }

    /// The positions of the types that count by their names, and the hashes of these.
    pub(super) fn tag_names(&self) -> &[(u32, Identity)] {
        &self.names
    }

    /// The hash of the name of a type that counts by it.
    pub(super) fn tag_name(&self, index: usize) -> Identity {
        let found = self.names.binary_search_by_key(&(index as u32), |&(at, _)| at);
        found.map_or(Identity::NONE, |at| self.names[at].1)
    }

    /// Whether it only declares what another type defines.
    #[inline]
    pub(super) fn is_forward(&self, index: usize) -> bool {
        is_forward(self.outlines[index].info)
    }
}

/// Whether a type with this kind and number of elements only declares what another defines.
#[inline]
pub fn is_forward(info: u32) -> bool {
    match Kind::from_u32(info >> 24 & 0x7f) {
        Some(Kind::Fwd) => true,
        Some(Kind::Enum | Kind::Enum64) => info & MAX_VLEN == 0,
        _ => false,
    }
}

/// What a type of this kind counts as, if it has a name.
#[inline]
pub(super) fn tag_kind_of(info: u32) -> Option<TagKind> {
    match Kind::from_u32(info >> 24 & 0x7f) {
        Some(Kind::Struct) => Some(TagKind::Struct),
        Some(Kind::Union) => Some(TagKind::Union),
        Some(Kind::Fwd) if info & KFLAG != 0 => Some(TagKind::Union),
        Some(Kind::Fwd) => Some(TagKind::Struct),
        Some(Kind::Enum | Kind::Enum64) => Some(TagKind::Enum),
        _ => None,
    }
}
