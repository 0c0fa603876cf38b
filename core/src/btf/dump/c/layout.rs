//! What a C compiler makes of a printed struct, and what to print so that it makes the right thing.
//!
//! BTF has sizes and offsets, but neither alignment nor `packed`. So each struct is laid out here
//! by the compiler's rules (those of the System V ABIs: natural alignment, a bitfield does not
//! cross a boundary of its type) and compared with what BTF says. Gaps become unnamed bitfields. If
//! natural alignment cannot give the offsets, `packed` can; if members overlap, which no C struct
//! has but BTF of other languages may, each member gets a place of its own in a union. Whatever is
//! chosen decides the struct's alignment, and with it how the structs that hold it are printed.

use super::{Budget, fail};
use crate::btf::layers::{Layers, members, payload, pointer_size};
use crate::btf::{BtfError, Kind, Type};
use std::collections::HashMap;

/// How a struct or union is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The compiler's own alignment does it.
    Natural,
    /// With `__attribute__((packed))`.
    Packed,
    /// A union of packed structs, one a member.
    Overlaid,
}

/// A struct's or union's form, and the alignment that it has then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub fit: Fit,
    pub align: u64,
}

/// A part of a struct's body, bits from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Member(usize),
    Gap(Gap),
}

/// Bits that no member takes, and that the compiler would not leave by itself. Between bitfields all
/// such bits: there a reader cannot see what the compiler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub from: u64,
    pub to: u64,
    /// What follows starts at a multiple of so many bits by itself.
    pub next_align: u64,
    /// Bitfields stand on both sides.
    pub inside_bitfields: bool,
}

/// A member as the compiler sees it; bits, but for `align` in bytes.
#[derive(Clone, Copy)]
struct Field {
    offset: u64,
    width: u64,
    size: u64,
    align: u64,
}

/// Plans of structs, made when first asked for.
pub(super) struct Layouts<'a> {
    layers: Layers<'a>,
    plans: HashMap<u32, Plan>,
    pointer: u64,
}

