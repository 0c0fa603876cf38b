//! What types refer to.
//!
//! The kernel checks this only for BTF that programs bring (*all types*), not for modules nor for
//! its own. Real encoders keep to it all the same, so that a break is the sign of a wrong base, or
//! of a wrong encoder. Rules that vmlinux BTF is known to break are left out: that parameters and
//! return types have a size, that parameters of functions have names.

use super::{Report, quoted};
use crate::btf::layers::{Int, Layers, members, payload};
use crate::btf::{Kind, Type};
use std::fmt::{self, Display};

pub(super) fn check(report: &mut Report<'_>) {
    let layers = report.layers;
    let mut values = Values::new(layers);
    for id in layers.first_id()..layers.next_id() {
        if report.full() {
            return;
        }
        let Some(ty) = layers.get(id) else { continue };
        if values.visit(id) {
            report.doubt(id, None, "contains itself by value");
            continue;
        }
        let target = ty.size_or_type();
        match ty.kind() {
            Some(
                Kind::Ptr
                | Kind::Typedef
                | Kind::Const
                | Kind::Volatile
                | Kind::Restrict
                | Kind::TypeTag,
            ) => not_a_type(report, id, target, "refers to"),
            Some(Kind::Array) => array(report, &values, id, ty),
            Some(Kind::Struct | Kind::Union) => composite(report, &values, id, ty),
            Some(Kind::FuncProto) => prototype(report, id, ty),
            Some(Kind::Var) if target != 0 => {
                not_a_type(report, id, target, "is of");
                sized(report, &values, id, target, "is of");
            }
            Some(Kind::Datasec) => datasec(report, &values, id, ty),
            Some(Kind::DeclTag) => decl_tag(report, id, ty),
            _ => {}
        }
    }
}

/// Complains where `to` is a thing that has a type rather than a type.
fn not_a_type(report: &mut Report<'_>, id: u32, to: u32, how: impl Display) {
    let kind = report.layers.kind(to);
    if matches!(kind, Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag) {
        let what = format!("{how} [{to}] {}, which is no type", report.describe(to));
        report.doubt(id, Some(to), what);
    }
}

/// Complains where a value of type `to` has no size; says whether it did.
fn sized(
    report: &mut Report<'_>,
    values: &Values<'_>,
    id: u32,
    to: u32,
    how: impl Display,
) -> bool {
    let has_size = values.size(to).is_some();
    if !has_size {
        let what = format!("{how} [{to}] {}, which has no size", report.describe(to));
        report.doubt(id, Some(to), what);
    }
    has_size
}

fn array(report: &mut Report<'_>, values: &Values<'_>, id: u32, ty: Type<'_>) {
    let layers = report.layers;
    let (elem, index, len) = (payload(ty, 0), payload(ty, 1), payload(ty, 2));
    let regular = match layers.get(values.plain(index)) {
        Some(ty) => ty.kind() == Some(Kind::Int) && Int::of(ty).is_regular(),
        None => index == 0,
    };
    if !regular {
        let what = format!("its index is [{index}] {}, not an integer", report.describe(index));
        report.doubt(id, Some(index), what);
    }
    if elem != 0 && sized(report, values, id, elem, "has elements of") {
        let bytes = values.size(elem).unwrap_or(0).saturating_mul(len.into());
        if bytes > u32::MAX.into() {
            report.doubt(id, Some(elem), format!("{len} elements take more than 4 GiB"));
        }
    }
}

