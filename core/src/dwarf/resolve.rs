//! After the pass: references become type ids, functions get what their abstract instances know.

use super::again::Again;
use super::cu::{Cu, DeclTag, Function, Param, Substitute, Text, Texts, Variable, Written};
use super::emit::{Atomic, Emitter, IS_ID, Sink};
use super::layout::{self, Graph};
use super::offsets::{MAX_OFFSETS, OffsetMap};
use super::unit::Group;
use super::walk::Walked;
use super::{DwarfError, Known, Result};
use crate::btf::types::map_ids;
use crate::btf::{Endian, Kind, Types};
use crate::dwarf::attributes::Attributes;
use crate::features::Features;
use crate::identity::{FILE_INT, Sketch};
use crate::target::Target;
use std::sync::Arc;

/// What the pass over the DIEs leaves to be done when all offsets are known.
#[derive(Default)]
pub(super) struct Pending {
    pub functions: Vec<RawFunction>,
    /// Indexes of functions in the order in which their DIEs were complete.
    pub completed: Vec<usize>,
    pub variables: Vec<RawVariable>,
    /// Names of declared composites by offset, for definitions that only refer to them.
    pub declared: Vec<(u32, Text)>,
    /// Tags of types: id, text, component.
    pub type_tags: Vec<(u32, Text, i32)>,
    pub bitfields: Vec<Bitfield>,
    pub storages: Vec<Storage>,
    /// In ascending order of offsets and slots.
    pub atomics: Vec<Atomic>,
    params: Vec<RawParam>,
}

/// A function as its DIE tells it.
pub(super) struct RawFunction {
    offset: u32,
    name: Option<Text>,
    declaration: bool,
    origin: u32,
    specification: u32,
    ty: u32,
    pub variadic: bool,
    pub tags: Vec<(Text, i32)>,
    /// Its parameters lie between these in the list of all; those of nested functions as well.
    params: std::ops::Range<usize>,
}

struct RawParam {
    function: usize,
    offset: u32,
    name: Option<Text>,
    /// A DIE offset, then a type id.
    ty: u32,
    origin: u32,
    unexpected: bool,
}

/// A variable that has an address, or that such a one may complete.
pub(super) struct RawVariable {
    offset: u32,
    name: Option<Text>,
    ty: u32,
    external: bool,
    specification: Option<u32>,
    address: Option<u64>,
    pub tags: Vec<Text>,
}

/// A bitfield of DWARF 2 or 3: its place counts from the high end of a storage unit.
pub(super) struct Bitfield {
    /// Offset of the DIE of the struct in `.debug_info`.
    pub die: usize,
    pub id: u32,
    pub index: usize,
    /// Its storage unit in [`Pending::storages`], counted from 1.
    pub storage: u32,
    pub bit_size: u32,
}

/// The storage unit of such a bitfield.
#[derive(Clone, Copy)]
pub(super) struct Storage {
    /// Bytes of it, 0 for those of the member's type.
    pub bytes: u64,
    /// Where in it the bitfield is.
    pub bit_offset: u64,
    /// Where it begins.
    pub bits: u64,
}

impl Pending {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.functions.clear();
        self.completed.clear();
        self.variables.clear();
        self.declared.clear();
        self.type_tags.clear();
        self.bitfields.clear();
        self.storages.clear();
        self.atomics.clear();
        self.params.clear();
    }

    pub fn function(&mut self, offset: u32, a: &Attributes<'_, '_>) -> Walked<usize> {
        self.functions.push(RawFunction {
            offset,
            name: a.name()?,
            declaration: a.declaration(),
            origin: a.origin(),
            specification: a.specification().unwrap_or(0),
            ty: a.ty(),
            variadic: false,
            tags: Vec::new(),
            params: self.params.len()..self.params.len(),
        });
        Ok(self.functions.len() - 1)
    }

    pub fn param(
        &mut self,
        function: usize,
        offset: u32,
        a: &Attributes<'_, '_>,
        unexpected: bool,
    ) -> Walked<()> {
        let (name, ty, origin) = (a.name()?, a.ty(), a.origin());
        self.params.push(RawParam { function, offset, name, ty, origin, unexpected });
        self.functions[function].params.end = self.params.len();
        Ok(())
    }

    pub fn variable(
        &mut self,
        offset: u32,
        a: &Attributes<'_, '_>,
        address: Option<u64>,
    ) -> Walked<Option<usize>> {
        if address.is_none() && !a.declaration() {
            return Ok(None);
        }
        self.variables.push(RawVariable {
            offset,
            name: a.name()?,
            ty: a.ty(),
            external: a.external(),
            specification: a.specification(),
            address,
            tags: Vec::new(),
        });
        Ok(Some(self.variables.len() - 1))
    }
}

