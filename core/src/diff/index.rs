//! Where the named types of a layer are, what is attached to them, and where its variables lie.
//!
//! Built once a layer: for a kernel's base a few milliseconds and 16 bytes a named type; kept with the
//! warm base and shared. A split layer's own index costs a pass over its types.

use crate::btf::layers::{Layers, payload};
use crate::btf::{Btf, Kind, strings};

/// What a name belongs to. Two types of one class and name are versions of the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Class {
    Struct,
    Union,
    Enum,
    Func,
    Var,
    Typedef,
    Int,
    Float,
}

impl Class {
    /// The class of the things that a kind defines; forward declarations and unnamed kinds have none.
    pub fn of(kind: Kind) -> Option<Class> {
        Some(match kind {
            Kind::Struct => Class::Struct,
            Kind::Union => Class::Union,
            Kind::Enum | Kind::Enum64 => Class::Enum,
            Kind::Func => Class::Func,
            Kind::Var => Class::Var,
            Kind::Typedef => Class::Typedef,
            Kind::Int => Class::Int,
            Kind::Float => Class::Float,
            _ => return None,
        })
    }

    /// The class of this word.
    pub fn from_word(word: &str) -> Option<Class> {
        use Class::*;
        let all = [Struct, Union, Enum, Func, Var, Typedef, Int, Float];
        all.into_iter().find(|class| class.word() == word)
    }

    /// `struct`, `union`, `enum`, `func`, `var`, `typedef`, `int`, `float`.
    pub fn word(self) -> &'static str {
        match self {
            Class::Struct => "struct",
            Class::Union => "union",
            Class::Enum => "enum",
            Class::Func => "func",
            Class::Var => "var",
            Class::Typedef => "typedef",
            Class::Int => "int",
            Class::Float => "float",
        }
    }

    /// Struct, union or enum: may stand without a name.
    pub fn has_body(self) -> bool {
        matches!(self, Class::Struct | Class::Union | Class::Enum)
    }
}

/// Where a variable lies in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub section: u32,
    pub offset: u32,
    pub size: u32,
}

/// The named things of one layer.
#[derive(Debug, Default)]
pub struct Index {
    /// Hash of class and name, and id; sorted.
    names: Vec<(u32, u32)>,
    /// Declaration tags by what they are attached to; sorted.
    tags: Vec<(u32, u32)>,
    /// Variables by id; sorted.
    places: Vec<(u32, Place)>,
}

fn key(class: Class, name: &[u8]) -> u32 {
    strings::hash(name).wrapping_add((class as u64) << 29) as u32
}

impl Index {
    /// The index of `layer`, which continues `below`.
    pub fn new(layer: &Btf, below: Option<&Btf>) -> Index {
        let mut index = Index::attached(layer);
        for (id, ty) in (layer.first_id..).zip(layer.types.iter()) {
            if ty.name() != 0
                && let Some(class) = ty.kind().and_then(Class::of)
            {
                index.names.push((key(class, layer.string(below, ty.name())), id));
            }
        }
        index.names.sort_unstable();
        index
    }

    /// Only what is attached to types, and where variables lie: nothing is found by name.
    pub(super) fn attached(layer: &Btf) -> Index {
        let mut index = Index::default();
        for (id, ty) in (layer.first_id..).zip(layer.types.iter()) {
            match ty.kind() {
                Some(Kind::DeclTag) => index.tags.push((ty.size_or_type(), id)),
                Some(Kind::Datasec) => index.places.extend(
                    ty.elements()
                        .map(|e| (e[0], Place { section: ty.name(), offset: e[1], size: e[2] })),
                ),
                _ => {}
            }
        }
        index.tags.sort_unstable();
        index.places.sort_unstable_by_key(|&(id, place)| (id, place.section, place.offset));
        index
    }

