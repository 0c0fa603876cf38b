//! The base that a split layer needs, cut down to what finds its types again in another base.
//!
//! A *distilled base* holds the named types of the base that the split layer reaches: integers,
//! floats and forward declarations as they are, structs and unions with their size but without
//! members, enums (of both kinds) with their size but without values. What has no name of its own
//! (arrays, pointers, qualifiers, prototypes, type tags, anonymous aggregates and enums), and
//! typedefs, move behind the split layer's own types. Named structs and unions end the search: what
//! they contain is not needed. Functions, variables, sections and declaration tags of the base
//! cannot be distilled.
//!
//! The result is libbpf's, with one exception. libbpf tells whether it fills the base or the split
//! layer by the first id, which is 1 for both when the distilled base is empty; it then drops the
//! nameless types and leaves references to them that mean nothing. Here they stay.
//!
//! Cost: one pass over the split layer and what it reaches; no recursion.

use super::strings::{Interner, StringIndex};
use super::types::{info, map_ids, map_names};
use super::{Btf, Kind, Type, Types};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use thiserror::Error;

/// Why there is no distilled base.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DistillError {
    /// The layer stands alone.
    #[error("it stands on no base")]
    Alone,
    /// It relies on something that a distilled base has no place for.
    #[error("[{from}] refers to {kind} {name:?} [{id}] of the base, which cannot be distilled")]
    Reference {
        /// The type that refers.
        from: u32,
        /// What it refers to.
        id: u32,
        /// The kind of that.
        kind: String,
        /// The name of that.
        name: String,
    },
    /// A type of a kind that this crate does not know: what it refers to is unknown too.
    #[error("[{id}] is of the unknown kind {kind}")]
    Kind {
        /// The type.
        id: u32,
        /// The number of its kind.
        kind: u32,
    },
    /// The names that it needs, one by one, are more than a section of strings holds.
    #[error("its names are too long to be written out")]
    Names,
    /// An enum that no base could hold.
    #[error("enum {name:?} [{id}] of the base has {size} bytes, expected 1, 2, 4 or 8")]
    EnumSize {
        /// The enum.
        id: u32,
        /// Its name.
        name: String,
        /// Its size.
        size: u32,
    },
}

impl DistillError {
    /// The errno that libbpf has for it.
    pub fn errno_name(&self) -> &'static str {
        "EINVAL"
    }
}

/// A distilled base, and the layer that stands on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distilled {
    /// What `.BTF.base` holds.
    pub base: Btf,
    /// What `.BTF` holds.
    pub split: Btf,
}

/// Rewrites `split`, which stands on `base`, onto a distilled base. Both stay as they are.
pub fn distill(split: &Btf, base: &Btf) -> Result<Distilled, DistillError> {
    if split.first_string == 0 {
        return Err(DistillError::Alone);
    }
    let needed = reached(split, base)?;
    let mut new_ids = vec![0; base.next_id() as usize];

    let mut low = Growing::new(base, Interner::new(None));
    for &id in &needed {
        let ty = base.types.get((id - 1) as usize);
        let at = low.types.len() as u32 + 1;
        match named_form(id, ty, base)? {
            None => continue,
            Some(Form::Whole) => low.copy(ty, split),
            Some(Form::Sized(kind)) => {
                let name = low.strings.intern(base.string(None, ty.name()));
                low.types.push(&[name, info(kind, 0, false), ty.size_or_type()]);
            }
        }
        new_ids[id as usize] = at;
    }
    // Kinds without references, but for the word of a forward declaration, which has to be 0.
    let Growing { mut types, strings, .. } = low;
    (0..types.len()).for_each(|at| map_ids(types.get_mut(at), |_| 0));
    if strings.is_full() {
        return Err(DistillError::Names);
    }
    let distilled = Btf {
        endian: split.endian,
        first_id: 1,
        first_string: 0,
        types,
        strings: strings.into_bytes(),
    };

    let index = StringIndex::new(&distilled.strings);
    let mut high = Growing::new(base, Interner::new(Some((&index, &distilled.strings))));
    for ty in split.types.iter() {
        high.copy(ty, split);
    }
    let first_id = distilled.next_id();
    for &id in &needed {
        if new_ids[id as usize] == 0 {
            new_ids[id as usize] = first_id + high.types.len() as u32;
            high.copy(base.types.get((id - 1) as usize), split);
        }
    }
    let Growing { mut types, strings, .. } = high;
    if strings.is_full() {
        return Err(DistillError::Names);
    }
    for at in 0..types.len() {
        map_ids(types.get_mut(at), |id| match new_ids.get(id as usize) {
            Some(&new) => new,
            None => id - split.first_id + first_id,
        });
    }
    let split = Btf {
        endian: split.endian,
        first_id,
        first_string: distilled.next_string(),
        types,
        strings: strings.into_bytes(),
    };
    Ok(Distilled { base: distilled, split })
}