/// Resolves everything and hands the CU over, whose types are written down.
pub(super) fn written<'d>(
    out: Emitter<'_, 'd>,
    known: Known<'_>,
    target: Target,
) -> Result<Cu<'d>> {
    let Emitter { mut cu, mut offsets, mut pending, sink: Sink::Words(mut types), .. } = out else {
        return Ok(out.cu);
    };
    if !offsets.is_whole() {
        let what = format!("{MAX_OFFSETS} types or more in units that refer to each other");
        return Err(DwarfError::die(out.start, what));
    }
    see_through(&mut offsets, &pending.atomics);
    note_atomics(&mut cu, &types, &offsets, &pending.atomics);
    let mut lost = 0;
    let mut resolve = |word: u32| match word {
        0 => 0,
        FILE_INT => FILE_INT,
        id if id & IS_ID != 0 => id & !IS_ID,
        offset => offsets.get(offset).unwrap_or_else(|| {
            lost += 1;
            0
        }),
    };
    for index in 0..types.len() {
        map_ids(types.get_mut(index), &mut resolve);
    }
    pending.resolve(&mut resolve);
    for bitfield in &pending.bitfields {
        let storage = pending.storages[bitfield.storage as usize - 1];
        place(&mut types, bitfield, storage, target)?;
    }
    cu.lost_references = lost;
    let mut packing = layout::Packing::new(&types, target.pointer_size);
    pending.hand_over(&mut cu, &types, known, target, |id| packing.is_packed_struct(id));
    cu.types = Written::Down(types);
    Ok(cu)
}

/// The same for types that were sketched; `None` where that does not do.
pub(super) fn sketched<'d>(
    out: Emitter<'_, 'd>,
    group: &'d Group<'d>,
    features: &'d Features,
    known: Known<'_>,
    target: Target,
) -> Option<(Cu<'d>, Sketch)> {
    let Emitter { mut cu, offsets, mut pending, sink, .. } = out;
    let Sink::Sketch { mut sketch, places, odd: false, .. } = sink else { return None };
    if !offsets.is_whole() {
        return None;
    }
    let mut lost = 0;
    let mut resolve = |offset: u32| match offset {
        0 | FILE_INT => offset,
        offset => offsets.get(offset).unwrap_or_else(|| {
            lost += 1;
            0
        }),
    };
    for link in sketch.all_links() {
        *link = resolve(*link);
    }
    pending.resolve(&mut resolve);
    cu.lost_references = lost;
    // Whether a struct looks packed takes its members.
    let mut asked = false;
    pending.hand_over(&mut cu, &sketch, known, target, |id| {
        asked |= sketch.kind(id as usize - 1) == Some(Kind::Struct);
        false
    });
    cu.types = Written::Again(Again::new(group, features, Arc::new(places)));
    (!asked).then_some((cu, sketch))
}

impl Pending {
    /// Makes type ids of references.
    fn resolve(&mut self, mut resolve: impl FnMut(u32) -> u32) {
        for param in &mut self.params {
            param.ty = resolve(param.ty);
        }
        for function in &mut self.functions {
            function.ty = resolve(function.ty);
        }
        for variable in &mut self.variables {
            variable.ty = resolve(variable.ty);
        }
    }

    /// Hands tags, functions and variables over to the CU; references are type ids. `is_packed`
    /// tells of types whether they are structs with names that look packed.
    fn hand_over(
        &mut self,
        cu: &mut Cu<'_>,
        types: &impl Graph,
        known: Known<'_>,
        target: Target,
        is_packed: impl FnMut(u32) -> bool,
    ) {
        self.type_tags.sort_by_key(|&(id, ..)| id);
        for &(target, text, component) in &self.type_tags {
            cu.tags.push(DeclTag { value: text.0, target, component });
        }
        self.inherit();
        cu.functions = self.functions(types, cu.texts, known, target, is_packed);
        self.variables(cu, types, target);
    }
}

/// Lets atomic types lead where what they qualify leads; void where they only lead to each other.
fn see_through(offsets: &mut OffsetMap, atomics: &[Atomic]) {
    let mut seen = vec![false; atomics.len()];
    let mut path = Vec::new();
    for first in 0..atomics.len() {
        let mut next = Some(first);
        let mut id = 0;
        while let Some(i) = next.take().filter(|&i| !seen[i]) {
            seen[i] = true;
            path.push(atomics[i].slot);
            let Some(slot) = offsets.slot(atomics[i].ty) else { break };
            id = offsets.id(slot);
            next = atomics.binary_search_by_key(&slot, |a| a.slot).ok();
        }
        for slot in path.drain(..) {
            offsets.set(slot, id);
        }
    }
}

/// Notes what was atomic: members by name, what else there is by its type. Types are not resolved
/// yet.
fn note_atomics(cu: &mut Cu<'_>, types: &Types, offsets: &OffsetMap, atomics: &[Atomic]) {
    if atomics.is_empty() {
        return;
    }
    let mut of_members = vec![false; atomics.len()];
    for ty in types.iter() {
        if !matches!(ty.kind(), Some(Kind::Struct | Kind::Union)) {
            continue;
        }
        for member in ty.elements() {
            if let Ok(i) = atomics.binary_search_by_key(&member[1], |a| a.offset) {
                of_members[i] = true;
                let (owner, member) = (cu.texts.get(ty.name()), cu.texts.get(member[0]));
                cu.substitutes.push(Substitute::AtomicMember { owner, member });
            }
        }
    }
    for (atomic, _) in atomics.iter().zip(of_members).filter(|(_, of_member)| !of_member) {
        let name = match offsets.id(atomic.slot) {
            0 => b"",
            id => cu.texts.get(types.get(id as usize - 1).name()),
        };
        cu.substitutes.push(Substitute::Atomic(name));
    }
}

