//! BTF as text, in the three forms that bpftool knows.
//!
//! [`Format::Raw`] is the very text of `bpftool btf dump file F -B BASE`, [`Format::Json`] the same
//! content as `bpftool -j`, [`Format::C`] a header that a C compiler lays out as the BTF says.
//! Raw and JSON print the upper layer only and cost one pass over its words; C prints both layers,
//! as bpftool does, since the upper one cannot be compiled without the types that it names. Names
//! that are not UTF-8 come out with replacement characters.

mod c;
mod json;
mod raw;
#[cfg(test)]
mod tests;

use super::layers::Layers;
use super::{Btf, BtfError};

/// A text form of BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line a type, one indented line an element.
    Raw,
    /// A header for a C compiler.
    C,
    /// One JSON object, compact.
    Json,
}

impl Format {
    /// The format of this name: `raw`, `c` or `json`.
    pub fn from_name(name: &str) -> Option<Format> {
        match name {
            "raw" => Some(Format::Raw),
            "c" => Some(Format::C),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// Prints `btf`, which was parsed on top of `base`.
///
/// Only C can fail: where a type contains itself, nests or unfolds beyond any real program, or is
/// none at all (a FUNC as a member, say).
pub fn dump(btf: &Btf, base: Option<&Btf>, format: Format) -> Result<String, BtfError> {
    let layers = Layers::new(btf, base);
    match format {
        Format::Raw => Ok(raw::dump(layers)),
        Format::Json => Ok(json::dump(layers)),
        Format::C => c::dump(layers),
    }
}

/// What raw and JSON call things.
mod words {
    use crate::btf::Type;
    use crate::btf::layers::Layers;
    use std::borrow::Cow;

    pub fn name(layers: Layers<'_>, offset: u32) -> Cow<'_, str> {
        if offset == 0 { Cow::Borrowed("(anon)") } else { layers.text(offset) }
    }

    pub fn kind(ty: Type<'_>) -> &'static str {
        ty.kind().map_or("UNKNOWN", |k| k.name())
    }

    pub fn int_encoding(encoding: u32) -> &'static str {
        match encoding {
            0 => "(none)",
            1 => "SIGNED",
            2 => "CHAR",
            4 => "BOOL",
            _ => "UNKN",
        }
    }

    pub fn enum_encoding(ty: Type<'_>) -> &'static str {
        if ty.kflag() { "SIGNED" } else { "UNSIGNED" }
    }

    pub fn fwd_kind(ty: Type<'_>) -> &'static str {
        if ty.kflag() { "union" } else { "struct" }
    }

    pub fn linkage(linkage: u32) -> &'static str {
        match linkage {
            0 => "static",
            1 => "global",
            2 => "extern",
            _ => "(unknown)",
        }
    }
}
