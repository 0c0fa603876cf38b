//! Renumbering the types of a layer.
//!
//! Only ids and their order change: strings stay where they are, and so do the layers below. A map
//! that is refused leaves the layer as it was. Cost: one pass over the words, and for
//! [`sort_by_name`] a stable sort of the names.

use super::layers::Layers;
use super::types::{id_positions, map_ids};
use super::{Btf, Types};
use thiserror::Error;

/// Why a map of ids cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PermuteError {
    /// It has too few or too many entries.
    #[error("{got} entries in the map of ids, expected {expected}")]
    Length {
        /// Entries that it has.
        got: usize,
        /// Entries that it should have.
        expected: usize,
    },
    /// Void keeps its id in a stand-alone layer.
    #[error("entry 0 of the map of ids is {0}, expected 0: void stays")]
    Void(u32),
    /// An id of another layer, or of none.
    #[error("[{from}] is mapped to {to}, expected an id from {first} to {last}")]
    Range {
        /// The old id.
        from: u32,
        /// The new one.
        to: u32,
        /// First id of the layer.
        first: u32,
        /// Last id of the layer.
        last: u32,
    },
    /// Two types with one id.
    #[error("[{0}] and [{1}] are both mapped to {2}")]
    Twice(u32, u32, u32),
    /// A type of a kind that this crate does not know: which of its words are ids is unknown too.
    #[error("[{id}] is of the unknown kind {kind}")]
    Kind {
        /// The type.
        id: u32,
        /// The number of its kind.
        kind: u32,
    },
    /// The layer itself has a reference that leads nowhere.
    #[error("[{id}] refers to type id {to}, but the last one is {last}")]
    Reference {
        /// The type.
        id: u32,
        /// What it refers to.
        to: u32,
        /// The last id.
        last: u32,
    },
}

impl PermuteError {
    /// The errno that libbpf has for it.
    pub fn errno_name(&self) -> &'static str {
        "EINVAL"
    }
}

/// Gives every type of `btf` the id that `map` says, and orders the types by it.
///
/// A layer on top of another is mapped by its own types, the first entry being that of its first
/// id; the map of a stand-alone layer begins with an entry for void, which is 0.
pub fn permute(btf: &mut Btf, map: &[u32]) -> Result<(), PermuteError> {
    let own = if btf.first_string > 0 { map } else { without_void(btf, map)? };
    let (first, end, count) = (btf.first_id, btf.next_id(), btf.types.len());
    if own.len() != count {
        return Err(PermuteError::Length {
            got: map.len(),
            expected: count + map.len() - own.len(),
        });
    }
    // The old index at each new one.
    let mut order = vec![u32::MAX; count];
    for (index, &to) in own.iter().enumerate() {
        let from = first + index as u32;
        if !(first..end).contains(&to) {
            return Err(PermuteError::Range { from, to, first, last: end - 1 });
        }
        let slot = &mut order[(to - first) as usize];
        if *slot != u32::MAX {
            return Err(PermuteError::Twice(first + *slot, from, to));
        }
        *slot = index as u32;
    }
    for (id, ty) in (first..).zip(btf.types.iter()) {
        if ty.kind().is_none() {
            return Err(PermuteError::Kind { id, kind: ty.kind_value() });
        }
        if let Some(to) = id_positions(ty.0).map(|at| ty.0[at]).find(|&to| to >= end) {
            return Err(PermuteError::Reference { id, to, last: end - 1 });
        }
    }
    reorder(btf, &order, own);
    Ok(())
}

fn without_void<'a>(btf: &Btf, map: &'a [u32]) -> Result<&'a [u32], PermuteError> {
    match map.split_first() {
        Some((0, own)) => Ok(own),
        Some((&other, _)) => Err(PermuteError::Void(other)),
        None => Err(PermuteError::Length { got: 0, expected: btf.types.len() + 1 }),
    }
}

/// Renumbers the types of `btf` by the bytes of their names, nameless ones first; types of one name
/// keep their order. `base` is everything below it.
///
/// This is the order in which the kernel can search a layer.
pub fn sort_by_name(btf: &mut Btf, base: Option<&Btf>) {
    let layers = Layers::new(btf, base);
    let mut order: Vec<u32> = (0..btf.types.len() as u32).collect();
    let names: Vec<&[u8]> = btf.types.iter().map(|ty| layers.string(ty.name())).collect();
    order.sort_by_key(|&index| names[index as usize]);
    let mut map = vec![0; order.len()];
    for (new, &old) in (btf.first_id..).zip(&order) {
        map[old as usize] = new;
    }
    reorder(btf, &order, &map);
}

