//! What the kernel checks of each type by itself (*meta*), and names that begin inside another one.

use super::header::{MAX_STRINGS, MAX_TYPES};
use super::{ANOTHER_BASE, Report, quoted};
use crate::btf::layers::{Int, members, payload};
use crate::btf::{Kind, Type};

/// Longest name, the kernel's KSYM_NAME_LEN since 6.1.
const MAX_NAME: usize = 512;
/// Bits of the info word that had no meaning before 7.2, those of the vlen among them.
const RESERVED: u32 = 0x60ff_0000;

pub(super) fn check(report: &mut Report<'_>) {
    let layers = report.layers;
    for id in layers.first_id()..layers.next_id() {
        if report.full() {
            return;
        }
        if let Some(ty) = layers.get(id) {
            common(report, id, ty);
            own_name(report, id, ty);
            of_kind(report, id, ty);
        }
    }
}

/// What holds for every kind.
fn common(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    if ty.kind().is_none() {
        // Only a layout section lets such a type be read.
        report.refuse(id, "of a kind that kernels do not know", "Invalid kind");
    }
    if ty.info() & RESERVED != 0 {
        let what =
            format!("info {:#x}, kernels before 7.2 take no more than 65535 elements", ty.info());
        report.refuse(id, what, "Invalid btf_info");
    }
    ty.for_each_name(|offset| name_offset(report, id, offset));
    let mut far = None;
    ty.for_each_id(|to| far = far.or((u64::from(to) >= MAX_TYPES).then_some(to)));
    if let Some(to) = far {
        report.refuse(id, format!("refers to [{to}], beyond {MAX_TYPES}"), "Invalid type_id");
    }
    let kflag_free = !matches!(
        ty.kind(),
        Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd)
            // Attributes that are no BTF tags, since 6.15.
            | Some(Kind::TypeTag | Kind::DeclTag)
    );
    if kflag_free && ty.kflag() {
        report.refuse(
            id,
            "has the kind flag, which means nothing here",
            "Invalid btf_info kind_flag",
        );
    }
    let elementless = ty.kind().is_some_and(|k| k.shape().elem == 0 && k != Kind::Func);
    if elementless && ty.vlen() != 0 {
        report.refuse(id, format!("has {} elements, its kind has none", ty.vlen()), "vlen != 0");
    }
}

fn name_offset(report: &mut Report<'_>, id: u32, offset: u32) {
    let layers = report.layers;
    if u64::from(offset) >= MAX_STRINGS {
        let what = format!("name at string offset {offset}, beyond {MAX_STRINGS}");
        report.refuse(id, what, "Invalid name_offset");
    }
    // Ours. What deduplicates strings never uses one from its middle: the offset counts from the
    // end of another base. Stand-alone BTF may come from a compiler that does.
    if layers.is_split() && layers.inside_string(offset) {
        let rest = quoted(layers.string(offset));
        let what = format!("string offset {offset} is inside a name (before \"{rest}\")");
        report.doubt(id, None, what + ANOTHER_BASE);
    }
}

/// The name of the type itself, by its kind.
fn own_name(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let Some(kind) = ty.kind() else { return };
    let name = report.layers.string(ty.name());
    let what = match kind {
        Kind::Ptr
        | Kind::Array
        | Kind::Const
        | Kind::Volatile
        | Kind::Restrict
        | Kind::FuncProto
            if ty.name() != 0 =>
        {
            "has a name, types of its kind have none"
        }
        Kind::Typedef | Kind::Fwd | Kind::Func | Kind::Var | Kind::Datasec if ty.name() == 0 => {
            "has no name"
        }
        Kind::Typedef | Kind::Fwd | Kind::Func if !is_identifier(name) => {
            "its name is not an identifier"
        }
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64
            if ty.name() != 0 && !is_identifier(name) =>
        {
            "its name is not an identifier"
        }
        // Kernels from 6.12 on take any printable character in the name of a section.
        Kind::Var | Kind::Datasec if !is_section_name(name) => {
            "its name has more than letters, digits, underscores and dots"
        }
        Kind::TypeTag | Kind::DeclTag if name.is_empty() => "is a tag without a value",
        _ => return,
    };
    report.refuse(id, what, "Invalid name");
}

