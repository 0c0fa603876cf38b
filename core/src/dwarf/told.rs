//! What a unit told, for when the same unit is met again in a later link.
//!
//! Types, functions and variables as [`super::sketch`] gave them, apart from where the unit and its
//! strings stood. What a fingerprint leaves out is read again at its DIE: addresses of variables, and
//! whether location lists name the register that a parameter should be in. Where that is not what it
//! was, or there is anything else that cannot be told again, the unit has to be read.
//!
//! Cost: a few words for each function, and 200 instructions for each list and variable.

use super::Known;
use super::abbreviations::Spots;
use super::again::Again;
use super::attributes::{self, Attributes};
use super::cu::{Cu, DeclTag, Function, Listed, Texts, Variable, Written};
use super::fingerprint::Fingerprint;
use super::unit::{Group, Location, Unit};
use crate::features::Features;
use std::ops::Range;
use std::sync::Arc;

/// All that a unit told but its types.
#[derive(Debug)]
pub struct Told {
    /// Where the DIEs of its types stand.
    places: Arc<Vec<u32>>,
    int: u32,
    has_arrays: bool,
    tags: Vec<DeclTag>,
    functions: Vec<Function>,
    variables: Vec<Variable>,
    lists: Vec<Listed>,
    lost_references: usize,
}

impl Told {
    /// What `cu` tells of the only unit of a group; `None` where that cannot be told again.
    pub fn of(cu: &Cu<'_>, group: &Group<'_>, print: &Fingerprint) -> Option<Told> {
        let Written::Again(again) = &cu.types else { return None };
        if !cu.substitutes.is_empty() {
            return None;
        }
        let names = Names::new(cu.texts, group, print);
        let (mut tags, mut functions) = (cu.tags.clone(), cu.functions.clone());
        let mut variables = cu.variables.clone();
        each_name(&mut tags, &mut functions, &mut variables, |name| names.apart(name))?;
        Some(Told {
            places: again.places(),
            int: cu.int,
            has_arrays: cu.has_arrays,
            tags,
            functions,
            variables,
            lists: cu.lists.clone(),
            lost_references: cu.lost_references,
        })
    }

    /// The same of a unit with the same fingerprint; `None` where it has to be read. Functions are
    /// those that `known` knows.
    pub fn again<'d>(
        &self,
        group: &'d Group<'d>,
        features: &'d Features,
        print: &Fingerprint,
        known: Known<'_>,
    ) -> Option<Cu<'d>> {
        let [unit] = &group.units[..] else { return None };
        let texts = unit.texts();
        let names = Names::new(texts, group, print);
        let (mut tags, mut variables) = (self.tags.clone(), self.variables.clone());
        let mut functions = Vec::new();
        for function in &self.functions {
            if let Some(symbol) = known(texts.get(names.here(function.name)?)) {
                functions.push(Function { symbol, ..function.clone() });
            }
        }
        each_name(&mut tags, &mut functions, &mut variables, |name| names.here(name))?;
        for &Listed { die, expected, unexpected } in &self.lists {
            let found = location(unit, group, die)?;
            let found = attributes::in_unexpected_register(unit, found, expected).ok()?;
            if found != unexpected {
                return None;
            }
        }
        for variable in &mut variables {
            let found = location(unit, group, variable.die)?;
            variable.address = attributes::address(unit, found).ok()??;
        }
        let types = Again::new(group, features, Arc::clone(&self.places));
        Some(Cu {
            texts,
            types: Written::Again(types),
            int: self.int,
            has_arrays: self.has_arrays,
            tags,
            functions,
            variables,
            lists: Vec::new(), // remembered already
            lost_references: self.lost_references,
            substitutes: Vec::new(),
        })
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        let params = self.functions.iter().map(|f| size_of_val(&f.params[..])).sum::<usize>();
        size_of_val(&self.places[..])
            + size_of_val(&self.tags[..])
            + size_of_val(&self.functions[..])
            + params
            + size_of_val(&self.variables[..])
            + size_of_val(&self.lists[..])
    }
}

/// The location that the DIE at an offset in the group gives.
fn location<'d>(unit: &Unit<'d>, group: &Group<'d>, die: u32) -> Option<Location<'d>> {
    let mut cursor = unit.entries_from(group.start + die as usize);
    let plan = unit.abbreviations.get(cursor.uleb().ok()?).ok()?;
    let mut scratch = Spots::default();
    let a = Attributes::of(unit, plan, &mut cursor, &mut scratch, group.start).ok()?;
    a.location()
}

/// Replaces the number of each name; `None` where one has no other.
fn each_name(
    tags: &mut [DeclTag],
    functions: &mut [Function],
    variables: &mut [Variable],
    new: impl Fn(u32) -> Option<u32>,
) -> Option<()> {
    let set = |name: &mut u32| new(*name).map(|new| *name = new);
    for tag in tags.iter_mut().chain(functions.iter_mut().flat_map(|f| &mut f.tags)) {
        set(&mut tag.value)?;
    }
    for function in functions {
        set(&mut function.name)?;
        function.params.iter_mut().try_for_each(|param| set(&mut param.name))?;
    }
    for variable in variables {
        set(&mut variable.name)?;
        variable.tags.iter_mut().try_for_each(set)?;
    }
    Some(())
}

/// Numbers of names, and what they are apart from where their unit stands: the place in its strings
/// or in itself, and a bit that tells which.
struct Names {
    /// Numbers of its strings.
    strings: Range<u32>,
    /// Numbers of texts in its DIEs.
    unit: Range<u32>,
}

impl Names {
    fn new(texts: Texts<'_>, group: &Group<'_>, print: &Fingerprint) -> Names {
        let range = |first: usize, len: usize| first as u32..(first + len) as u32;
        let strings = range(1 + print.strings.start, print.strings.len() + 1);
        Names { strings, unit: range(texts.shared() + group.start, group.len) }
    }

    fn apart(&self, name: u32) -> Option<u32> {
        let place = |range: &Range<u32>, bit: u32| {
            let place = range.contains(&name).then(|| name - range.start)?;
            (place < 1 << 30).then_some(1 + (place << 1 | bit))
        };
        if name == 0 { Some(0) } else { place(&self.strings, 0).or_else(|| place(&self.unit, 1)) }
    }

    fn here(&self, apart: u32) -> Option<u32> {
        let Some(place) = apart.checked_sub(1) else { return Some(0) };
        let range = if place & 1 == 0 { &self.strings } else { &self.unit };
        let name = range.start + (place >> 1);
        range.contains(&name).then_some(name)
    }
}