impl<'a> Layouts<'a> {
    pub fn new(layers: Layers<'a>) -> Layouts<'a> {
        Layouts { layers, plans: HashMap::new(), pointer: pointer_size(layers) }
    }

    /// Bytes of a pointer.
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    /// The plan of a struct or union.
    pub fn plan(&mut self, id: u32, depth: u32, budget: &mut Budget) -> Result<Plan, BtfError> {
        budget.spend(id, depth, 1)?;
        if let Some(&plan) = self.plans.get(&id) {
            return Ok(plan);
        }
        let Some(ty) = self.layers.get(id) else { return fail(id, "does not exist".into()) };
        let fields = self.fields(ty, depth, budget)?;
        let natural = fields.iter().map(|f| f.align).max().unwrap_or(1);
        let mut plan = Plan { fit: Fit::Overlaid, align: 1 };
        for (fit, align) in [(Fit::Natural, natural), (Fit::Packed, 1)] {
            if place(ty, &fields, Plan { fit, align }, |_| ()) {
                plan = Plan { fit, align };
                break;
            }
        }
        self.plans.insert(id, plan);
        Ok(plan)
    }

    /// The body of a struct or union that is not overlaid.
    pub fn items(
        &mut self,
        id: u32,
        ty: Type<'a>,
        depth: u32,
        budget: &mut Budget,
    ) -> Result<Vec<Item>, BtfError> {
        let plan = self.plan(id, depth, budget)?;
        let fields = self.fields(ty, depth, budget)?;
        let mut items = Vec::with_capacity(fields.len());
        place(ty, &fields, plan, |item| items.push(item));
        Ok(items)
    }

    fn fields(
        &mut self,
        ty: Type<'a>,
        depth: u32,
        budget: &mut Budget,
    ) -> Result<Vec<Field>, BtfError> {
        let mut fields = Vec::with_capacity(members(ty).len());
        for m in members(ty) {
            let (size, align) = self.size_align(m.ty, depth + 1, budget)?;
            let (offset, width) = (m.offset.into(), m.width.into());
            fields.push(Field { offset, width, size: size.saturating_mul(8), align });
        }
        Ok(fields)
    }

    /// Bytes of any type and their alignment; nothing at 1 for what has no size.
    fn size_align(
        &mut self,
        mut id: u32,
        depth: u32,
        budget: &mut Budget,
    ) -> Result<(u64, u64), BtfError> {
        let mut count = 1u64;
        for link in 0.. {
            budget.spend(id, depth + link, 1)?;
            let Some(ty) = self.layers.get(id) else { break };
            let third = ty.size_or_type();
            let size = u64::from(third);
            let (size, align) = match self.layers.kind(id) {
                Kind::Array => {
                    count = count.saturating_mul(payload(ty, 2).into());
                    id = payload(ty, 0);
                    continue;
                }
                kind if kind.is_modifier() => {
                    id = third;
                    continue;
                }
                Kind::Ptr => (self.pointer, self.pointer),
                // A type wider than two words is an array of words to the ABI.
                Kind::Int => (size, scalar_align(size, 2 * self.pointer)),
                Kind::Float => (size, scalar_align(size, 2 * self.pointer)),
                Kind::Enum | Kind::Enum64 => (size, scalar_align(size, self.pointer)),
                Kind::Struct | Kind::Union => (size, self.plan(id, depth + link, budget)?.align),
                _ => (0, 1),
            };
            return Ok((count.saturating_mul(size), align));
        }
        Ok((0, 1))
    }
}

fn scalar_align(size: u64, most: u64) -> u64 {
    if size.is_power_of_two() { size.min(most) } else { (size & size.wrapping_neg()).max(1) }
}

/// Lays `fields` out as `plan` has it and reports the body. False where that misses an offset or
/// the size; what was reported is then of no use.
fn place(ty: Type<'_>, fields: &[Field], plan: Plan, mut report: impl FnMut(Item)) -> bool {
    let union = ty.kind() == Some(Kind::Union);
    let total = u64::from(ty.size_or_type()) * 8;
    let align = plan.align * 8;
    // The end of what was placed last, and in a union the farthest one.
    let (mut at, mut end) = (0u64, 0u64);
    for (index, f) in fields.iter().enumerate() {
        let own_align = if plan.fit == Fit::Natural { f.align * 8 } else { 8 };
        let natural = if f.width == 0 {
            at.next_multiple_of(own_align)
        } else if plan.fit == Fit::Natural && crosses(at, f) {
            at.next_multiple_of(f.size.max(8))
        } else {
            at
        };
        let inside_bitfields = f.width > 0 && index > 0 && fields[index - 1].width > 0;
        if natural != f.offset || inside_bitfields && at != f.offset {
            let held = if f.width == 0 {
                f.offset.is_multiple_of(own_align)
            } else {
                plan.fit != Fit::Natural || !crosses(f.offset, f)
            };
            if f.offset < at || !held || union {
                return false;
            }
            report(Item::Gap(Gap {
                from: at,
                to: f.offset,
                next_align: if f.width == 0 { own_align } else { 1 },
                inside_bitfields,
            }));
        }
        report(Item::Member(index));
        at = f.offset.saturating_add(if f.width == 0 { f.size } else { f.width });
        end = at.max(end);
        if end > total {
            return false;
        }
        if union {
            at = 0;
        }
    }
    if !total.is_multiple_of(align) {
        return false;
    }
    if end.next_multiple_of(align) != total {
        let from = if union { 0 } else { end };
        report(Item::Gap(Gap { from, to: total, next_align: align, inside_bitfields: false }));
    }
    true
}

/// Whether a bitfield at this bit would reach over a boundary of its type.
fn crosses(at: u64, f: &Field) -> bool {
    f.size == 0 || at % f.size + f.width > f.size
}