fn composite(report: &mut Report<'_>, values: &Values<'_>, id: u32, ty: Type<'_>) {
    let layers = report.layers;
    let total = u64::from(ty.size_or_type()) * 8;
    for (i, m) in members(ty).enumerate() {
        if report.full() {
            return;
        }
        // What the check of each type by itself has told is not told twice.
        if m.ty == 0 || u64::from(m.offset) > total {
            continue;
        }
        let label = Label { layers, index: i, name: m.name };
        if !sized(report, values, id, m.ty, format_args!("{label} is of")) {
            continue;
        }
        let bytes = values.size(m.ty).unwrap_or(0);
        let plain = layers.get(values.plain(m.ty));
        let kind = plain.and_then(Type::kind).unwrap_or(Kind::Void);
        let int = plain.filter(|_| kind == Kind::Int).map(Int::of);
        let bits = match int {
            // Before the kind flag, bitfields were integers of few bits.
            Some(int) if m.width == 0 => u64::from(int.offset + int.bits),
            _ if m.width > 0 => m.width.into(),
            _ => bytes.saturating_mul(8),
        };
        let what = if m.width > 0 && int.is_none() && !kind.is_enum() {
            format!("{label} is a bitfield of [{}] {}", m.ty, report.describe(m.ty))
        } else if u64::from(m.width) > bytes.saturating_mul(8) {
            format!("{label} is a bitfield of {} bits in {bytes} bytes", m.width)
        } else if m.width == 0 && !m.offset.is_multiple_of(8) && int.is_none_or(Int::is_regular) {
            format!("{label} is no bitfield, but at bit {}", m.offset)
        } else if u64::from(m.offset).saturating_add(bits) > total {
            let end = u64::from(m.offset).saturating_add(bits);
            format!("{label} ends at bit {end}, size is {total}")
        } else {
            continue;
        };
        report.doubt(id, Some(m.ty), what);
    }
}

/// Number and name of a member.
struct Label<'a> {
    layers: Layers<'a>,
    index: usize,
    name: u32,
}

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}", self.index)?;
        match self.name {
            0 => Ok(()),
            name => write!(f, " ({})", quoted(self.layers.string(name))),
        }
    }
}

fn prototype(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let layers = report.layers;
    not_a_type(report, id, ty.size_or_type(), "returns");
    let count = ty.elements().len();
    for (i, p) in ty.elements().enumerate() {
        if report.full() {
            return;
        }
        let (name, to) = (layers.string(p[0]), p[1]);
        if to == 0 && (i + 1 < count || p[0] != 0) {
            let what = format!("parameter {i} is void, which only stands last and without a name");
            report.doubt(id, None, what);
        }
        not_a_type(report, id, to, format_args!("parameter {i} is"));
        if p[0] != 0 && !super::meta::is_identifier(name) {
            let what = format!("the name of parameter {i}, \"{}\", is no identifier", quoted(name));
            report.doubt(id, None, what);
        }
    }
}

fn datasec(report: &mut Report<'_>, values: &Values<'_>, id: u32, ty: Type<'_>) {
    let layers = report.layers;
    for (i, entry) in ty.elements().enumerate() {
        if report.full() {
            return;
        }
        let (var, len) = (entry[0], u64::from(entry[2]));
        let bytes = match layers.get(var) {
            Some(ty) if ty.kind() == Some(Kind::Var) => values.size(ty.size_or_type()),
            _ => {
                let what = format!("entry {i} is [{var}] {}, not a variable", report.describe(var));
                report.doubt(id, Some(var), what);
                continue;
            }
        };
        if let Some(bytes) = bytes.filter(|&bytes| bytes > len) {
            let what = format!("entry {i} has {len} bytes, its variable {bytes}");
            report.doubt(id, Some(var), what);
        }
    }
}

fn decl_tag(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let layers = report.layers;
    let (to, component) = (ty.size_or_type(), payload(ty, 0) as i32);
    let target = layers.get(to);
    let components = match target.and_then(Type::kind) {
        Some(Kind::Struct | Kind::Union) => target.map_or(0, Type::vlen),
        Some(Kind::Func) => target.and_then(|f| layers.get(f.size_or_type())).map_or(0, Type::vlen),
        Some(Kind::Var | Kind::Typedef) => 0,
        _ => {
            let what = format!("tags [{to}] {}, which takes no tag", report.describe(to));
            return report.doubt(id, Some(to), what);
        }
    };
    if component >= 0 && component as u32 >= components {
        let what = format!("tags component {component} of [{to}], which has {components}");
        report.doubt(id, Some(to), what);
    }
}