/// The ids of the base that the split layer needs, ascending.
fn reached(split: &Btf, base: &Btf) -> Result<Vec<u32>, DistillError> {
    let mut seen = vec![false; base.next_id() as usize];
    let mut open: Vec<u32> = Vec::new();
    let mut visit = |from: u32, ty: Type<'_>, open: &mut Vec<u32>| {
        let mut wrong = None;
        ty.for_each_id(|id| match seen.get_mut(id as usize) {
            Some(seen) if id > 0 && !*seen => {
                *seen = true;
                let kind = base.types.get((id - 1) as usize).kind();
                if kind.is_some_and(is_allowed) {
                    open.push(id);
                } else {
                    wrong = wrong.or(Some(id));
                }
            }
            _ => {}
        });
        wrong.map_or(Ok(()), |id| Err(refused(from, id, base)))
    };
    for (id, ty) in (split.first_id..).zip(split.types.iter()) {
        if ty.kind().is_none() {
            return Err(DistillError::Kind { id, kind: ty.kind_value() });
        }
        visit(id, ty, &mut open)?;
        while let Some(id) = open.pop() {
            let ty = base.types.get((id - 1) as usize);
            let ends = ty.name() > 0 && ty.kind().is_some_and(Kind::is_composite);
            if !ends {
                visit(id, ty, &mut open)?;
            }
        }
    }
    Ok((1..base.next_id()).filter(|&id| seen[id as usize]).collect())
}

fn refused(from: u32, id: u32, base: &Btf) -> DistillError {
    let ty = base.types.get((id - 1) as usize);
    let kind = match ty.kind() {
        Some(kind) => kind.name().to_ascii_lowercase(),
        None => format!("kind {}", ty.kind_value()),
    };
    DistillError::Reference { from, id, kind, name: text(base, ty) }
}

fn text(base: &Btf, ty: Type<'_>) -> String {
    String::from_utf8_lossy(base.string(None, ty.name())).into_owned()
}

fn is_allowed(kind: Kind) -> bool {
    !matches!(kind, Kind::Void | Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag)
}

/// What becomes of a type in the distilled base.
enum Form {
    /// It is copied.
    Whole,
    /// It keeps name and size, as this kind.
    Sized(Kind),
}

/// The form of a type in the distilled base, or none for those that move to the split layer.
fn named_form(id: u32, ty: Type<'_>, base: &Btf) -> Result<Option<Form>, DistillError> {
    let named = ty.name() > 0;
    Ok(match ty.kind() {
        Some(Kind::Int | Kind::Float | Kind::Fwd) => Some(Form::Whole),
        Some(kind @ (Kind::Struct | Kind::Union)) if named => Some(Form::Sized(kind)),
        Some(Kind::Enum | Kind::Enum64) if named => {
            let size = ty.size_or_type();
            if !matches!(size, 1 | 2 | 4 | 8) {
                return Err(DistillError::EnumSize { id, name: text(base, ty), size });
            }
            Some(Form::Sized(Kind::Enum))
        }
        _ => None,
    })
}

/// A layer that takes types over from others.
struct Growing<'a> {
    old_base: &'a Btf,
    types: Types,
    strings: Interner<'a>,
    /// Offsets of names already taken over, by their old one.
    moved: HashMap<u32, u32, FixedState>,
}

impl<'a> Growing<'a> {
    fn new(old_base: &'a Btf, strings: Interner<'a>) -> Growing<'a> {
        Growing { old_base, types: Types::new(), strings, moved: HashMap::default() }
    }

    /// Appends a type with its names; its ids are still those of the old layers.
    fn copy(&mut self, ty: Type<'_>, old_split: &Btf) {
        let at = self.types.push(ty.0);
        let (strings, base) = (&mut self.strings, self.old_base);
        map_names(self.types.get_mut(at), |name| match name {
            0 => 0,
            _ => *self
                .moved
                .entry(name)
                .or_insert_with(|| strings.intern(old_split.string(Some(base), name))),
        });
    }
}

#[cfg(test)]
mod tests;
