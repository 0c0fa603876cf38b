//! Sizes and alignments of types, as the types of a CU tell them.

use crate::btf::kind::Kind;
use crate::btf::{Type, Types};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Chains of typedefs, qualifiers and arrays longer than this are taken as endless.
const MAX_CHAIN: usize = 1024;

fn get(types: &Types, id: u32) -> Option<Type<'_>> {
    (id as usize).checked_sub(1).filter(|&i| i < types.len()).map(|i| types.get(i))
}

/// The type behind typedefs and qualifiers; `steps` counts those that may still be followed.
fn strip_within<'t>(types: &'t Types, mut id: u32, steps: &mut usize) -> Option<(u32, Type<'t>)> {
    while *steps > 0 {
        *steps -= 1;
        let ty = get(types, id)?;
        match ty.kind()? {
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict => id = ty.size_or_type(),
            _ => return Some((id, ty)),
        }
    }
    None
}

fn strip(types: &Types, id: u32) -> Option<(u32, Type<'_>)> {
    strip_within(types, id, &mut { MAX_CHAIN })
}

/// Size in bytes of the type `id` (which counts from 1); 0 for void, functions and endless chains.
pub fn size_of(types: &Types, mut id: u32, pointer_size: u8) -> u64 {
    let mut factor = 1u64;
    let mut steps = MAX_CHAIN;
    loop {
        let Some((_, ty)) = strip_within(types, id, &mut steps) else { return 0 };
        let size = match ty.kind() {
            Some(Kind::Array) => {
                factor = factor.saturating_mul(u64::from(ty.payload()[2]));
                id = ty.payload()[0];
                continue;
            }
            Some(Kind::Ptr) => u64::from(pointer_size),
            Some(
                Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64 | Kind::Struct | Kind::Union,
            ) => u64::from(ty.size_or_type()),
            _ => 0,
        };
        return size.saturating_mul(factor);
    }
}

/// Whether `id` is an INT with its sign bit set.
pub(super) fn is_signed_int(types: &Types, id: u32) -> bool {
    get(types, id).is_some_and(|ty| ty.kind() == Some(Kind::Int) && ty.payload()[0] >> 24 & 1 != 0)
}

/// Whether `id` is a struct, seen through typedefs and const.
pub(super) fn is_struct(types: &Types, mut id: u32) -> bool {
    for _ in 0..MAX_CHAIN {
        let Some(ty) = get(types, id) else { return false };
        match ty.kind() {
            Some(Kind::Struct) => return true,
            Some(Kind::Fwd) => return !ty.kflag(),
            Some(Kind::Typedef | Kind::Const) => id = ty.size_or_type(),
            _ => return false,
        }
    }
    false
}

/// Which structs look packed, remembered: functions ask for the same few again and again.
pub(super) struct Packing<'t> {
    types: &'t Types,
    pointer_size: u8,
    /// Natural alignments by type id, what the members would need if nothing were packed; 0 is "not
    /// asked for yet".
    alignments: Vec<u32>,
    packed: HashMap<u32, bool, FixedState>,
}

/// The alignment of a type whose members are being looked at.
const UNDER_WAY: u32 = u32::MAX;

impl<'t> Packing<'t> {
    pub fn new(types: &'t Types, pointer_size: u8) -> Packing<'t> {
        Packing { types, pointer_size, alignments: Vec::new(), packed: HashMap::default() }
    }

    /// Whether `id` is a named struct (not a typedef of one) that looks packed: no holes, no
    /// padding, and yet a member off its natural alignment, or a size that is no multiple of the
    /// largest.
    pub fn is_packed_struct(&mut self, id: u32) -> bool {
        let Some(ty) = get(self.types, id) else { return false };
        if ty.kind() != Some(Kind::Struct) || ty.name() == 0 {
            return false;
        }
        if let Some(&known) = self.packed.get(&id) {
            return known;
        }
        let packed = self.looks_packed(ty);
        self.packed.insert(id, packed);
        packed
    }

    fn looks_packed(&mut self, ty: Type<'_>) -> bool {
        let bits = |m: &[u32]| if ty.kflag() { m[2] & 0xff_ffff } else { m[2] };
        let width = |m: &[u32]| if ty.kflag() { m[2] >> 24 } else { 0 };
        let mut end = 0u64;
        let mut largest = 1;
        let mut misplaced = false;
        for m in ty.elements() {
            let start = u64::from(bits(m));
            if start / 8 > end.div_ceil(8) {
                return false; // a hole of a byte at least
            }
            let size = match width(m) {
                0 => size_of(self.types, m[1], self.pointer_size).saturating_mul(8),
                width => u64::from(width),
            };
            end = end.max(start.saturating_add(size));
            let alignment = self.natural_alignment(m[1]);
            largest = largest.max(alignment);
            if alignment > 1 && width(m) == 0 && start / 8 % u64::from(alignment) != 0 {
                misplaced = true;
            }
        }
        let size = u64::from(ty.size_or_type());
        if end.div_ceil(8) < size {
            return false; // padding
        }
        misplaced || size % u64::from(largest) != 0
    }

    /// Each type is looked at once; one that contains itself counts as 1 in itself.
    fn natural_alignment(&mut self, id: u32) -> u32 {
        let types = self.types;
        self.alignments.resize(types.len() + 1, 0);
        let mut stack = vec![id];
        while let Some(&next) = stack.last() {
            let Some((id, ty)) = strip(types, next) else {
                stack.pop();
                continue;
            };
            if self.alignments[id as usize] == 0 {
                self.alignments[id as usize] = UNDER_WAY;
                let open = parts(ty).filter(|&part| self.known(part) == 0);
                stack.extend(open);
                continue;
            }
            stack.pop();
            if self.alignments[id as usize] == UNDER_WAY {
                let of_parts = parts(ty).map(|part| match self.known(part) {
                    0 | UNDER_WAY => 1,
                    known => known,
                });
                let own = match ty.kind() {
                    Some(Kind::Ptr) => u32::from(self.pointer_size),
                    Some(Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64) => ty.size_or_type(),
                    _ => 1,
                };
                self.alignments[id as usize] = of_parts.fold(own.max(1), u32::max);
            }
        }
        match self.known(id) {
            0 | UNDER_WAY => 1,
            known => known,
        }
    }

    /// What is known of a type, seen through typedefs and qualifiers: 1 for what has no layout.
    fn known(&self, id: u32) -> u32 {
        strip(self.types, id).map_or(1, |(id, _)| self.alignments[id as usize])
    }
}

/// The types that lie within this one.
fn parts<'t>(ty: Type<'t>) -> impl Iterator<Item = u32> + 't {
    let (element, members) = match ty.kind() {
        Some(Kind::Array) => (Some(ty.payload()[0]), &[][..]),
        Some(Kind::Struct | Kind::Union) => (None, ty.payload()),
        _ => (None, &[][..]),
    };
    element.into_iter().chain(members.chunks_exact(3).map(|m| m[1]))
}