/// Computes where an old-style bitfield lies.
fn place(types: &mut Types, b: &Bitfield, storage: Storage, target: Target) -> Result<()> {
    let at = 3 + b.index * 3;
    let ty = types.get(b.id as usize - 1).0[at + 1];
    let bytes = match storage.bytes {
        0 => layout::size_of(types, ty, target.pointer_size),
        bytes => bytes,
    };
    let within = match target.endian {
        Endian::Little => {
            bytes.wrapping_mul(8).wrapping_sub(storage.bit_offset).wrapping_sub(b.bit_size.into())
        }
        Endian::Big => storage.bit_offset,
    };
    let bits = storage.bits.wrapping_add(within) as u32;
    if bits > 0xff_ffff {
        let what = format!("a bitfield at bit {bits}, beyond what BTF can express");
        return Err(DwarfError::die(b.die, what));
    }
    types.get_mut(b.id as usize - 1)[at + 2] = bits | b.bit_size << 24;
    Ok(())
}

impl Pending {
    /// What a concrete instance of a function leaves out it takes from its abstract one, and what it
    /// knows of registers it shares with that one.
    fn inherit(&mut self) {
        let Pending { functions, params, completed, .. } = self;
        for &index in completed.iter() {
            for at in functions[index].params.clone() {
                let param = &params[at];
                if param.function != index || param.ty != 0 || param.origin == 0 {
                    continue;
                }
                let Ok(origin) = params.binary_search_by_key(&param.origin, |p| p.offset) else {
                    continue;
                };
                if param.unexpected {
                    params[origin].unexpected = true;
                }
                let (name, ty) = (params[origin].name, params[origin].ty);
                params[at].name = name;
                params[at].ty = ty;
            }
            if functions[index].name.is_none() {
                let f = &functions[index];
                let origin = find(functions, f.origin).or_else(|| find(functions, f.specification));
                functions[index].name = origin.and_then(|o| functions[o].name);
            }
        }
        for &index in completed.iter() {
            if functions[index].ty == 0
                && let Some(origin) = find(functions, functions[index].origin)
            {
                functions[index].ty = functions[origin].ty;
            }
        }
    }

    fn functions(
        &self,
        types: &impl Graph,
        texts: Texts<'_>,
        known: Known<'_>,
        target: Target,
        mut is_packed: impl FnMut(u32) -> bool,
    ) -> Vec<Function> {
        let mut found = Vec::new();
        let in_registers = target.register_params as usize;
        for &index in &self.completed {
            let f = &self.functions[index];
            let own = || self.params[f.params.clone()].iter().filter(|p| p.function == index);
            let (false, Some(name)) = (f.declaration, f.name) else { continue };
            if own().any(|p| p.name.is_none()) {
                continue;
            }
            let Some(symbol) = known(texts.get(name.0)) else { continue };
            let unexpected_reg =
                own().any(|p| p.unexpected) && !own().any(|p| layout::is_struct(types, p.ty));
            let uncertain_location = own().count() >= in_registers
                && own().skip(in_registers).any(|p| p.ty != 0 && is_packed(p.ty));
            let mut params: Vec<Param> =
                own().map(|p| Param { name: p.name.unwrap_or_default().0, ty: p.ty }).collect();
            if f.variadic {
                params.push(Param { name: 0, ty: 0 });
            }
            let tag =
                |&(text, component): &(Text, i32)| DeclTag { value: text.0, target: 0, component };
            let tags = f.tags.iter().map(tag).collect();
            found.push(Function {
                name: name.0,
                symbol,
                ret: f.ty,
                params,
                unexpected_reg,
                uncertain_location,
                tags,
            });
        }
        found
    }

    fn variables(&self, cu: &mut Cu<'_>, types: &impl Graph, target: Target) {
        for variable in &self.variables {
            let Some(address) = variable.address else { continue };
            // Name, type and linkage may stand at the declaration that this one completes.
            let told = variable
                .specification
                .and_then(|s| self.variables.binary_search_by_key(&s, |v| v.offset).ok())
                .map_or(variable, |i| &self.variables[i]);
            let Some(name) = told.name else { continue };
            cu.variables.push(Variable {
                die: variable.offset,
                name: name.0,
                ty: told.ty,
                external: told.external,
                address,
                size: layout::size_of(types, told.ty, target.pointer_size),
                tags: variable.tags.iter().map(|text| text.0).collect(),
            });
        }
    }
}

/// The function whose DIE stands there.
fn find(functions: &[RawFunction], offset: u32) -> Option<usize> {
    functions.binary_search_by_key(&offset, |f| f.offset).ok()
}
