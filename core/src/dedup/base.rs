//! The warm base: everything about the lower layers that a run needs and no run changes.
//!
//! Built once and shared between threads. Cost: one pass over the types (a hash and an insertion
//! each) and one over the strings, side by side; about 10 MB for the 4 MB of a kernel's BTF.

use super::DedupError;
use super::table::{self, Table};
use crate::btf::strings::{Interner, StringIndex};
use crate::btf::{Btf, Kind};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Which composite has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Exactly this one.
    Unique(u32),
    /// Several; structs and unions count together.
    Ambiguous,
}

/// Structs and unions by name (string offset).
pub(super) type Names = HashMap<u32, Named, FixedState>;

/// Notes that the composite `id` has this name.
pub(super) fn note_name(names: &mut Names, name: u32, id: u32) {
    names.entry(name).and_modify(|named| *named = Named::Ambiguous).or_insert(Named::Unique(id));
}

/// Lower layers, laid end to end and indexed. Immutable, `Send` and `Sync`.
#[derive(Debug)]
pub struct Base {
    btf: Btf,
    strings: StringIndex,
    pub(super) table: Table,
    pub(super) composites: Names,
}

impl Base {
    /// Indexes a base: a layer with ids from 1 and strings from 0.
    ///
    /// Errors: a layer that does not stand alone; a type of a kind that the format does not define.
    pub fn new(btf: Btf) -> Result<Base, DedupError> {
        if (btf.first_id, btf.first_string) != (1, 0) {
            return Err(DedupError::Layers {
                what: "the lowest layer",
                first_id: btf.first_id,
                first_string: btf.first_string,
                expected_id: 1,
                expected_string: 0,
            });
        }
        let (strings, types) = rayon::join(|| StringIndex::new(&btf.strings), || index_types(&btf));
        let (table, composites) = types?;
        Ok(Base { btf, strings, table, composites })
    }

    /// Indexes several layers, the lowest first; each continues the ids and strings below it.
    ///
    /// Errors: as [`Base::new`], and a layer that does not continue the one below it.
    pub fn from_layers(layers: Vec<Btf>) -> Result<Base, DedupError> {
        let mut layers = layers.into_iter();
        let Some(mut whole) = layers.next() else {
            return Err(DedupError::NoLayers);
        };
        for layer in layers {
            continues("a layer of the base", &whole, &layer)?;
            whole.append_layer(&layer);
        }
        Base::new(whole)
    }

    /// The types and strings, as one layer.
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// Where each of its strings starts.
    pub fn string_index(&self) -> &StringIndex {
        &self.strings
    }

    /// An empty string section on top of this base.
    pub fn interner(&self) -> Interner<'_> {
        Interner::new(Some((&self.strings, &self.btf.strings)))
    }
}

/// Checks that `upper` begins where `lower` ends.
pub(super) fn continues(what: &'static str, lower: &Btf, upper: &Btf) -> Result<(), DedupError> {
    let expected = (lower.next_id(), lower.next_string());
    if (upper.first_id, upper.first_string) == expected {
        return Ok(());
    }
    Err(DedupError::Layers {
        what,
        first_id: upper.first_id,
        first_string: upper.first_string,
        expected_id: expected.0,
        expected_string: expected.1,
    })
}

fn index_types(btf: &Btf) -> Result<(Table, Names), DedupError> {
    let mut table = Table::with_capacity(btf.types.len());
    let mut composites = Names::default();
    for (id, ty) in (btf.first_id..).zip(btf.types.iter()) {
        let Some(kind) = ty.kind() else {
            return Err(DedupError::UnknownKind { id, kind: ty.kind_value() });
        };
        if kind.is_composite() {
            note_name(&mut composites, ty.name(), id);
        }
        if !matches!(kind, Kind::Var | Kind::Datasec) {
            table.insert(id, table::keys(ty, kind));
        }
    }
    Ok((table, composites))
}