/// Sizes of values. Those of the upper layer are found once and in an order in which each type
/// follows what it contains; a step in the base is a walk down its arrays.
struct Values<'a> {
    layers: Layers<'a>,
    found: Vec<Found>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    New,
    Open,
    /// Bytes, or none for what has no size.
    Size(Option<u64>),
}

/// Arrays and typedefs around one base type; compilers stop at far fewer.
const MAX_WALK: usize = 256;

impl<'a> Values<'a> {
    fn new(layers: Layers<'a>) -> Values<'a> {
        let count = (layers.next_id() - layers.first_id()) as usize;
        Values { layers, found: vec![Found::New; count] }
    }

    fn index(&self, id: u32) -> Option<usize> {
        id.checked_sub(self.layers.first_id()).map(|i| i as usize).filter(|&i| i < self.found.len())
    }

    /// Bytes of a value of type `id`, once [`Values::visit`] has been there.
    fn size(&self, id: u32) -> Option<u64> {
        if let Some(index) = self.index(id) {
            return match self.found[index] {
                Found::Size(size) => size,
                // On a circle, which is reported where it was found.
                _ => Some(0),
            };
        }
        let mut count = 1u64;
        let mut id = id;
        for _ in 0..MAX_WALK {
            let ty = self.layers.get(id)?;
            id = match ty.kind()? {
                Kind::Array => {
                    count = count.saturating_mul(payload(ty, 2).into());
                    payload(ty, 0)
                }
                kind if kind.is_modifier() => ty.size_or_type(),
                kind => return own_size(kind, ty).map(|bytes| count.saturating_mul(bytes)),
            };
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_WALK {
            match self.layers.get(id) {
                Some(ty) if ty.kind().is_some_and(Kind::is_modifier) => id = ty.size_or_type(),
                _ => break,
            }
        }
        id
    }

    /// Finds the sizes of `id` and of what it contains. True if `id` contains itself.
    fn visit(&mut self, id: u32) -> bool {
        let Some(start) = self.index(id) else { return false };
        if self.found[start] != Found::New {
            return false;
        }
        let mut circle = false;
        // The number of the next part to look at, beside the id.
        let mut stack = vec![(id, 0)];
        self.found[start] = Found::Open;
        while let Some((id, part)) = stack.last_mut() {
            let (at, next) = (*id, *part);
            *part += 1;
            let Some(ty) = self.layers.get(at) else { break };
            match part_of(ty, next) {
                Some(part) => {
                    if let Some(index) = self.index(part) {
                        match self.found[index] {
                            Found::New => {
                                self.found[index] = Found::Open;
                                stack.push((part, 0));
                            }
                            Found::Open => circle = true,
                            Found::Size(_) => {}
                        }
                    }
                }
                None => {
                    let size = match ty.kind() {
                        Some(Kind::Array) => self
                            .size(payload(ty, 0))
                            .map(|bytes| bytes.saturating_mul(payload(ty, 2).into())),
                        Some(kind) if kind.is_modifier() => self.size(ty.size_or_type()),
                        Some(kind) => own_size(kind, ty),
                        None => None,
                    };
                    if let Some(index) = self.index(at) {
                        self.found[index] = Found::Size(size);
                    }
                    stack.pop();
                }
            }
        }
        circle
    }
}

/// Bytes of a value whose kind says it by itself. Pointers count as their smallest.
fn own_size(kind: Kind, ty: Type<'_>) -> Option<u64> {
    match kind {
        Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64 | Kind::Struct | Kind::Union => {
            Some(ty.size_or_type().into())
        }
        Kind::Ptr => Some(4),
        _ => None,
    }
}

/// The type of the `n`th part that a value of this type contains.
fn part_of(ty: Type<'_>, n: usize) -> Option<u32> {
    match ty.kind()? {
        Kind::Struct | Kind::Union => members(ty).nth(n).map(|m| m.ty),
        Kind::Array if n == 0 => Some(payload(ty, 0)),
        kind if kind.is_modifier() && n == 0 => Some(ty.size_or_type()),
        _ => None,
    }
}
