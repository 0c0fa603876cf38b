//! Relinks: units that the last link of a file had are not read again.
//!
//! Of a large module an edit changes one unit, or those that see a header. A [`Memory`] holds what
//! the units of one link told, by their fingerprints; of the next link only those are read that have
//! others. Which types stay, functions by the new symbol table, ids and all that follows are worked
//! out from all units, as if each had been read: the result is the same bytes.
//!
//! Cost: a fingerprint of each unit, and 100 bytes of memory for each of its types.

use super::append::Read;
use super::{Features, FunctionTable};
use crate::dwarf::{self, Cu, Debug, DwarfError, Fingerprint, Group, Told};
use crate::identity::{Identities, Identity, Key, Sketch};
use crate::target::Target;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one unit told.
#[derive(Debug)]
pub(super) struct Unit {
    identity: Identity,
    told: Told,
    pub sketch: Sketch,
    pub identities: Identities,
}

/// What the units of one link of a file told.
#[derive(Debug, Default)]
pub struct Memory {
    units: HashMap<Identity, Arc<Unit>, FixedState>,
    /// What they were read for.
    by: Option<(Features, Target)>,
}

impl Memory {
    pub(super) fn new(units: Vec<Arc<Unit>>, features: &Features, target: Target) -> Memory {
        let units = units.into_iter().map(|unit| (unit.identity, unit)).collect();
        Memory { units, by: Some((features.clone(), target)) }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        let size = |unit: &Unit| unit.told.size() + unit.sketch.size() + unit.identities.size();
        self.units.values().map(|unit| size(unit)).sum()
    }
}

/// How the units of a file are read, most of which may be those of its last link.
pub(super) struct Relink<'a> {
    pub earlier: &'a Memory,
    pub debug: &'a Debug,
    pub known: &'a FunctionTable<'a>,
    pub target: Target,
    pub features: &'a Features,
    pub key: &'static Key,
    /// How many units have not been read.
    pub spared: AtomicUsize,
}

impl<'d> Relink<'d> {
    /// Reads one group, or remembers it.
    pub fn read(&self, group: &'d Group<'d>) -> Result<Read<'d>, DwarfError> {
        let print = Fingerprint::of(self.debug, group);
        if let Some(print) = &print
            && let Some((cu, unit)) = self.remember(group, print)
        {
            self.spared.fetch_add(1, Relaxed);
            return Ok(Read::shared(cu, unit));
        }
        let in_table = |name: &[u8]| self.known.find(name);
        // The next link may have symbols for other functions of the unit.
        let all = |_: &[u8]| Some(0);
        let known: dwarf::Known<'_> = if print.is_some() { &all } else { &in_table };
        let (mut cu, sketch) = dwarf::sketch(group, known, self.target, self.features, self.key)?;
        let identities = Identities::of(&sketch, self.key);
        let told = print.as_ref().and_then(|print| Told::of(&cu, group, print));
        let texts = cu.texts;
        cu.functions.retain_mut(|function| {
            let symbol = in_table(texts.get(function.name));
            function.symbol = symbol.unwrap_or_default();
            symbol.is_some()
        });
        Ok(match print.zip(told) {
            Some((Fingerprint { identity, .. }, told)) => {
                Read::shared(cu, Arc::new(Unit { identity, told, sketch, identities }))
            }
            None => Read::own(cu, sketch, identities),
        })
    }

    fn remember(&self, group: &'d Group<'d>, print: &Fingerprint) -> Option<(Cu<'d>, Arc<Unit>)> {
        let Memory { units, by } = self.earlier;
        let (features, target) = by.as_ref()?;
        if features != self.features || *target != self.target {
            return None;
        }
        let unit = units.get(&print.identity)?;
        let known = |name: &[u8]| self.known.find(name);
        let cu = unit.told.again(group, self.features, print, &known)?;
        Some((cu, Arc::clone(unit)))
    }
}