fn of_kind(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let size = ty.size_or_type();
    match ty.kind() {
        Some(Kind::Int) => int(report, id, ty),
        Some(Kind::Array) => {
            if size != 0 {
                report.refuse(id, format!("size {size}, an array's is 0"), "size != 0");
            }
            if payload(ty, 0) == 0 {
                report.refuse(id, "elements are void", "Invalid elem");
            }
            if payload(ty, 1) == 0 {
                report.refuse(id, "index is void", "Invalid index");
            }
        }
        Some(Kind::Struct | Kind::Union) => composite(report, id, ty),
        Some(Kind::Enum | Kind::Enum64) => {
            if size > 8 || !size.is_power_of_two() {
                report.refuse(id, format!("size {size}, expected 1, 2, 4 or 8"), "Unexpected size");
            }
            for (i, value) in ty.elements().enumerate() {
                let name = report.layers.string(value[0]);
                if value[0] == 0 || !is_identifier(name) {
                    let what =
                        format!("the name of value {i}, \"{}\", is no identifier", quoted(name));
                    report.refuse(id, what, "Invalid name");
                }
            }
        }
        Some(Kind::Fwd) if size != 0 => {
            report.refuse(id, format!("third word {size}, a declaration has 0"), "type != 0");
        }
        Some(Kind::Func) if ty.vlen() > 1 => {
            let what = format!("linkage {}, expected 0 (static) or 1 (global)", ty.vlen());
            report.refuse(id, what, "Invalid func linkage");
        }
        Some(Kind::Var) => {
            if size == 0 {
                report.refuse(id, "is void", "Invalid type_id");
            }
            let linkage = payload(ty, 0);
            if linkage > 1 {
                let what = format!("linkage {linkage}, expected 0 (static) or 1 (global)");
                report.refuse(id, what, "Linkage not supported");
            }
        }
        Some(Kind::Datasec) => datasec(report, id, ty),
        Some(Kind::Float) if !matches!(size, 2 | 4 | 8 | 12 | 16) => {
            let what = format!("size {size}, expected 2, 4, 8, 12 or 16");
            report.refuse(id, what, "Invalid type_size");
        }
        Some(Kind::DeclTag) => {
            let component = payload(ty, 0) as i32;
            if component < -1 {
                let what = format!("component {component}, expected -1 or more");
                report.refuse(id, what, "Invalid component_idx");
            }
        }
        _ => {}
    }
}

fn int(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let (word, int) = (payload(ty, 0), Int::of(ty));
    if word >> 28 != 0 {
        report.refuse(id, format!("reserved bits in {word:#x}"), "Invalid int_data");
    }
    let bits = int.bits + int.offset;
    if bits > 128 {
        report.refuse(id, format!("{bits} bits, at most 128 are allowed"), "nr_bits exceeds 128");
    }
    if bits.div_ceil(8) > ty.size_or_type() {
        let what = format!("{bits} bits in {} bytes", ty.size_or_type());
        report.refuse(id, what, "nr_bits exceeds type_size");
    }
    if !matches!(int.encoding, 0 | 1 | 2 | 4) {
        let what = format!("encoding {:#x}, expected none, signed, char or bool", int.encoding);
        report.refuse(id, what, "Unsupported encoding");
    }
}

fn composite(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let size = ty.size_or_type();
    let union = ty.kind() == Some(Kind::Union);
    let mut last = 0;
    for (i, m) in members(ty).enumerate() {
        if report.full() {
            return;
        }
        let name = report.layers.string(m.name);
        let label = || match m.name {
            0 => format!("member {i}"),
            _ => format!("member {i} ({})", quoted(name)),
        };
        if m.name != 0 && !is_identifier(name) {
            report.refuse(id, format!("{} has no identifier as its name", label()), "Invalid name");
        }
        if m.ty == 0 {
            report.refuse(id, format!("{} is void", label()), "Invalid type_id");
        }
        let offset = m.offset;
        if union && offset != 0 {
            let what = format!("{} is at bit {offset}, a union's are at 0", label());
            report.refuse(id, what, "Invalid member bits_offset");
        } else if offset < last {
            let what =
                format!("member offsets descend: {} is at bit {offset}, after {last}", label());
            report.refuse(id, what, "Invalid member bits_offset");
        }
        if offset.div_ceil(8) > size {
            let what = format!("{} begins at bit {offset}, behind its {size} bytes", label());
            report.refuse(id, what, "Member bits_offset exceeds its struct size");
        }
        last = offset;
    }
}

fn datasec(report: &mut Report<'_>, id: u32, ty: Type<'_>) {
    let size = u64::from(ty.size_or_type());
    if size == 0 {
        report.refuse(id, "size 0", "size == 0");
    }
    let mut end = 0;
    for (i, entry) in ty.elements().enumerate() {
        if report.full() {
            return;
        }
        let (at, len) = (u64::from(entry[1]), u64::from(entry[2]));
        if entry[0] == 0 {
            report.refuse(id, format!("entry {i} is void"), "Invalid type_id");
        }
        if at < end {
            let what =
                format!("entry {i} is at {at}, before the end of the one before it at {end}");
            report.refuse(id, what, "Invalid offset");
        } else if at >= size {
            report.refuse(id, format!("entry {i} is at {at}, size is {size}"), "Invalid offset");
        }
        if len == 0 || len > size {
            report.refuse(id, format!("entry {i} has {len} bytes of {size}"), "Invalid size");
        } else if at < size && at + len > size {
            let what = format!("entry {i} ends at {}, size is {size}", at + len);
            report.refuse(id, what, "Invalid offset+size");
        }
        end = at + len;
    }
}

pub(super) fn is_identifier(name: &[u8]) -> bool {
    is_section_name(name) && !name.contains(&b'.')
}

fn is_section_name(name: &[u8]) -> bool {
    let good = |&c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.');
    name.first().is_some_and(|c| !c.is_ascii_digit())
        && name.len() <= MAX_NAME
        && name.iter().all(good)
}
