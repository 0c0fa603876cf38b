//! Sizes and alignments of types, as the types of a CU tell them.

use crate::btf::kind::Kind;
use crate::btf::types::KFLAG;
use crate::btf::{Type, Types};
use crate::identity::Sketch;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Chains of typedefs, qualifiers and arrays longer than this are taken as endless.
const MAX_CHAIN: usize = 1024;

/// What sizes follow from, however types are kept.
pub(super) trait Graph {
    /// Kind and flag of the type `id`, which counts from 1; `None` where there is no such type.
    fn kind(&self, id: u32) -> Option<(Kind, bool)>;
    /// The size of a type that has one, the length of an array, what an INT says of its bits.
    fn word(&self, id: u32) -> u32;
    /// What a type that names or qualifies another refers to; the elements of an array.
    fn target(&self, id: u32) -> u32;
}

fn get(types: &Types, id: u32) -> Option<Type<'_>> {
    (id as usize).checked_sub(1).filter(|&i| i < types.len()).map(|i| types.get(i))
}

impl Graph for Types {
    fn kind(&self, id: u32) -> Option<(Kind, bool)> {
        let ty = get(self, id)?;
        ty.kind().map(|kind| (kind, ty.kflag()))
    }

    fn word(&self, id: u32) -> u32 {
        let ty = self.get(id as usize - 1);
        match ty.kind() {
            Some(Kind::Array) => ty.payload()[2],
            Some(Kind::Int) => ty.payload()[0],
            _ => ty.size_or_type(),
        }
    }

    fn target(&self, id: u32) -> u32 {
        let ty = self.get(id as usize - 1);
        match ty.kind() {
            Some(Kind::Array) => ty.payload()[0],
            _ => ty.size_or_type(),
        }
    }
}

impl Graph for Sketch {
    fn kind(&self, id: u32) -> Option<(Kind, bool)> {
        let index = (id as usize).checked_sub(1).filter(|&i| i < self.len())?;
        self.kind(index).map(|kind| (kind, self.info(index) & KFLAG != 0))
    }

    fn word(&self, id: u32) -> u32 {
        self.word(id as usize - 1)
    }

    fn target(&self, id: u32) -> u32 {
        self.links(id as usize - 1).first().copied().unwrap_or(0)
    }
}

/// The type behind typedefs and qualifiers; `steps` counts those that may still be followed.
fn strip_within(types: &impl Graph, mut id: u32, steps: &mut usize) -> Option<(u32, Kind)> {
    while *steps > 0 {
        *steps -= 1;
        match types.kind(id)?.0 {
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict => id = types.target(id),
            kind => return Some((id, kind)),
        }
    }
    None
}

fn strip(types: &Types, id: u32) -> Option<(u32, Type<'_>)> {
    let (id, _) = strip_within(types, id, &mut { MAX_CHAIN })?;
    Some((id, get(types, id)?))
}

/// Size in bytes of the type `id` (which counts from 1); 0 for void, functions and endless chains.
pub fn size_of(types: &impl Graph, mut id: u32, pointer_size: u8) -> u64 {
    let mut factor = 1u64;
    let mut steps = MAX_CHAIN;
    loop {
        let Some((at, kind)) = strip_within(types, id, &mut steps) else { return 0 };
        let size = match kind {
            Kind::Array => {
                factor = factor.saturating_mul(u64::from(types.word(at)));
                id = types.target(at);
                continue;
            }
            Kind::Ptr => u64::from(pointer_size),
            // Its lowest byte are the bits, and we make none that does not fill its size.
            Kind::Int => u64::from(types.word(at) & 0xff) / 8,
            Kind::Float | Kind::Enum | Kind::Enum64 | Kind::Struct | Kind::Union => {
                u64::from(types.word(at))
            }
            _ => 0,
        };
        return size.saturating_mul(factor);
    }
}

/// Whether `id` is a struct, seen through typedefs and const.
pub(super) fn is_struct(types: &impl Graph, mut id: u32) -> bool {
    for _ in 0..MAX_CHAIN {
        let Some((kind, kflag)) = types.kind(id) else { return false };
        match kind {
            Kind::Struct => return true,
            Kind::Fwd => return !kflag,
            Kind::Typedef | Kind::Const => id = types.target(id),
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
