//! The raw form, byte for byte that of bpftool.

use super::words;
use crate::btf::layers::{Int, Layers, members, payload};
use crate::btf::{Kind, Type};
use std::fmt::{self, Write};

pub(super) fn dump(layers: Layers<'_>) -> String {
    let mut out = String::new();
    for id in layers.first_id()..layers.next_id() {
        if let Some(ty) = layers.get(id) {
            // Writing to a String does not fail.
            let _ = print(&mut out, layers, id, ty);
        }
    }
    out
}

fn print(out: &mut String, layers: Layers<'_>, id: u32, ty: Type<'_>) -> fmt::Result {
    let name = |offset| words::name(layers, offset);
    let (third, vlen) = (ty.size_or_type(), ty.vlen());
    write!(out, "[{id}] {} '{}'", words::kind(ty), name(ty.name()))?;
    match ty.kind() {
        Some(Kind::Int) => {
            let Int { encoding, offset, bits } = Int::of(ty);
            let encoding = words::int_encoding(encoding);
            write!(out, " size={third} bits_offset={offset} nr_bits={bits} encoding={encoding}")?;
        }
        Some(
            Kind::Ptr
            | Kind::Const
            | Kind::Volatile
            | Kind::Restrict
            | Kind::Typedef
            | Kind::TypeTag,
        ) => write!(out, " type_id={third}")?,
        Some(Kind::Array) => {
            let [elem, index, len] = [0, 1, 2].map(|i| payload(ty, i));
            write!(out, " type_id={elem} index_type_id={index} nr_elems={len}")?;
        }
        Some(Kind::Struct | Kind::Union) => {
            write!(out, " size={third} vlen={vlen}")?;
            for m in members(ty) {
                write!(out, "\n\t'{}' type_id={} bits_offset={}", name(m.name), m.ty, m.offset)?;
                if m.width > 0 {
                    write!(out, " bitfield_size={}", m.width)?;
                }
            }
        }
        Some(Kind::Enum) => {
            write!(out, " encoding={} size={third} vlen={vlen}", words::enum_encoding(ty))?;
            for e in ty.elements() {
                match ty.kflag() {
                    true => write!(out, "\n\t'{}' val={}", name(e[0]), e[1] as i32)?,
                    false => write!(out, "\n\t'{}' val={}", name(e[0]), e[1])?,
                }
            }
        }
        Some(Kind::Enum64) => {
            write!(out, " encoding={} size={third} vlen={vlen}", words::enum_encoding(ty))?;
            for e in ty.elements() {
                let value = u64::from(e[2]) << 32 | u64::from(e[1]);
                match ty.kflag() {
                    true => write!(out, "\n\t'{}' val={}LL", name(e[0]), value as i64)?,
                    false => write!(out, "\n\t'{}' val={value}ULL", name(e[0]))?,
                }
            }
        }
        Some(Kind::Fwd) => write!(out, " fwd_kind={}", words::fwd_kind(ty))?,
        Some(Kind::Func) => write!(out, " type_id={third} linkage={}", words::linkage(vlen))?,
        Some(Kind::FuncProto) => {
            write!(out, " ret_type_id={third} vlen={vlen}")?;
            for p in ty.elements() {
                write!(out, "\n\t'{}' type_id={}", name(p[0]), p[1])?;
            }
        }
        Some(Kind::Var) => {
            write!(out, " type_id={third}, linkage={}", words::linkage(payload(ty, 0)))?;
        }
        Some(Kind::Datasec) => {
            write!(out, " size={third} vlen={vlen}")?;
            for v in ty.elements() {
                write!(out, "\n\ttype_id={} offset={} size={}", v[0], v[1], v[2])?;
                if let Some(var) = layers.get(v[0]) {
                    write!(out, " ({} '{}')", words::kind(var), name(var.name()))?;
                }
            }
        }
        Some(Kind::Float) => write!(out, " size={third}")?,
        Some(Kind::DeclTag) => {
            write!(out, " type_id={third} component_idx={}", payload(ty, 0) as i32)?;
        }
        Some(Kind::Void) | None => {}
    }
    out.push('\n');
    Ok(())
}
