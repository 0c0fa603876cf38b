//! Deduplication of BTF: the types of a split layer folded against each other and a base.
//!
//! Contract: the resulting type section is byte for byte what libbpf's `btf__dedup` (since
//! 5b0f3729) makes of the same types over the same layers. That includes what follows from the
//! growth of its hash table, its way of binding forward declarations of the base, and its
//! shallow fallback comparison; each is described where it is done. Where libbpf hangs, overflows
//! its stack or runs for an exponential time, [`dedup`] answers with an error instead.
//!
//! The way of a run, one file each:
//!
//! * [`asked`](Asked): what a run asked of the base, and whether another one answers alike;
//! * [`base`](Base): what does not change from run to run, shared by all;
//! * `table`: equal candidates in their order;
//! * `graph`: whether two type graphs are equivalent, and what follows when they are;
//! * `identical`: the fallback for two copies of a type in one compilation unit;
//! * `passes`: primitive types, composites and typedefs, forwards, references;
//! * `compact`: survivors get their ids.
//!
//! Cost: a run touches the base only where its types lead; memory is 4 bytes per type of base
//! and split, which the base keeps for the next run, and the survivors' entries in the table.

mod asked;
mod base;
mod compact;
mod graph;
mod identical;
mod passes;
mod table;
#[cfg(test)]
mod tests;

pub use asked::Asked;
pub use base::Base;

use crate::btf::Btf;
use crate::btf::strings::{self, Interner};
use crate::btf::types::map_names;
use asked::Asking;
use base::Incomparable;
use table::Labels;
use thiserror::Error;

/// Why layers cannot be deduplicated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DedupError {
    /// No layer was given.
    #[error("no layer of BTF given, expected at least one")]
    NoLayers,
    /// A layer does not begin where the one below it ends.
    #[error(
        "{what} begins at type id {first_id} and string offset {first_string}, \
         expected {expected_id} and {expected_string}"
    )]
    Layers {
        /// Which layer.
        what: &'static str,
        /// Its first type id.
        first_id: u32,
        /// Its first string offset.
        first_string: u32,
        /// The first type id that it should have.
        expected_id: u32,
        /// The first string offset that it should have.
        expected_string: u32,
    },
    /// The names of a layer, one by one, are more than a section of strings holds.
    #[error("its names are too long to be written out")]
    Names,
    /// A type whose kind the format does not define.
    #[error("BTF type [{id}] has the unknown kind {kind}, expected one of 1 to 19")]
    UnknownKind {
        /// Type id.
        id: u32,
        /// Number of the kind.
        kind: u32,
    },
    /// Two types that no struct, union or typedef may lead to.
    #[error(
        "BTF types [{candidate}] and [{canonical}] are both {kind}, \
         expected a kind that members and parameters can have"
    )]
    Incomparable {
        /// Type id in the graph that is being folded.
        candidate: u32,
        /// Type id in the graph that it might equal.
        canonical: u32,
        /// Their kind.
        kind: &'static str,
    },
    /// References that lead back to where they began without a struct, union or typedef between.
    #[error("BTF type [{id}] refers to itself, expected a struct, union or typedef on the way")]
    Loop {
        /// A type id on the cycle.
        id: u32,
    },
    /// The same, met while two graphs were compared.
    #[error(
        "BTF types [{first}] and [{second}] lead back to themselves through references only, \
         expected a struct or union on the way"
    )]
    EqualLoops {
        /// Type id on the one cycle.
        first: u32,
        /// Type id on the other.
        second: u32,
    },
    /// Types made to cost more than real ones ever do.
    #[error(
        "comparing BTF type [{id}] brought the run to {steps} steps, \
         expected at most {limit} for this input"
    )]
    TooHard {
        /// Type id that was being folded.
        id: u32,
        /// Steps done.
        steps: u64,
        /// The limit.
        limit: u64,
    },
}

