//! Which type of the real base each distilled type stands for.

use super::error::{Mismatch, What, subject};
use crate::btf::layers::Int;
use crate::btf::{Btf, Kind, Type};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Bits of a size that the kernel's search compares.
const SIZE_BITS: u32 = 0x7fff_ffff;

/// What was found for one distilled type.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Index of the distilled type.
    index: usize,
    /// The first match and, where it is ambiguous, the second; 0 for none.
    matches: [u32; 2],
    /// The nearest type that does not match, and why: the first one of the same kind, else the first.
    near: Option<(u32, Miss)>,
}

/// Why a type of the same name does not match; the kinds that are nearer come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    Encoding,
    Embedded,
    Size,
    Flag,
    Kind,
}

impl Found {
    /// The id in the base; 0 where nothing was found.
    pub fn id(&self) -> u32 {
        self.matches[0]
    }

    /// What is wrong, unless exactly one type matches.
    pub fn problem(&self, distilled: &Btf, base: &Btf) -> Option<Mismatch> {
        let ty = distilled.types.get(self.index);
        let what = match (self.matches, self.near) {
            ([0, _], None) => What::Missing,
            ([0, _], Some((id, miss))) => {
                let other = base.types.get((id - 1) as usize);
                What::Different { id, subject: subject(base, other), why: miss.words(ty, other) }
            }
            ([_, 0], _) => return None,
            ([first, second], _) => What::Ambiguous { first, second },
        };
        Some(Mismatch::new(distilled, self.index as u32 + 1, what))
    }

    fn add(&mut self, id: u32) {
        if self.matches[0] == 0 {
            self.matches[0] = id;
        } else if self.matches[1] == 0 {
            self.matches[1] = id;
        }
    }

    fn miss(&mut self, id: u32, miss: Miss) {
        if self.near.is_none_or(|(_, other)| miss < other) {
            self.near = Some((id, miss));
        }
    }
}

impl Miss {
    fn words(self, ty: Type<'_>, other: Type<'_>) -> String {
        let sizes = || {
            let (have, need) = (other.size_or_type(), ty.size_or_type());
            format!("it has {have} bytes, expected {need}")
        };
        match self {
            Miss::Encoding => {
                let (have, need) = (Int::of(other).encoding, Int::of(ty).encoding);
                format!("its encoding is {have:#x}, expected {need:#x}")
            }
            Miss::Embedded => format!("{}, since the module has it inside its own types", sizes()),
            Miss::Size => sizes(),
            Miss::Flag => "the forward declaration does not accept it".into(),
            Miss::Kind => "that is another kind of type".into(),
        }
    }
}

/// A search for all distilled types at once.
pub(super) struct Search<'a> {
    distilled: &'a Btf,
    base: &'a Btf,
    by_name: HashMap<&'a [u8], Vec<usize>, FixedState>,
    /// Aggregates that the split layer has by value.
    embedded: Vec<bool>,
}

