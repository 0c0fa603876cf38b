//! Sizes and alignments of types, as the types of a CU tell them.

use crate::btf::kind::Kind;
use crate::btf::{Type, Types};

/// Chains of typedefs, qualifiers and arrays longer than this are taken as endless.
const MAX_CHAIN: usize = 1024;

fn get(types: &Types, id: u32) -> Option<Type<'_>> {
    (id as usize).checked_sub(1).filter(|&i| i < types.len()).map(|i| types.get(i))
}

/// The type behind typedefs and qualifiers.
fn strip(types: &Types, mut id: u32) -> Option<(u32, Type<'_>)> {
    for _ in 0..MAX_CHAIN {
        let ty = get(types, id)?;
        match ty.kind()? {
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict => id = ty.size_or_type(),
            _ => return Some((id, ty)),
        }
    }
    None
}

/// Size in bytes of the type `id` (which counts from 1); 0 for void, functions and endless chains.
pub fn size_of(types: &Types, mut id: u32, pointer_size: u8) -> u64 {
    let mut factor = 1u64;
    for _ in 0..MAX_CHAIN {
        let Some((_, ty)) = strip(types, id) else { return 0 };
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
    0
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

/// Natural alignment in bytes: what the members would need if nothing were packed.
///
/// Visits each nested composite at most once per path of 64 levels; deeper nesting counts as 1.
fn natural_alignment(types: &Types, id: u32, pointer_size: u8) -> u32 {
    let mut most = 1;
    let mut visited = vec![id];
    let mut at = 0;
    while at < visited.len() && visited.len() < 100_000 {
        let id = visited[at];
        at += 1;
        let Some((_, ty)) = strip(types, id) else { continue };
        let own = match ty.kind() {
            Some(Kind::Ptr) => u32::from(pointer_size),
            Some(Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64) => ty.size_or_type(),
            Some(Kind::Array) => {
                visited.push(ty.payload()[0]);
                1
            }
            Some(Kind::Struct | Kind::Union) => {
                visited.extend(ty.elements().map(|m| m[1]));
                1
            }
            _ => 1,
        };
        most = most.max(own);
    }
    most
}

/// Whether `id` is a named struct (not a typedef of one) that looks packed: no holes, no padding,
/// and yet a member off its natural alignment, or a size that is no multiple of the largest.
pub(super) fn is_packed_struct(types: &Types, id: u32, pointer_size: u8) -> bool {
    let Some(ty) = get(types, id) else { return false };
    if ty.kind() != Some(Kind::Struct) || ty.name() == 0 {
        return false;
    }
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
            0 => size_of(types, m[1], pointer_size) * 8,
            width => u64::from(width),
        };
        end = end.max(start + size);
        let alignment = natural_alignment(types, m[1], pointer_size);
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
