//! Names that C can tell apart.
//!
//! BTF may hold several types of one name, C one per name space. The first to be printed keeps its
//! name, the next ones get `___2`, `___3` and so on, counted in the order of printing. Tags (struct,
//! union, enum) are one name space, typedefs and enumerators the other.

use crate::btf::Type;
use crate::btf::layers::Layers;
use std::borrow::Cow;
use std::collections::HashMap;

/// Hands out names.
pub(super) struct Names<'a> {
    layers: Layers<'a>,
    /// The number that each type has got, 0 for none yet.
    given: Vec<u32>,
    tags: HashMap<&'a [u8], u32>,
    identifiers: HashMap<&'a [u8], u32>,
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
        Self::of_type(self.layers, &mut self.given, &mut self.tags, id, ty)
    }

    /// The name of a typedef.
    pub fn typedef(&mut self, id: u32, ty: Type<'a>) -> Cow<'a, str> {
        Self::of_type(self.layers, &mut self.given, &mut self.identifiers, id, ty)
    }

    /// A name for an enumerator; each call is another one.
    pub fn enumerator(&mut self, offset: u32) -> Cow<'a, str> {
        let name = self.layers.string(offset);
        numbered(name, next(&mut self.identifiers, name))
    }

    fn of_type(
        layers: Layers<'a>,
        given: &mut [u32],
        space: &mut HashMap<&'a [u8], u32>,
        id: u32,
        ty: Type<'a>,
    ) -> Cow<'a, str> {
        let name = layers.string(ty.name());
        let Some(number) = given.get_mut(id as usize).filter(|_| !name.is_empty()) else {
            return Cow::Borrowed("");
        };
        if *number == 0 {
            *number = next(space, name);
        }
        numbered(name, *number)
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
