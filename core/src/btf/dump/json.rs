//! The JSON form: what `bpftool -j` says, on one line.

use super::words;
use crate::btf::layers::{Int, Layers, members, payload};
use crate::btf::{Kind, Type};
use std::fmt::{Display, Write};

pub(super) fn dump(layers: Layers<'_>) -> String {
    let mut json = Json { out: String::new() };
    json.out.push('{');
    json.list("types", layers.first_id()..layers.next_id(), |json, id| {
        if let Some(ty) = layers.get(id) {
            json.number("id", id);
            print(json, layers, ty);
        }
    });
    json.out.push('}');
    json.out
}

fn print(json: &mut Json, layers: Layers<'_>, ty: Type<'_>) {
    let name = |offset| words::name(layers, offset);
    let third = ty.size_or_type();
    json.text("kind", words::kind(ty));
    json.text("name", &name(ty.name()));
    match ty.kind() {
        Some(Kind::Int) => {
            let int = Int::of(ty);
            json.number("size", third);
            json.number("bits_offset", int.offset);
            json.number("nr_bits", int.bits);
            json.text("encoding", words::int_encoding(int.encoding));
        }
        Some(
            Kind::Ptr
            | Kind::Const
            | Kind::Volatile
            | Kind::Restrict
            | Kind::Typedef
            | Kind::TypeTag,
        ) => json.number("type_id", third),
        Some(Kind::Array) => {
            json.number("type_id", payload(ty, 0));
            json.number("index_type_id", payload(ty, 1));
            json.number("nr_elems", payload(ty, 2));
        }
        Some(Kind::Struct | Kind::Union) => {
            json.number("size", third);
            json.number("vlen", ty.vlen());
            json.list("members", members(ty), |json, m| {
                json.text("name", &name(m.name));
                json.number("type_id", m.ty);
                json.number("bits_offset", m.offset);
                if m.width > 0 {
                    json.number("bitfield_size", m.width);
                }
            });
        }
        Some(kind @ (Kind::Enum | Kind::Enum64)) => {
            json.text("encoding", words::enum_encoding(ty));
            json.number("size", third);
            json.number("vlen", ty.vlen());
            json.list("values", ty.elements(), |json, e| {
                json.text("name", &name(e[0]));
                let wide = e.get(2).map_or(0, |&high| u64::from(high) << 32) | u64::from(e[1]);
                match (kind, ty.kflag()) {
                    (Kind::Enum, true) => json.number("val", e[1] as i32),
                    // Unsigned values from 2^31 on come out of bpftool with their sign extended.
                    (Kind::Enum, false) => json.number("val", e[1] as i32 as u64),
                    (_, true) => json.number("val", wide as i64),
                    (_, false) => json.number("val", wide),
                }
            });
        }
        Some(Kind::Fwd) => json.text("fwd_kind", words::fwd_kind(ty)),
        Some(Kind::Func) => {
            json.number("type_id", third);
            json.text("linkage", words::linkage(ty.vlen()));
        }
        Some(Kind::FuncProto) => {
            json.number("ret_type_id", third);
            json.number("vlen", ty.vlen());
            json.list("params", ty.elements(), |json, p| {
                json.text("name", &name(p[0]));
                json.number("type_id", p[1]);
            });
        }
        Some(Kind::Var) => {
            json.number("type_id", third);
            json.text("linkage", words::linkage(payload(ty, 0)));
        }
        Some(Kind::Datasec) => {
            json.number("size", third);
            json.number("vlen", ty.vlen());
            json.list("vars", ty.elements(), |json, v| {
                json.number("type_id", v[0]);
                json.number("offset", v[1]);
                json.number("size", v[2]);
            });
        }
        Some(Kind::Float) => json.number("size", third),
        Some(Kind::DeclTag) => {
            json.number("type_id", third);
            json.number("component_idx", payload(ty, 0) as i32);
        }
        Some(Kind::Void) | None => {}
    }
}

/// Writes members of the object that is open; writing to a String does not fail.
struct Json {
    out: String,
}

impl Json {
    fn key(&mut self, key: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        let _ = write!(self.out, "\"{key}\":");
    }

    fn number(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                c if c < ' ' => {
                    let _ = write!(self.out, "\\u{:04x}", c as u32);
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    /// An array of objects, each filled by `fill`.
    fn list<T>(
        &mut self,
        key: &str,
        items: impl Iterator<Item = T>,
        mut fill: impl FnMut(&mut Json, T),
    ) {
        self.key(key);
        self.out.push('[');
        for (i, item) in items.enumerate() {
            self.out.push_str(if i > 0 { ",{" } else { "{" });
            fill(self, item);
            self.out.push('}');
        }
        self.out.push(']');
    }
}
