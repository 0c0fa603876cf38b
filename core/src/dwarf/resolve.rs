//! After the pass: references become type ids, functions get what their abstract instances know.

use super::Known;
use super::cu::{Cu, DeclTag, FILE_INT, Function, Param, Substitute, Text, Variable};
use super::emit::{Atomic, IS_ID};
use super::layout;
use super::offsets::OffsetMap;
use super::{DwarfError, Result};
use crate::btf::types::{KFLAG, map_ids};
use crate::btf::{Endian, Kind};
use crate::dwarf::attributes::Attributes;
use crate::target::Target;

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
    /// ENUM64s and the type that tells their sign.
    pub wide_enums: Vec<(u32, u32)>,
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
    /// Bytes of the storage unit, 0 for those of the member's type.
    pub storage: u64,
    pub bit_offset: u64,
    pub bits: u64,
    pub bit_size: u64,
}

impl Pending {
    pub fn function(&mut self, offset: u32, a: &Attributes<'_>) -> usize {
        self.functions.push(RawFunction {
            offset,
            name: a.name(),
            declaration: a.declaration(),
            origin: a.origin(),
            specification: a.specification().unwrap_or(0),
            ty: a.ty(),
            variadic: false,
            tags: Vec::new(),
            params: self.params.len()..self.params.len(),
        });
        self.functions.len() - 1
    }

    pub fn param(&mut self, function: usize, offset: u32, a: &Attributes<'_>, unexpected: bool) {
        let (name, ty, origin) = (a.name(), a.ty(), a.origin());
        self.params.push(RawParam { function, offset, name, ty, origin, unexpected });
        self.functions[function].params.end = self.params.len();
    }

    pub fn variable(
        &mut self,
        offset: u32,
        a: &Attributes<'_>,
        address: Option<u64>,
    ) -> Option<usize> {
        if address.is_none() && !a.declaration() {
            return None;
        }
        self.variables.push(RawVariable {
            offset,
            name: a.name(),
            ty: a.ty(),
            external: a.external(),
            specification: a.specification(),
            address,
            tags: Vec::new(),
        });
        Some(self.variables.len() - 1)
    }
}

/// Resolves everything and hands the CU over.
pub(super) fn finish<'d>(
    mut cu: Cu<'d>,
    mut offsets: OffsetMap,
    mut pending: Pending,
    known: Known<'_>,
    target: Target,
) -> Result<Cu<'d>> {
    offsets.seal();
    see_through(&mut offsets, &pending.atomics);
    note_atomics(&mut cu, &offsets, &pending.atomics);
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
    for index in 0..cu.types.len() {
        map_ids(cu.types.get_mut(index), &mut resolve);
    }
    for param in &mut pending.params {
        param.ty = resolve(param.ty);
    }
    for function in &mut pending.functions {
        function.ty = resolve(function.ty);
    }
    for variable in &mut pending.variables {
        variable.ty = resolve(variable.ty);
    }
    for &(id, ty) in &pending.wide_enums {
        let ty = resolve(ty);
        if ty != 0 && layout::is_signed_int(&cu.types, ty) {
            cu.types.get_mut(id as usize - 1)[1] |= KFLAG;
        }
    }
    for bitfield in &pending.bitfields {
        place(&mut cu, bitfield, target)?;
    }
    cu.lost_references = lost;
    pending.type_tags.sort_by_key(|&(id, ..)| id);
    for &(target, text, component) in &pending.type_tags {
        cu.tags.push(DeclTag { value: text.0, target, component });
    }
    functions(&mut cu, &mut pending, known, target);
    variables(&mut cu, &pending, target);
    Ok(cu)
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
fn note_atomics(cu: &mut Cu<'_>, offsets: &OffsetMap, atomics: &[Atomic]) {
    if atomics.is_empty() {
        return;
    }
    let mut of_members = vec![false; atomics.len()];
    for index in 0..cu.types.len() {
        let ty = cu.types.get(index);
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
            id => cu.texts.get(cu.types.get(id as usize - 1).name()),
        };
        cu.substitutes.push(Substitute::Atomic(name));
    }
}

/// Computes where an old-style bitfield lies.
fn place(cu: &mut Cu<'_>, b: &Bitfield, target: Target) -> Result<()> {
    let at = 3 + b.index * 3;
    let ty = cu.types.get(b.id as usize - 1).0[at + 1];
    let storage = match b.storage {
        0 => layout::size_of(&cu.types, ty, target.pointer_size),
        bytes => bytes,
    };
    let within = match target.endian {
        Endian::Little => {
            storage.wrapping_mul(8).wrapping_sub(b.bit_offset).wrapping_sub(b.bit_size)
        }
        Endian::Big => b.bit_offset,
    };
    let bits = b.bits.wrapping_add(within) as u32;
    if bits > 0xff_ffff {
        let what = format!("a bitfield at bit {bits}, beyond what BTF can express");
        return Err(DwarfError::die(b.die, what));
    }
    cu.types.get_mut(b.id as usize - 1)[at + 2] = bits | (b.bit_size as u32) << 24;
    Ok(())
}

fn functions(cu: &mut Cu<'_>, pending: &mut Pending, known: Known<'_>, target: Target) {
    let Pending { functions, params, completed, .. } = pending;
    let find = |functions: &[RawFunction], offset: u32| {
        functions.binary_search_by_key(&offset, |f| f.offset).ok()
    };
    // What a concrete instance leaves out it takes from its abstract one, and what it knows of
    // registers it shares with that one.
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
    let mut packing = layout::Packing::new(&cu.types, target.pointer_size);
    for &index in completed.iter() {
        let f = &functions[index];
        let own = || params[f.params.clone()].iter().filter(|p| p.function == index);
        let (false, Some(name)) = (f.declaration, f.name) else { continue };
        if own().any(|p| p.name.is_none()) {
            continue;
        }
        let Some(symbol) = known(cu.texts.get(name.0)) else { continue };
        let types = &cu.types;
        let unexpected_reg =
            own().any(|p| p.unexpected) && !own().any(|p| layout::is_struct(types, p.ty));
        let uncertain_location = own().count() >= target.register_params as usize
            && own().skip(target.register_params as usize).any(|p| packing.is_packed_struct(p.ty));
        let mut list: Vec<Param> =
            own().map(|p| Param { name: p.name.unwrap_or_default().0, ty: p.ty }).collect();
        if f.variadic {
            list.push(Param { name: 0, ty: 0 });
        }
        let tags = f
            .tags
            .iter()
            .map(|&(text, component)| DeclTag { value: text.0, target: 0, component })
            .collect();
        cu.functions.push(Function {
            symbol,
            ret: f.ty,
            params: list,
            unexpected_reg,
            uncertain_location,
            tags,
        });
    }
}

fn variables(cu: &mut Cu<'_>, pending: &Pending, target: Target) {
    for variable in &pending.variables {
        let Some(address) = variable.address else { continue };
        // Name, type and linkage may stand at the declaration that this one completes.
        let told = variable
            .specification
            .and_then(|s| pending.variables.binary_search_by_key(&s, |v| v.offset).ok())
            .map_or(variable, |i| &pending.variables[i]);
        let Some(name) = told.name.map(|name| cu.texts.get(name.0)) else { continue };
        cu.variables.push(Variable {
            name,
            ty: told.ty,
            external: told.external,
            address,
            size: layout::size_of(&cu.types, told.ty, target.pointer_size),
            tags: variable.tags.iter().map(|text| cu.texts.get(text.0)).collect(),
        });
    }
}
