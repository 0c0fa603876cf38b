//! A split layer that stands on a distilled base, put onto a real base.
//!
//! This is what the kernel does when it loads a module with `.BTF.base`, rule by rule, its
//! peculiarities included: every named type of the real base is offered to the distilled types of
//! its name. Integers, floats and enums must agree in size, integers in encoding too. For a struct or
//! union the size counts where the base has several of that name, or where the split layer embeds
//! it by value; struct and union are not told apart. A forward declaration takes a struct without
//! bitfields and a union with them, whichever of both it declares. A distilled type must find
//! exactly one type.
//!
//! The kernel stops at the first distilled type that does not fit; here all are named. Chains that
//! lead back to themselves end the search instead of hanging it. Cost: one pass over each layer and
//! a sort of the distilled names.

mod error;
mod search;

pub use error::{Mismatch, RelocateError, What};

use super::types::{map_ids, map_names};
use super::{Btf, Kind, Type};
use search::{Found, Search};

/// Puts `split`, which stands on `distilled`, onto `base`. All three stay as they are.
pub fn relocate(split: &Btf, distilled: &Btf, base: &Btf) -> Result<Btf, RelocateError> {
    if split.first_id != distilled.next_id() || split.first_string != distilled.next_string() {
        return Err(RelocateError::layer("it does not stand on this distilled base"));
    }
    if distilled.first_string > 0 || base.first_string > 0 {
        return Err(RelocateError::layer("a distilled base and a base stand alone"));
    }
    if split.endian != base.endian {
        return Err(RelocateError::layer("its byte order is not that of the base"));
    }
    let all = (1..).zip(distilled.types.iter());
    let foreign = all.filter(|&(_, ty)| !is_distilled(ty));
    check(foreign.map(|(id, _)| Mismatch::new(distilled, id, What::Foreign)).collect())?;

    let found = Search::new(split, distilled, base).run();
    check(found.iter().filter_map(|f| f.problem(distilled, base)).collect())?;
    rewrite(split, base, &found, &new_names(distilled, base, &found))
}

fn check(mismatches: Vec<Mismatch>) -> Result<(), RelocateError> {
    if mismatches.is_empty() { Ok(()) } else { Err(RelocateError { mismatches }) }
}

/// Whether a distilled base may hold such a type.
fn is_distilled(ty: Type<'_>) -> bool {
    use Kind::{Enum, Float, Fwd, Int, Struct, Union};
    ty.name() > 0 && matches!(ty.kind(), Some(Int | Float | Enum | Struct | Union | Fwd))
}

/// The offset in `base` of each name in `distilled`, by its old offset; 0 for strings that no type
/// has. Of several copies in the base the last one counts, as in the kernel.
fn new_names(distilled: &Btf, base: &Btf, found: &[Found]) -> Vec<u32> {
    let mut names = vec![0; distilled.strings.len()];
    let mut pairs: Vec<(u32, u32)> =
        distilled.types.iter().zip(found).map(|(ty, f)| (f.id(), ty.name())).collect();
    pairs.sort_unstable();
    for (id, old) in pairs {
        if let Some(slot) = names.get_mut(old as usize) {
            *slot = base.types.get((id - 1) as usize).name();
        }
    }
    names
}

/// The types of `split` with the ids and names of `base`.
fn rewrite(split: &Btf, base: &Btf, found: &[Found], names: &[u32]) -> Result<Btf, RelocateError> {
    let mut new =
        Btf { first_id: base.next_id(), first_string: base.next_string(), ..split.clone() };
    let mut mismatches = Vec::new();
    for (id, index) in (split.first_id..).zip(0..split.types.len()) {
        let words = new.types.get_mut(index);
        let ty = Type(words);
        if ty.kind().is_none() {
            let what = What::Kind(ty.kind_value());
            mismatches.push(Mismatch::new(split, id, what));
            continue;
        }
        map_ids(words, |id| match (id as usize).checked_sub(1) {
            None => 0,
            Some(index) => match found.get(index) {
                Some(found) => found.id(),
                None => id - split.first_id + new.first_id,
            },
        });
        let mut lost = false;
        map_names(words, |name| match names.get(name as usize) {
            _ if name == 0 => 0,
            None => name - split.first_string + new.first_string,
            Some(&offset) => {
                lost |= offset == 0;
                offset
            }
        });
        if lost {
            mismatches.push(Mismatch::new(split, id, What::Name));
        }
    }
    check(mismatches)?;
    Ok(new)
}

#[cfg(test)]
mod tests;