/// Puts the types in `order` (old indexes) and renames their own ids by `map` (new ids).
fn reorder(btf: &mut Btf, order: &[u32], map: &[u32]) {
    let first = btf.first_id;
    let mut types = Types::new();
    types.reserve(btf.types.len(), btf.types.words().len());
    for &old in order {
        let at = types.push(btf.types.get(old as usize).0);
        map_ids(types.get_mut(at), |id| {
            let own = id.checked_sub(first).and_then(|index| map.get(index as usize));
            own.copied().unwrap_or(id)
        });
    }
    btf.types = types;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Kind;
    use crate::btf::sample::Maker;

    /// [1] int, [2] pointer to it, [3] struct s, [4] struct a.
    fn alone() -> Btf {
        let mut m = Maker::new();
        m.int("int", 4);
        m.refer(Kind::Ptr, "", 1);
        m.composite(Kind::Struct, "s", 16, &[("a", 4, 0, 0), ("p", 2, 64, 0)]);
        m.composite(Kind::Struct, "a", 4, &[("i", 1, 0, 0)]);
        m.btf
    }

    fn names(btf: &Btf, base: Option<&Btf>) -> Vec<String> {
        let layers = Layers::new(btf, base);
        btf.types.iter().map(|ty| layers.text(ty.name()).into_owned()).collect()
    }

    #[test]
    fn ids_and_references_follow_the_map() {
        let mut btf = alone();
        assert_eq!(permute(&mut btf, &[0, 4, 3, 2, 1]), Ok(()));
        assert_eq!(names(&btf, None), ["a", "s", "", "int"]);
        assert_eq!(btf.types.get(0).payload()[1], 4);
        assert_eq!(btf.types.get(1).payload()[1], 1);
        assert_eq!(btf.types.get(1).payload()[4], 3);
        assert_eq!(btf.types.get(2).size_or_type(), 4);
        // Back again.
        assert_eq!(permute(&mut btf, &[0, 4, 3, 2, 1]), Ok(()));
        assert_eq!(btf, alone());
    }

    #[test]
    fn a_split_layer_is_mapped_by_its_own_types() {
        let base = alone();
        let mut m = Maker::on(&base);
        m.refer(Kind::Ptr, "", 6);
        m.refer(Kind::Typedef, "t", 3);
        let mut split = m.btf;
        assert_eq!(permute(&mut split, &[6, 5]), Ok(()));
        assert_eq!(split.types.get(0).size_or_type(), 3);
        assert_eq!(split.types.get(1).size_or_type(), 5);
        let range = |to| PermuteError::Range { from: 5, to, first: 5, last: 6 };
        assert_eq!(permute(&mut split, &[4, 5]), Err(range(4)));
        // Also where the base has no type.
        let base = Maker::new().btf;
        let mut m = Maker::on(&base);
        m.refer(Kind::Ptr, "", 0);
        assert_eq!(permute(&mut m.btf, &[1]), Ok(()));
    }

    #[test]
    fn what_is_no_bijection_changes_nothing() {
        let mut btf = alone();
        let mut refused = |map: &[u32]| {
            let error = permute(&mut btf, map).unwrap_err();
            assert_eq!(btf, alone());
            (error.to_string(), error.errno_name())
        };
        let mut says = |map: &[u32], text: &str| assert_eq!(refused(map), (text.into(), "EINVAL"));
        says(&[], "0 entries in the map of ids, expected 5");
        says(&[0, 1, 2, 3], "4 entries in the map of ids, expected 5");
        says(&[1, 0, 2, 3, 4], "entry 0 of the map of ids is 1, expected 0: void stays");
        says(&[0, 1, 2, 3, 5], "[4] is mapped to 5, expected an id from 1 to 4");
        says(&[0, 1, 2, 3, 0], "[4] is mapped to 0, expected an id from 1 to 4");
        says(&[0, 1, 2, 3, 2], "[2] and [4] are both mapped to 2");
        btf.types.get_mut(1)[2] = 9;
        let error = permute(&mut btf, &[0, 1, 2, 3, 4]).unwrap_err();
        assert_eq!(error.to_string(), "[2] refers to type id 9, but the last one is 4");
    }

    #[test]
    fn names_in_byte_order_and_ties_by_id() {
        let base = alone();
        let mut m = Maker::on(&base);
        m.composite(Kind::Struct, "zz", 0, &[]);
        m.composite(Kind::Struct, "b", 1, &[]);
        m.refer(Kind::Ptr, "", 5);
        m.composite(Kind::Union, "b", 2, &[]);
        m.composite(Kind::Struct, "B", 3, &[]);
        m.refer(Kind::Const, "", 7);
        let mut split = m.btf;
        sort_by_name(&mut split, Some(&base));
        assert_eq!(names(&split, Some(&base)), ["", "", "B", "b", "b", "zz"]);
        assert_eq!(split.types.get(0).size_or_type(), 10);
        assert_eq!(split.types.get(1).size_or_type(), 5);
        assert_eq!(split.types.get(3).size_or_type(), 1);
        assert_eq!(split.types.get(4).size_or_type(), 2);
    }
}
