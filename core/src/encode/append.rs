//! CUs one after the other: their names become string offsets, their ids file-wide.

use super::functions::Skipped;
use super::kept::Given;
use super::notes::Notes;
use super::relink::Unit;
use super::variables::{Placed, Rules, Sections};
use super::{EncodeError, Features, FunctionTable, functions};
use crate::btf::kind::Kind;
use crate::btf::strings::Interner;
use crate::btf::types::{info, map_ids, map_names};
use crate::btf::{Btf, Endian};
use crate::dedup::Base;
use crate::dwarf::{Cu, Function, Texts};
use crate::identity::{Assigned, FILE_INT, Identities, Links, Merge, Sketch};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Kinds whose types BTF does not take without a name.
fn needs_name(info: u32) -> bool {
    matches!(
        Kind::from_u32(info >> 24 & 0x7f),
        Some(Kind::Int | Kind::Float | Kind::Typedef | Kind::Fwd | Kind::TypeTag)
    )
}

/// One CU, and the identities of its types.
pub(super) struct Read<'d> {
    cu: Cu<'d>,
    identified: Identified,
}

/// What tells the types of a CU apart.
enum Identified {
    /// Nothing: all go to the exact engine.
    Not,
    Own(Sketch, Identities),
    /// Kept for the next link.
    Shared(Arc<Unit>),
}

