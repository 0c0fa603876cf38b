//! Names to ids, as `resolve_btfids` does it.
//!
//! All types are looked at in order of their ids, those of the base first, and the first with the
//! name and kind is taken: a type of the base hides the module's own. What is not found keeps id 0.
//! The walk for a kind ends when as many names are found as there are words that want one.

use super::{BtfIds, IdsError, Place};
use crate::btf::{Btf, Kind, strings};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Resolved words, and what the kernel's tool would warn of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The section's new content.
    pub words: Vec<u8>,
    /// One line each.
    pub warnings: Vec<String>,
}

impl BtfIds {
    /// Writes the ids of `layers`, the lowest first, into `pristine` words of this section.
    pub fn resolve(&self, pristine: &[u8], layers: &[&Btf]) -> Result<Resolved, IdsError> {
        if let Some(strange) = &self.strange {
            return Err(IdsError::Malformed(strange.clone()));
        }
        if pristine.len() != self.bytes.len() {
            let (now, then) = (self.bytes.len(), pristine.len());
            return Err(IdsError::Malformed(format!("{now} bytes, but {then} pristine ones")));
        }
        let mut warnings = Vec::new();
        if self.places.is_empty() && self.sets.is_empty() {
            // The compiler may leave nothing but unused words; with symbols gone it looks the same.
            if pristine.iter().any(|&b| b != 0) {
                let gone =
                    "no symbol says what its words are (stripped with --strip-unneeded or -x?)";
                return Err(IdsError::Malformed(gone.into()));
            }
            warnings.push(".BTF_ids: it has no symbols, nothing is resolved".into());
        }
        let found = self.find(layers, &mut warnings);
        let mut words = pristine.to_vec();
        for (place, id) in self.places.iter().zip(found) {
            self.put(&mut words, place.at, id);
        }
        for set in &self.sets {
            self.put(&mut words, set.at, set.count as u32);
        }
        for set in &self.sets {
            let mut members: Vec<(i32, u32)> = set
                .members()
                .map(|at| (self.word(&words, at) as i32, self.word(&words, at + 4)))
                .collect();
            members.sort_by_key(|&(id, _)| id);
            for (at, (id, flags)) in set.members().zip(members) {
                self.put(&mut words, at, id as u32);
                if set.flagged {
                    self.put(&mut words, at + 4, flags);
                }
            }
        }
        Ok(Resolved { words, warnings })
    }

    /// The id of every place, 0 where no type has the name.
    pub(super) fn find(&self, layers: &[&Btf], warnings: &mut Vec<String>) -> Vec<u32> {
        let mut ids: HashMap<(Kind, &[u8]), u32, FixedState> = HashMap::default();
        let mut missing =
            [Kind::Func, Kind::Struct, Kind::Union, Kind::Typedef].map(|k| (k, 0usize));
        for Place { kind, name, .. } in &self.places {
            ids.insert((*kind, name), 0);
            if let Some((_, n)) = missing.iter_mut().find(|(k, _)| k == kind) {
                *n += 1;
            }
        }
        for layer in layers {
            for (id, ty) in (layer.first_id..).zip(layer.types.iter()) {
                let Some(kind) = ty.kind() else { continue };
                let Some((_, missing)) = missing.iter_mut().find(|(k, n)| *k == kind && *n > 0)
                else {
                    continue;
                };
                let name = text(layers, ty.name());
                match ids.get_mut(&(kind, name)) {
                    Some(known @ 0) => {
                        *known = id;
                        *missing -= 1;
                    }
                    Some(known) => warnings.push(format!(
                        ".BTF_ids: {} {} has the ids {known} and {id}; {known} is taken",
                        word(kind),
                        String::from_utf8_lossy(name),
                    )),
                    None => {}
                }
            }
        }
        let mut found = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let id = ids.get_mut(&(place.kind, &place.name[..]));
            found.push(id.as_ref().map_or(0, |id| **id));
        }
        let mut unresolved: Vec<_> = ids.into_iter().filter(|&(_, id)| id == 0).collect();
        unresolved.sort_unstable();
        warnings.extend(unresolved.into_iter().map(|((kind, name), _)| {
            let name = String::from_utf8_lossy(name);
            format!(".BTF_ids: there is no {} {name} in the BTF; its id stays 0", word(kind))
        }));
        found
    }
}

/// The string at an offset of the layer that has it.
fn text<'a>(layers: &[&'a Btf], offset: u32) -> &'a [u8] {
    let layer = layers.iter().rev().find(|layer| offset >= layer.first_string);
    layer.map_or(&[][..], |layer| strings::at(&layer.strings, offset - layer.first_string))
}

/// How C calls a kind.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Func => "function",
        Kind::Struct => "struct",
        Kind::Union => "union",
        _ => "typedef",
    }
}