impl DedupError {
    /// The name of the errno that libbpf fails with, or the closest one where it hangs.
    pub fn errno_name(&self) -> &'static str {
        match self {
            DedupError::Loop { .. }
            | DedupError::EqualLoops { .. }
            | DedupError::TooHard { .. } => "ELOOP",
            _ => "EINVAL",
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Types before.
    pub types_in: u32,
    /// Types after.
    pub types_out: u32,
    /// Pairs of graphs that were compared.
    pub comparisons: u64,
    /// Pairs of types that were visited for that, the fallback included.
    pub steps: u64,
    /// Base types that now stand for a type of the split layer: FWDs and value-less enums.
    pub base_bound: u32,
}

/// Folds equal types of `split` and of the layers below it; strings stay as they are.
///
/// `split` continues `base`, or stands alone without one. Equal names must have equal offsets, as
/// [`Interner`] makes them; [`reintern`] brings a layer that was read from bytes into that form.
/// Every id must name a type of the layers, as [`Btf::parse`] checks. After an error the types of
/// `split` are not to be used.
pub fn dedup(base: Option<&Base>, split: &mut Btf) -> Result<Stats, DedupError> {
    fold(base, split, |_, _| (), |_| ()).map(|(stats, ())| stats)
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of each type that was given, the id of the one that stands for it now.
    pub places: Vec<u32>,
    /// What was asked of the base; `None` where that does not decide how a run goes.
    pub asked: Option<Asked>,
}

/// As [`dedup`], and tells how it went.
pub fn dedup_and_tell(base: Option<&Base>, split: &mut Btf) -> Result<(Stats, Told), DedupError> {
    let begin = |run: &mut graph::Run<'_>, labels| {
        run.asking = base.map_or_else(Asking::default, |base| Asking::of(base, labels));
    };
    fold(base, split, begin, |run| Told { places: run.places(), asked: run.asked() })
}

/// `begin` is at the run before, `look` once all is decided.
fn fold<T>(
    base: Option<&Base>,
    split: &mut Btf,
    begin: impl FnOnce(&mut graph::Run<'_>, Labels),
    look: impl FnOnce(&mut graph::Run<'_>) -> T,
) -> Result<(Stats, T), DedupError> {
    check_layers(base, split)?;
    let types_in = split.types.len() as u32;
    let own = Incomparable::of(split.first_id, &split.types);
    let labels = match base {
        Some(base) if base.labels == Labels::Without => Labels::Without,
        Some(base) => base::labels(&split.types, &[&own, &base.incomparable]),
        None => base::labels(&split.types, &[&own]),
    };
    let without;
    let table = match base {
        Some(base) if base.labels != labels => {
            // Only for types that no compiler makes.
            without = base::index_types(base.btf(), labels);
            Some(&without)
        }
        _ => base.map(|base| &base.table),
    };
    let mut run = graph::Run::new(base, table, labels, std::mem::take(&mut split.types));
    begin(&mut run, labels);
    run.primitives()?;
    run.composites()?;
    run.forwards();
    run.references()?;
    let (stats, seen) = (run.stats(), look(&mut run));
    split.types = run.compact();
    Ok((Stats { types_in, types_out: split.types.len() as u32, ..stats }, seen))
}

/// Makes names of `split` comparable by offset, and drops its strings that no type uses.
///
/// Visits the types by id, the own name first. A name that a lower layer has moves there; others
/// get a new section in the order of their first use. Names below the layer stay.
pub fn reintern(base: Option<&Base>, split: &mut Btf) -> Result<(), DedupError> {
    check_layers(base, split)?;
    let mut interner = base.map_or_else(|| Interner::new(None), Base::interner);
    let start = split.first_string;
    // New offset by old one; 0 is "not seen", for which 0 itself is only looked up again.
    let mut moved = vec![0u32; split.strings.len()];
    for index in 0..split.types.len() {
        map_names(split.types.get_mut(index), |offset| {
            if offset == 0 || offset < start {
                return offset;
            }
            let slot = &mut moved[(offset - start) as usize];
            if *slot == 0 {
                *slot = interner.intern(strings::at(&split.strings, offset - start));
            }
            *slot
        });
    }
    if interner.is_full() {
        return Err(DedupError::Names);
    }
    split.strings = interner.into_bytes();
    Ok(())
}

fn check_layers(base: Option<&Base>, split: &Btf) -> Result<(), DedupError> {
    match base {
        Some(base) => base::continues("the split layer", base.btf(), split),
        None if (split.first_id, split.first_string) == (1, 0) => Ok(()),
        None => Err(DedupError::Layers {
            what: "the stand-alone layer",
            first_id: split.first_id,
            first_string: split.first_string,
            expected_id: 1,
            expected_string: 0,
        }),
    }
}
