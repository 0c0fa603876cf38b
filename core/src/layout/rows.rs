//! A struct as a list of what stands in it, one after the other.

use super::{CACHE_LINE, Placed, Sizes, nameless};
use crate::btf::layers::Layers;
use crate::btf::text::declaration;
use crate::btf::{Kind, Type};

/// Nameless structs within each other; real C stays below 10.
const DEEPEST: u32 = 32;
/// Rows of one struct; the largest of a kernel have a few thousand.
const MOST: usize = 1 << 16;

/// A struct or union laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `struct sk_buff`.
    pub head: String,
    /// Bytes.
    pub size: u64,
    /// What stands in it, nested parts between an opening and a closing row.
    pub rows: Vec<Row>,
    /// What it amounts to at the outermost level.
    pub summary: Summary,
}

/// A line of a layout.
#[derive(Clone, Debug)]
pub enum Row {
    /// A nameless struct or union begins.
    Open {
        /// `struct` or `union`, with qualifiers.
        word: String,
    },
    /// And ends.
    Close {
        /// What follows the brace: nothing, or ` name[4]`.
        declaration: String,
        /// Bits from the start of the outermost struct.
        offset: u64,
        /// Bits that all of it takes.
        bits: u64,
    },
    /// A member.
    Member(Member),
    /// Nothing, for so long.
    Hole {
        /// Bits from the start of the outermost struct.
        offset: u64,
        /// The rest of a bitfield's unit, and whole bytes.
        bits: (u64, u64),
    },
    /// A cache line begins, or began some bytes ago inside the last member.
    Boundary {
        /// Its number.
        line: u64,
        /// Bytes.
        ago: u64,
    },
}

/// A member with its place.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its type, as far as it stands before the name.
    pub base: String,
    /// The name with what its type puts around it: `(*open)(struct inode *)`.
    pub name: String,
    /// The name alone.
    pub plain: String,
    /// Bits from the start of the outermost struct.
    pub offset: u64,
    /// Bytes of its type.
    pub size: u64,
    /// Bits of a bitfield; 0 for an ordinary member.
    pub width: u64,
}

impl Member {
    /// Byte and bit of a bitfield, counted in units of its type.
    pub fn unit(&self) -> (u64, u64) {
        let unit = self.size.max(1);
        let at = self.offset / (unit * 8) * unit;
        (at, self.offset - at * 8)
    }
}

/// Sums over the members of the outermost level; bytes, but for what says bits.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Summary {
    pub members: u64,
    pub sum_members: u64,
    pub holes: u64,
    pub sum_holes: u64,
    pub bitfields: u64,
    pub bit_holes: u64,
    pub sum_bit_holes: u64,
    pub padding: u64,
    pub bit_padding: u64,
}

/// The layout of a struct or union; none for anything else, or what no compiler nests so deep.
pub(crate) fn lay_out(layers: Layers<'_>, id: u32) -> Option<Layout> {
    let ty = layers.get(id).filter(|ty| ty.kind().is_some_and(Kind::is_composite))?;
    let name = layers.text(ty.name());
    let head = format!("{} {name}", word(ty)).trim_end().to_owned();
    let mut pass = Pass { sizes: Sizes::new(layers), rows: Vec::new(), line: 0 };
    let summary = pass.body(ty, 0, 0)?;
    Some(Layout { head, size: ty.size_or_type().into(), rows: pass.rows, summary })
}

fn word(ty: Type<'_>) -> &'static str {
    if ty.kind() == Some(Kind::Union) { "union" } else { "struct" }
}

struct Pass<'a> {
    sizes: Sizes<'a>,
    rows: Vec<Row>,
    /// The cache line that was told last.
    line: u64,
}

impl<'a> Pass<'a> {
    fn body(&mut self, ty: Type<'a>, start: u64, depth: u32) -> Option<Summary> {
        if depth > DEEPEST || self.rows.len() > MOST {
            return None;
        }
        let union = ty.kind() == Some(Kind::Union);
        let mut summary = Summary::default();
        let mut end = 0u64;
        let mut last: Option<Placed> = None;
        let count = self.sizes.members(ty).len() as u64;
        for m in self.sizes.members(ty) {
            if !union {
                self.gap(&mut summary, last, end, m.offset, start);
                self.boundary(start.saturating_add(m.offset) / 8);
            }
            let last_one = depth == 0 && count > 1 && summary.members + 1 == count && !union;
            self.member(m, last_one, start, depth)?;
            summary.members += 1;
            if m.width > 0 {
                summary.bitfields += m.width;
            } else {
                let grows = m.end().saturating_sub(end.max(m.offset)) / 8;
                summary.sum_members += if union { 0 } else { grows };
            }
            if m.end() >= end {
                last = Some(m);
            }
            end = end.max(m.end());
        }
        let total = u64::from(ty.size_or_type()) * 8;
        if total > end && summary.members > 0 {
            let (bits, bytes) = self.split(last, end, total);
            (summary.bit_padding, summary.padding) = (bits, bytes);
        }
        Some(summary)
    }

    fn member(&mut self, m: Placed, last: bool, start: u64, depth: u32) -> Option<()> {
        let layers = self.sizes.layers;
        let offset = start.saturating_add(m.offset);
        let plain = layers.text(m.name).into_owned();
        let inner = nameless(layers, m.ty).and_then(|id| layers.get(id));
        let size = self.sizes.size(m.ty);
        match inner {
            Some(inner) => {
                let d = declaration(layers, m.ty);
                let word = d.base.split(" {").next().unwrap_or(word(inner)).to_owned();
                self.rows.push(Row::Open { word });
                self.body(inner, offset, depth + 1)?;
                let declaration = format!(" {plain}{}", d.close).trim_end().to_owned();
                self.rows.push(Row::Close { declaration, offset, bits: m.bits });
            }
            None => {
                let mut d = declaration(layers, m.ty);
                if last && d.open.is_empty() && d.close.starts_with("[0]") {
                    // So it was written, most likely: BTF does not tell them apart.
                    d.close.remove(1);
                }
                let name = format!("{}{plain}{}", d.open, d.close);
                let width = m.width;
                self.rows.push(Row::Member(Member {
                    base: d.base,
                    name,
                    plain,
                    offset,
                    size,
                    width,
                }));
            }
        }
        Some(())
    }

    fn gap(&mut self, sum: &mut Summary, last: Option<Placed>, end: u64, to: u64, start: u64) {
        if to <= end {
            return;
        }
        let bits = self.split(last, end, to);
        sum.bit_holes += u64::from(bits.0 > 0);
        sum.sum_bit_holes += bits.0;
        sum.holes += u64::from(bits.1 > 0);
        sum.sum_holes += bits.1;
        self.rows.push(Row::Hole { offset: start.saturating_add(end), bits });
    }

    fn boundary(&mut self, byte: u64) {
        let line = byte / CACHE_LINE;
        if line > self.line {
            self.line = line;
            self.rows.push(Row::Boundary { line, ago: byte % CACHE_LINE });
        }
    }

    /// A gap behind a member: what is left of a bitfield's unit (bits), and bytes.
    fn split(&self, last: Option<Placed>, end: u64, to: u64) -> (u64, u64) {
        let gap = to - end;
        let bits = match last {
            Some(m) if m.width > 0 => {
                let unit = self.sizes.size(m.ty).max(1) * 8;
                gap.min(end.next_multiple_of(unit) - end)
            }
            _ => 0,
        };
        (bits, (gap - bits) / 8)
    }
}