impl<'d> Read<'d> {
    /// All types go to the exact engine.
    pub fn exactly(cu: Cu<'d>) -> Read<'d> {
        Read { cu, identified: Identified::Not }
    }

    pub fn own(cu: Cu<'d>, sketch: Sketch, identities: Identities) -> Read<'d> {
        Read { cu, identified: Identified::Own(sketch, identities) }
    }

    pub fn shared(cu: Cu<'d>, unit: Arc<Unit>) -> Read<'d> {
        Read { cu, identified: Identified::Shared(unit) }
    }
}

impl Identified {
    fn types(&self) -> Option<(&Sketch, &Identities)> {
        match self {
            Identified::Not => None,
            Identified::Own(sketch, identities) => Some((sketch, identities)),
            Identified::Shared(unit) => Some((&unit.sketch, &unit.identities)),
        }
    }
}

/// What the types of a CU refer to.
enum Referred {
    Not,
    Own(Links),
    Shared(Arc<Unit>),
}

impl Referred {
    fn of(&self, index: usize) -> &[u32] {
        match self {
            Referred::Not => &[],
            Referred::Own(links) => links.of(index),
            Referred::Shared(unit) => unit.sketch.links(index),
        }
    }
}

/// The string offsets of names, by their number.
#[derive(Default)]
struct Offsets(HashMap<u32, u32, FixedState>);

impl Offsets {
    fn offset(&mut self, strings: &mut Interner<'_>, texts: Texts<'_>, name: u32) -> u32 {
        match name {
            0 => 0,
            name => *self.0.entry(name).or_insert_with(|| strings.intern(texts.get(name))),
        }
    }
}

/// The types of a file, growing CU by CU.
pub(super) struct File<'base, 'd> {
    btf: Btf,
    base: Option<&'base Base>,
    strings: Interner<'base>,
    names: Offsets,
    merge: Option<Merge<'base>>,
    /// CUs, and the classes and references of their types.
    units: Vec<(Cu<'d>, Vec<u32>, Referred)>,
    /// What is kept for the next link.
    shared: Vec<Arc<Unit>>,
    /// The type that indexes all arrays: the first `int` of the file.
    int: Option<u32>,
    /// Of each type, whether it is doubtful.
    doubtful: Vec<bool>,
    functions: Vec<Function>,
    sections: Sections,
    notes: Notes,
}

/// A file whose types are complete, but not deduplicated.
pub(super) struct Finished {
    pub btf: Btf,
    pub warnings: Vec<String>,
    pub skipped: Vec<Skipped>,
    pub given: Option<Given>,
    pub shared: Vec<Arc<Unit>>,
}

impl<'base, 'd> File<'base, 'd> {
    /// Without `merge` all types go to the exact engine.
    pub fn new(
        base: Option<&'base Base>,
        endian: Endian,
        merge: Option<Merge<'base>>,
    ) -> File<'base, 'd> {
        File {
            btf: Btf::empty(endian, base.map(Base::btf)),
            base,
            strings: base.map_or_else(|| Interner::new(None), Base::interner),
            names: Offsets::default(),
            merge,
            units: Vec::new(),
            shared: Vec::new(),
            int: None,
            doubtful: Vec::new(),
            functions: Vec::new(),
            sections: Sections::new(),
            notes: Notes::default(),
        }
    }

    /// Takes the next CU in; where all types go to the exact engine it is appended at once.
    pub fn add(&mut self, read: Read<'d>, vars: &Rules<'_>) -> Result<(), EncodeError> {
        let Read { cu, identified } = read;
        let (Some(merge), Some((sketch, identities))) = (&mut self.merge, identified.types())
        else {
            return self.append(cu, 0, &[], &Referred::Not, vars);
        };
        if cu.int != 0 && self.int.is_none() {
            self.int = Some(cu.int);
            merge.indexes_arrays(identities.own[cu.int as usize - 1]);
        }
        let classes = merge.add(sketch, identities);
        let links = match identified {
            Identified::Not => Referred::Not,
            Identified::Own(sketch, _) => Referred::Own(sketch.into_links()),
            Identified::Shared(unit) => {
                self.shared.push(Arc::clone(&unit));
                Referred::Shared(unit)
            }
        };
        self.units.push((cu, classes, links));
        Ok(())
    }

    /// All CUs are in: appends those that waited.
    pub fn append_all(&mut self, vars: &Rules<'_>) -> Result<(), EncodeError> {
        self.int = None;
        let units = std::mem::take(&mut self.units);
        if let Some(merge) = &mut self.merge {
            merge.settle(|unit, index| {
                let (_, classes, links) = &units[unit as usize];
                // Void and the int that indexes arrays are not doubtful.
                let class = |id: &u32| classes.get((*id as usize).wrapping_sub(1)).copied();
                links.of(index as usize).iter().filter_map(class)
            });
        }
        for (number, (cu, classes, links)) in units.into_iter().enumerate() {
            self.append(cu, number as u32, &classes, &links, vars)?;
        }
        Ok(())
    }

    /// Appends one CU. Names are interned in the order in which pahole meets them.
    fn append(
        &mut self,
        mut cu: Cu<'_>,
        unit: u32,
        classes: &[u32],
        links: &Referred,
        vars: &Rules<'_>,
    ) -> Result<(), EncodeError> {
        let first = self.btf.next_id();
        let Assigned { ids, kept } = match &mut self.merge {
            Some(merge) => merge.assign(unit, cu.types.len(), classes, first),
            None => Assigned::all(cu.types.len(), first),
        };
        let next = first + kept.len() as u32;
        let id = |local: u32| ids[local as usize];
        let mut index_type = self.int;
        if index_type.is_none() && cu.int != 0 {
            self.int = Some(id(cu.int));
            index_type = self.int;
        }
        let mut made_int = index_type.is_none() && cu.has_arrays;
        if made_int && let Some(known) = self.merge.as_ref().and_then(Merge::base_int) {
            made_int = false;
            self.int = Some(known);
            index_type = Some(known);
        }
        let index_type = index_type.unwrap_or(next);
        let mut words = Vec::new();
        for &index in &kept {
            cu.types.write(index as usize, links.of(index as usize), &mut words)?;
            let words = &mut words[..];
            map_names(words, |name| self.names.offset(&mut self.strings, cu.texts, name));
            if words[0] == 0 && needs_name(words[1]) {
                let what = "a base type, typedef, tag or forward declaration has an empty name";
                return Err(EncodeError::Content(format!("{what}, which BTF demands")));
            }
            map_ids(words, |local| if local == FILE_INT { index_type } else { id(local) });
            self.btf.types.push(words);
        }
        if self.strings.is_full() {
            return Err(no_room());
        }
        if let Some(merge) = &self.merge {
            let class = |&index: &u32| classes.get(index as usize).copied().unwrap_or(u32::MAX);
            self.doubtful.extend(kept.iter().map(class).map(|class| merge.is_doubtful(class)));
        }
        if made_int {
            const SIGNED_32: u32 = 1 << 24 | 32;
            let name = self.strings.intern(b"int");
            self.btf.types.push(&[name, info(Kind::Int, 0, false), 4, SIGNED_32]);
            self.int = Some(next);
        }

        let mut offset_of = |name| self.names.offset(&mut self.strings, cu.texts, name);
        for tag in &cu.tags {
            let value = offset_of(tag.value);
            let (target, component) = (id(tag.target), tag.component as u32);
            self.btf.types.push(&[value, info(Kind::DeclTag, 0, false), target, component]);
        }
        self.functions.extend(cu.functions.drain(..).map(|mut f| {
            f.ret = id(f.ret);
            for param in &mut f.params {
                param.name = offset_of(param.name);
                param.ty = id(param.ty);
            }
            for tag in &mut f.tags {
                tag.value = offset_of(tag.value);
            }
            f
        }));
        for v in &cu.variables {
            let name = cu.texts.get(v.name);
            let place = vars.place(v, name).map_err(EncodeError::Content)?;
            let Some((section, offset, size)) = place else { continue };
            let name = self.strings.intern(name);
            let var = self.btf.next_id();
            self.btf.types.push(&[name, info(Kind::Var, 0, false), id(v.ty), v.external.into()]);
            for &text in &v.tags {
                let value = self.strings.intern(cu.texts.get(text));
                self.tag(value, var, -1);
            }
            self.sections.entry(section).or_default().push(Placed { id: var, offset, size });
        }
        self.doubtful.resize(self.btf.types.len(), false);
        self.notes.add(&cu);
        Ok(())
    }

    fn tag(&mut self, value: u32, target: u32, component: i32) {
        self.btf.types.push(&[value, info(Kind::DeclTag, 0, false), target, component as u32]);
    }

    /// From now on, remembers what [`Given`] needs.
    pub fn keep(&mut self) {
        self.strings.remember();
    }

    /// Emits functions and sections; the types are complete then, but not deduplicated.
    pub fn finish(
        mut self,
        known: &FunctionTable<'_>,
        vars: &Rules<'_>,
        features: &Features,
    ) -> Result<Finished, EncodeError> {
        let types = &mut self.btf.types;
        let strings = &mut self.strings;
        let intern = |s: &[u8]| strings.intern(s);
        let below = self.base.map(|base| &base.btf().types);
        let skipped = functions::emit(self.functions, known, features, types, below, intern)
            .map_err(EncodeError::Content)?;
        vars.emit(self.sections, types, |s| strings.intern(s));
        if strings.is_full() {
            return Err(no_room());
        }
        let met = self.strings.take_met();
        self.btf.strings = self.strings.into_bytes();
        let given = met.and_then(|met| {
            let used = match &self.merge {
                // Then the engine was given all types, whatever the base has.
                Some(merge) if merge.gave_up() => {
                    self.doubtful.fill(true);
                    Vec::new()
                }
                merge => merge.as_ref().and_then(Merge::used)?,
            };
            Given::of(&self.btf, self.doubtful, self.base?, used, &met)
        });
        let (btf, warnings, shared) = (self.btf, self.notes.into_lines(), self.shared);
        Ok(Finished { btf, warnings, skipped, given, shared })
    }
}

fn no_room() -> EncodeError {
    EncodeError::Content("its names take more room than the strings of a BTF have".into())
}
