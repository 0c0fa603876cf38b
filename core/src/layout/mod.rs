//! How a struct lies in memory: offsets, holes, padding, cache lines.
//!
//! Facts only, from BTF: sizes and offsets are there, alignments are not. Cost: one pass over the
//! members; sizes of their types are found by following ids.

mod print;
mod rows;

pub use print::print;
pub(crate) use rows::lay_out;
pub use rows::{Layout, Member, Row, Summary};

use crate::btf::layers::{Layers, members, payload, pointer_size};
use crate::btf::{Kind, Type};

/// Bytes of a cache line, as pahole counts them.
pub const CACHE_LINE: u64 = 64;
/// Links of a chain of types; real C stays below 20.
const DEEPEST: u32 = 200;

/// A graph, and what sizes in it depend on.
#[derive(Clone, Copy)]
pub(crate) struct Sizes<'a> {
    pub layers: Layers<'a>,
    pointer: u64,
}

/// A member with its place; bits from the start of the struct.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    pub name: u32,
    pub ty: u32,
    pub offset: u64,
    /// What it takes: a bitfield's width, else its type's size.
    pub bits: u64,
    /// Of a bitfield; 0 for an ordinary member.
    pub width: u64,
}

impl Placed {
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bits)
    }

    /// Whether it lies on two cache lines though one has room for it. `base`: where the struct
    /// starts, bits from a cache line.
    pub fn crosses(&self, base: u64) -> bool {
        let line = CACHE_LINE * 8;
        let (first, end) = (base.saturating_add(self.offset), base.saturating_add(self.end()));
        self.bits > 0 && self.bits <= line && first / line != (end - 1) / line
    }
}

/// Bits that no member takes, before a member or at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// How many members stand before it.
    pub after: usize,
    pub bits: u64,
}

impl<'a> Sizes<'a> {
    pub fn new(layers: Layers<'a>) -> Sizes<'a> {
        Sizes { layers, pointer: pointer_size(layers) }
    }

    /// Bytes of any type; 0 for what has no size, or that no C declaration could name.
    pub fn size(&self, mut id: u32) -> u64 {
        let mut count = 1u64;
        for _ in 0..DEEPEST {
            let Some(ty) = self.layers.get(id) else { return 0 };
            let third = ty.size_or_type();
            id = match self.layers.kind(id) {
                Kind::Array => {
                    count = count.saturating_mul(payload(ty, 2).into());
                    payload(ty, 0)
                }
                kind if kind.is_modifier() => third,
                Kind::Ptr => return count.saturating_mul(self.pointer),
                Kind::Int
                | Kind::Float
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64 => return count.saturating_mul(third.into()),
                _ => return 0,
            };
        }
        0
    }

    /// The members of a struct or union as they stand.
    pub fn members(self, ty: Type<'a>) -> impl ExactSizeIterator<Item = Placed> + 'a {
        members(ty).map(move |m| Placed {
            name: m.name,
            ty: m.ty,
            offset: m.offset.into(),
            bits: if m.width > 0 { m.width.into() } else { self.size(m.ty).saturating_mul(8) },
            width: m.width.into(),
        })
    }

    /// The holes of a struct, and the padding at its end as the last of them, if any.
    ///
    /// A union has only padding: behind its largest member.
    pub fn gaps(self, ty: Type<'a>) -> Vec<Gap> {
        let union = ty.kind() == Some(Kind::Union);
        let total = u64::from(ty.size_or_type()) * 8;
        let (mut end, mut gaps, mut count) = (0u64, Vec::new(), 0);
        for m in self.members(ty) {
            if !union && m.offset > end {
                gaps.push(Gap { after: count, bits: m.offset - end });
            }
            end = end.max(m.end());
            count += 1;
        }
        if total > end && count > 0 {
            gaps.push(Gap { after: count, bits: total - end });
        }
        gaps
    }
}

/// The struct, union or array of one that a type is, without a name in between.
pub(crate) fn nameless(layers: Layers<'_>, mut id: u32) -> Option<u32> {
    for _ in 0..DEEPEST {
        let ty = layers.get(id)?;
        id = match layers.kind(id) {
            Kind::Struct | Kind::Union if ty.name() == 0 => return Some(id),
            Kind::Array => payload(ty, 0),
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => ty.size_or_type(),
            _ => return None,
        };
    }
    None
}
