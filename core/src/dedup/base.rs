//! The warm base: everything about the lower layers that a run needs and no run changes.
//!
//! Built once and shared between threads. Cost: one pass over the types (a hash and an insertion
//! each) and one over the strings, side by side; about 10 MB for the 4 MB of a kernel's BTF.

use super::DedupError;
use super::table::{self, Labels, Table, is_incomparable};
use crate::bits::Bits;
use crate::btf::strings::{Interner, StringIndex};
use crate::btf::{Btf, Kind, Type, Types};
use crate::identity::Known;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

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

/// Lower layers, laid end to end and indexed. Immutable but for memory that runs hand to the next,
/// `Send` and `Sync`.
#[derive(Debug)]
pub struct Base {
    btf: Btf,
    strings: StringIndex,
    pub(super) table: Table,
    /// How the keys in the table were made.
    pub(super) labels: Labels,
    pub(super) composites: Names,
    pub(super) incomparable: Incomparable,
    known: OnceLock<Known>,
    /// Bytes of DWARF that were to be encoded over this base so far.
    asked: AtomicUsize,
    /// What [`Base::zeros`] gives, of runs that are over.
    zeros: Mutex<Vec<Vec<u32>>>,
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
        let mut composites = Names::default();
        for (id, t) in (btf.first_id..).zip(btf.types.iter()) {
            let Some(kind) = t.kind() else {
                return Err(DedupError::UnknownKind { id, kind: t.kind_value() });
            };
            if kind.is_composite() {
                note_name(&mut composites, t.name(), id);
            }
        }
        let incomparable = Incomparable::of(btf.first_id, &btf.types);
        let labels = labels(&btf.types, &[&incomparable]);
        let (strings, table) =
            rayon::join(|| StringIndex::new(&btf.strings), || index_types(&btf, labels));
        Ok(Base {
            btf,
            strings,
            table,
            labels,
            composites,
            incomparable,
            known: OnceLock::new(),
            asked: AtomicUsize::new(0),
            zeros: Mutex::default(),
        })
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

    /// The identities of its types, worked out when they are first asked for.
    pub fn known(&self) -> &Known {
        self.known.get_or_init(|| Known::of(&self.btf, &self.strings))
    }

    /// The same for somebody who has `dwarf` bytes to encode: `None` as long as all that was asked
    /// for is less than pays for working them out.
    pub fn known_for(&self, dwarf: usize) -> Option<&Known> {
        /// Bytes of DWARF whose types are deduplicated in the same time.
        const WORTH: usize = 2 << 20;
        let before = self.asked.fetch_add(dwarf, Ordering::Relaxed);
        (before.saturating_add(dwarf) > WORTH || self.known.get().is_some()).then(|| self.known())
    }

    /// A row of `len` zeros or more.
    ///
    /// For a small module, to zero a word for each type of the base would be half of the run.
    pub(super) fn zeros(&self, len: usize) -> Vec<u32> {
        let mut zeros = self.zeros.lock().ok().and_then(|mut all| all.pop()).unwrap_or_default();
        zeros.resize(len.max(zeros.len()), 0);
        zeros
    }

    /// Takes a row back, zeros again.
    pub(super) fn take_back(&self, zeros: Vec<u32>) {
        if let Ok(mut all) = self.zeros.lock() {
            all.push(zeros);
        }
    }

    /// The only struct or union of a name, given by its offset.
    pub fn composite_of(&self, name: u32) -> Option<u32> {
        match self.composites.get(&name) {
            Some(&Named::Unique(id)) => Some(id),
            _ => None,
        }
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

/// The candidates of a base, in id order.
pub(super) fn index_types(btf: &Btf, labels: Labels) -> Table {
    let ty = |id: u32| match id.checked_sub(btf.first_id) {
        Some(index) => btf.types.get(index as usize),
        None => Type::VOID,
    };
    let mut table = Table::with_capacity(btf.types.len());
    for (id, t) in (btf.first_id..).zip(btf.types.iter()) {
        if let Some(kind) = t.kind()
            && !matches!(kind, Kind::Var | Kind::Datasec)
        {
            table.insert(id, table::keys(t, kind, labels, ty));
        }
    }
    table
}

/// Which types of a layer may not be compared.
#[derive(Clone, Debug)]
pub(super) struct Incomparable {
    first_id: u32,
    /// By position in the layer.
    bits: Bits,
    any: bool,
}

impl Incomparable {
    pub fn of(first_id: u32, types: &Types) -> Incomparable {
        let mut bits = Bits::below(types.len());
        let mut any = false;
        for (index, t) in (0..).zip(types.iter()) {
            if t.kind().is_some_and(is_incomparable) {
                bits.insert(index);
                any = true;
            }
        }
        Incomparable { first_id, bits, any }
    }

    #[inline]
    fn contains(&self, id: u32) -> bool {
        self.bits.contains(id.wrapping_sub(self.first_id))
    }
}

/// How to make keys for `types`, whose ids lead to the layers of `sets`.
pub(super) fn labels(types: &Types, sets: &[&Incomparable]) -> Labels {
    if !sets.iter().any(|set| set.any) {
        return Labels::With;
    }
    let mut met = false;
    for t in types.iter().filter(|t| !t.kind().is_some_and(is_incomparable)) {
        t.for_each_id(|id| met |= sets.iter().any(|set| set.contains(id)));
    }
    if met { Labels::Without } else { Labels::With }
}
