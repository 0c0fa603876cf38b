//! Names that C can tell apart.
//!
//! BTF may hold several types of one name, C one per name space. The first to be printed keeps its
//! name, the next ones get `___2`, `___3` and so on, counted in the order of printing. Tags (struct,
//! union, enum) are one name space, typedefs and enumerators the other. A declaration without a
//! body takes no number: it and the definition of its name are one type to C.

use crate::btf::layers::Layers;
use crate::btf::{Kind, Type};
use std::borrow::Cow;
use std::collections::HashMap;

/// Hands out names.
pub(super) struct Names<'a> {
    layers: Layers<'a>,
    /// The number that each type has got, 0 for none yet.
    given: Vec<u32>,
    tags: HashMap<&'a [u8], Tag>,
    identifiers: HashMap<&'a [u8], u32>,
}

/// What a name stands for as a tag.
struct Tag {
    word: &'static str,
    /// How many definitions have it.
    count: u32,
}

/// The word before the tag: `struct`, `union` or `enum`.
pub(super) fn word(ty: Type<'_>) -> &'static str {
    match (ty.kind(), ty.kflag()) {
        (Some(Kind::Union), _) | (Some(Kind::Fwd), true) => "union",
        (Some(Kind::Enum | Kind::Enum64), _) => "enum",
        _ => "struct",
    }
}

impl<'a> Names<'a> {
    pub fn new(layers: Layers<'a>) -> Names<'a> {
        Names {
            layers,
            given: vec![0; layers.next_id() as usize],
            tags: HashMap::new(),
            identifiers: HashMap::new(),
        }
    }

    /// The tag of a struct, union, enum or forward declaration; empty for an anonymous one.
    pub fn tag(&mut self, id: u32, ty: Type<'a>) -> Cow<'a, str> {
        let tags = &mut self.tags;
        Self::of_type(self.layers, &mut self.given, id, ty, |name| {
            let word = word(ty);
            let bodiless = match ty.kind() {
                Some(Kind::Fwd) => true,
                Some(kind) => kind.is_enum() && ty.vlen() == 0,
                None => false,
            };
            let tag = tags.entry(name).or_insert(Tag { word, count: 0 });
            match (tag.word == word, bodiless) {
                (true, true) => return 1,
                // The name is one of another sort already.
                (false, _) => tag.count = tag.count.max(1) + 1,
                (true, false) => tag.count += 1,
            }
            tag.count
        })
    }

    /// The name of a typedef.
    pub fn typedef(&mut self, id: u32, ty: Type<'a>) -> Cow<'a, str> {
        let identifiers = &mut self.identifiers;
        Self::of_type(self.layers, &mut self.given, id, ty, |name| next(identifiers, name))
    }

    /// A name for an enumerator; each call is another one.
    pub fn enumerator(&mut self, offset: u32) -> Cow<'a, str> {
        let name = self.layers.string(offset);
        numbered(name, next(&mut self.identifiers, name))
    }

    fn of_type(
        layers: Layers<'a>,
        given: &mut [u32],
        id: u32,
        ty: Type<'a>,
        number: impl FnOnce(&'a [u8]) -> u32,
    ) -> Cow<'a, str> {
        let name = layers.string(ty.name());
        let Some(given) = given.get_mut(id as usize).filter(|_| !name.is_empty()) else {
            return Cow::Borrowed("");
        };
        if *given == 0 {
            *given = number(name);
        }
        numbered(name, *given)
    }
}

fn next<'a>(space: &mut HashMap<&'a [u8], u32>, name: &'a [u8]) -> u32 {
    let count = space.entry(name).or_default();
    *count += 1;
    *count
}

fn numbered(name: &[u8], number: u32) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(name);
    if number > 1 { Cow::Owned(format!("{text}___{number}")) } else { text }
}