impl<'a> Search<'a> {
    pub fn new(split: &Btf, distilled: &'a Btf, base: &'a Btf) -> Search<'a> {
        let mut by_name: HashMap<_, Vec<usize>, _> = HashMap::default();
        for (index, ty) in distilled.types.iter().enumerate() {
            by_name.entry(distilled.string(None, ty.name())).or_default().push(index);
        }
        Search { distilled, base, by_name, embedded: embedded(split, distilled) }
    }

    pub fn run(&self) -> Vec<Found> {
        let mut found: Vec<Found> = (0..self.distilled.types.len())
            .map(|index| Found { index, ..Found::default() })
            .collect();
        let several = self.names_of_several();
        for (id, ty) in (1..).zip(self.base.types.iter()) {
            let Some(kind) = ty.kind().filter(|kind| is_searched(*kind) && ty.name() > 0) else {
                continue;
            };
            let Some(indexes) = self.by_name.get(self.base.string(None, ty.name())) else {
                continue;
            };
            let by_size = match kind {
                Kind::Fwd => false,
                Kind::Struct | Kind::Union => several.get(&ty.name()).is_some_and(|&n| n > 1),
                _ => true,
            };
            for &index in indexes {
                let found = &mut found[index];
                match self.fits(index, kind, ty, by_size) {
                    Ok(()) => found.add(id),
                    // The kernel forgets what is embedded as soon as something fits.
                    Err(Miss::Embedded) if found.id() > 0 => found.add(id),
                    Err(miss) => found.miss(id, miss),
                }
            }
        }
        found
    }

    /// How many structs and unions of the base have each name, by its offset; only names that matter.
    fn names_of_several(&self) -> HashMap<u32, u32, FixedState> {
        let mut count = HashMap::default();
        for ty in self.base.types.iter() {
            if ty.name() > 0
                && ty.kind().is_some_and(Kind::is_composite)
                && self.by_name.contains_key(self.base.string(None, ty.name()))
            {
                *count.entry(ty.name()).or_insert(0) += 1;
            }
        }
        count
    }

    fn fits(&self, index: usize, kind: Kind, ty: Type<'_>, by_size: bool) -> Result<(), Miss> {
        let wanted = self.distilled.types.get(index);
        let wanted_kind = wanted.kind().unwrap_or(Kind::Void);
        let demand = |holds: bool, miss| if holds { Ok(()) } else { Err(miss) };
        let kinds = match wanted_kind {
            Kind::Fwd => kind == Kind::Fwd || kind.is_composite(),
            Kind::Enum => kind.is_enum(),
            // As in the kernel: anything that has the name and what else is asked for.
            Kind::Struct | Kind::Union => true,
            _ => kind == wanted_kind,
        };
        demand(kinds, Miss::Kind)?;
        let (have, need) = (ty.size_or_type(), wanted.size_or_type());
        if by_size && have & SIZE_BITS != need & SIZE_BITS {
            // For a forward declaration the base must not have several of its name.
            return Err(if wanted_kind == Kind::Fwd { Miss::Flag } else { Miss::Size });
        }
        match wanted_kind {
            Kind::Fwd => {
                let fits = match kind {
                    Kind::Fwd => wanted.kflag() == ty.kflag(),
                    Kind::Union => ty.kflag(),
                    _ => !ty.kflag(),
                };
                demand(fits, Miss::Flag)
            }
            Kind::Int => demand(Int::of(ty).encoding == Int::of(wanted).encoding, Miss::Encoding),
            Kind::Struct | Kind::Union => {
                demand(!self.embedded[index] || have == need, Miss::Embedded)
            }
            _ => Ok(()),
        }
    }
}

fn is_searched(kind: Kind) -> bool {
    use Kind::{Enum, Enum64, Float, Fwd, Int, Struct, Union};
    matches!(kind, Int | Float | Enum | Enum64 | Fwd | Struct | Union)
}

/// Which distilled structs and unions are members, by value, of structs and unions of the split
/// layer: through arrays, typedefs, qualifiers and type tags, but not through pointers.
fn embedded(split: &Btf, distilled: &Btf) -> Vec<bool> {
    let mut embedded = vec![false; distilled.types.len()];
    // A chain is followed once, however many members begin or join it.
    let mut followed = vec![false; split.types.len()];
    for composite in split.types.iter().filter(|ty| ty.kind().is_some_and(Kind::is_composite)) {
        composite.for_each_id(|member| {
            let mut id = member;
            while let Some(index) = id.checked_sub(split.first_id).map(|i| i as usize) {
                if followed.get(index) != Some(&false) {
                    return;
                }
                followed[index] = true;
                let ty = split.types.get(index);
                id = match ty.kind() {
                    Some(Kind::Array) => ty.payload()[0],
                    Some(kind) if kind.is_modifier() => ty.size_or_type(),
                    _ => return,
                };
            }
            if let Some(index) = id.checked_sub(1).map(|i| i as usize)
                && distilled.types.get(index).kind().is_some_and(Kind::is_composite)
            {
                embedded[index] = true;
            }
        });
    }
    embedded
}