    /// The ids of this name in the layer, in order.
    pub(super) fn find<'s>(
        &'s self,
        layers: Layers<'s>,
        class: Class,
        name: &'s [u8],
    ) -> impl Iterator<Item = u32> + 's {
        let key = key(class, name);
        let from = self.names.partition_point(|&(k, _)| k < key);
        self.names[from..].iter().take_while(move |&&(k, _)| k == key).map(|&(_, id)| id).filter(
            move |&id| {
                layers.get(id).is_some_and(|ty| {
                    ty.kind().and_then(Class::of) == Some(class) && layers.string(ty.name()) == name
                })
            },
        )
    }

    /// The tags on `target`: ids of DECL_TAGs.
    pub(super) fn tags(&self, target: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.tags.partition_point(|&(id, _)| id < target);
        self.tags[from..].iter().take_while(move |&&(id, _)| id == target).map(|&(_, tag)| tag)
    }

    /// Where a variable lies.
    pub(super) fn place(&self, var: u32) -> Option<Place> {
        let at = self.places.binary_search_by_key(&var, |&(id, _)| id).ok()?;
        self.places.get(at).map(|&(_, place)| place)
    }
}

/// One graph: a layer, what it stands on, and where things are in both.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub layers: Layers<'a>,
    top: &'a Index,
    base: Option<&'a Index>,
}

/// A declaration tag: the member or parameter that it is on (empty: the whole), whether it is an
/// attribute, and its text.
pub(super) type Tag<'a> = (String, bool, &'a [u8]);

impl<'a> Side<'a> {
    pub fn new(layers: Layers<'a>, top: &'a Index, base: Option<&'a Index>) -> Side<'a> {
        Side { layers, top, base }
    }

    /// Whether the type is the upper layer's own.
    pub fn owns(self, id: u32) -> bool {
        id >= self.layers.first_id()
    }

    pub fn name(self, id: u32) -> &'a [u8] {
        self.layers.get(id).map_or(&[], |ty| self.layers.string(ty.name()))
    }

    /// Things of this name in the upper layer, where its index has names.
    pub fn own<'s>(self, class: Class, name: &'s [u8]) -> impl Iterator<Item = u32> + 's
    where
        'a: 's,
    {
        self.top.find(self.layers, class, name)
    }

    /// What a chain of typedefs and qualifiers ends in.
    pub fn behind(self, mut id: u32) -> u32 {
        for _ in 0..200 {
            match self.layers.get(id) {
                Some(ty) if self.layers.kind(id).is_modifier() => id = ty.size_or_type(),
                _ => break,
            }
        }
        id
    }

    /// Things of this name in the layer below.
    pub fn below<'s>(self, class: Class, name: &'s [u8]) -> impl Iterator<Item = u32> + 's
    where
        'a: 's,
    {
        self.base.into_iter().flat_map(move |base| base.find(self.layers, class, name))
    }

    /// The tags on a type, sorted.
    pub fn tags(self, id: u32) -> Vec<Tag<'a>> {
        let base = self.base.into_iter().flat_map(move |base| base.tags(id));
        let mut tags: Vec<Tag<'a>> = base
            .chain(self.top.tags(id))
            .filter_map(|tag| self.layers.get(tag))
            .map(|ty| {
                let component = self.component(id, payload(ty, 0));
                (component, ty.kflag(), self.layers.string(ty.name()))
            })
            .collect();
        tags.sort_unstable();
        tags
    }

    /// The name of a member or parameter, by its index.
    fn component(self, id: u32, index: u32) -> String {
        if index == u32::MAX {
            return String::new();
        }
        let of = match self.layers.get(id) {
            Some(ty) if ty.kind() == Some(Kind::Func) => self.layers.get(ty.size_or_type()),
            other => other,
        };
        let named = of.filter(|ty| {
            ty.kind().is_some_and(|kind| kind.is_composite() || kind == Kind::FuncProto)
        });
        match named.and_then(|ty| ty.elements().nth(index as usize)) {
            Some(element) if element[0] != 0 => self.layers.text(element[0]).into_owned(),
            _ => format!("#{}", u64::from(index) + 1),
        }
    }

    /// Where a variable lies: section, offset, size.
    pub fn place(self, var: u32) -> Option<(&'a [u8], u32, u32)> {
        let base = self.base.and_then(|base| base.place(var));
        let place = self.top.place(var).or(base)?;
        Some((self.layers.string(place.section), place.offset, place.size))
    }
}
