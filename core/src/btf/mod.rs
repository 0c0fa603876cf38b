//! BTF, the format: kinds, types, strings, and their bytes.
//!
//! A [`Btf`] is one layer. A *base* stands alone: its ids start at 1 and its strings at 0. A
//! *split* layer continues both. All words are in host byte order; [`Btf::parse`] and
//! [`Btf::to_bytes`] translate.

pub mod distill;
pub mod dump;
pub mod find;
pub mod kind;
pub(crate) mod layers;
pub mod permute;
mod read;
pub mod relocate;
#[cfg(test)]
mod sample;
pub mod strings;
pub mod text;
pub mod types;
pub mod verify;

pub use kind::Kind;
pub use types::{Type, Types};

use thiserror::Error;

/// Byte order of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endian {
    Little,
    Big,
}

/// Why bytes are not BTF that this crate accepts.
///
/// Offsets count from the start of the blob; ids across all layers.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The header is not one.
    #[error("not BTF: {0}")]
    Header(String),
    /// A section reaches outside the blob, or is malformed.
    #[error("BTF {section} section at offset {offset:#x}: {what}")]
    Section {
        /// `type` or `string`.
        section: &'static str,
        /// Where, from the start of the blob.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// A type is malformed.
    #[error("BTF type [{id}]: {what}")]
    Type {
        /// Type id.
        id: u32,
        /// What is wrong, and what was expected.
        what: String,
    },
}

/// One layer of BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Btf {
    /// Byte order on disk.
    pub endian: Endian,
    /// Id of the first type: 1, or one more than the last id of the layer below.
    pub first_id: u32,
    /// Offset of the first string: 0, or where the strings of the layer below end.
    pub first_string: u32,
    /// The types.
    pub types: Types,
    /// The string section.
    pub strings: Vec<u8>,
}

impl Btf {
    /// An empty layer on top of `base`; a stand-alone one has the empty string only.
    pub fn empty(endian: Endian, base: Option<&Btf>) -> Btf {
        Btf {
            endian,
            first_id: base.map_or(1, Btf::next_id),
            first_string: base.map_or(0, Btf::next_string),
            types: Types::new(),
            strings: if base.is_some() { Vec::new() } else { vec![0] },
        }
    }

    /// The id that the first type of a layer on top of this one has.
    pub fn next_id(&self) -> u32 {
        self.first_id + self.types.len() as u32
    }

    /// The offset that the first string of a layer on top of this one has.
    pub fn next_string(&self) -> u32 {
        self.first_string + self.strings.len() as u32
    }

    /// Appends the types and strings of `upper`, a layer that continues this one, so that both
    /// are one layer. Ids and string offsets stay.
    pub fn append_layer(&mut self, upper: &Btf) {
        self.types.append(&upper.types);
        self.strings.extend_from_slice(&upper.strings);
    }

    /// How many bytes [`Btf::to_bytes`] gives.
    pub fn byte_len(&self) -> usize {
        24 + self.types.words().len() * 4 + self.strings.len()
    }

    /// The bytes of the layer: a header of 24 bytes, types, strings.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(&[])
    }

    /// The bytes of the layer with a description of all kinds: a header of 32 bytes, types, layout,
    /// strings. Readers can skip kinds that they do not know; kernels before 7.1 refuse it.
    pub fn to_bytes_with_layout(&self) -> Vec<u8> {
        let kinds = (0..kind::KINDS as u32).filter_map(Kind::from_u32);
        let layout: Vec<u32> = kinds
            .map(|kind| {
                // Bytes after the header words, bytes of an element, and flags that are all 0.
                let shape = kind.shape();
                let bytes = [shape.fixed * 4, shape.elem * 4, 0, 0].map(|n| n as u8);
                match self.endian {
                    Endian::Little => u32::from_le_bytes(bytes),
                    Endian::Big => u32::from_be_bytes(bytes),
                }
            })
            .collect();
        self.write(&layout)
    }

    fn write(&self, layout: &[u32]) -> Vec<u8> {
        let type_len = (self.types.words().len() * 4) as u32;
        let layout_len = layout.len() as u32 * 4;
        let header_len = if layout.is_empty() { 24 } else { 32 };
        let mut out = Vec::with_capacity(self.byte_len() + 8 + layout_len as usize);
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        let word = |w: u32| match self.endian {
            Endian::Little => w.to_le_bytes(),
            Endian::Big => w.to_be_bytes(),
        };
        put(&match self.endian {
            Endian::Little => read::MAGIC.to_le_bytes(),
            Endian::Big => read::MAGIC.to_be_bytes(),
        });
        put(&[read::VERSION, 0]);
        let string_at = type_len + layout_len;
        for w in [header_len, 0, type_len, string_at, self.strings.len() as u32] {
            put(&word(w));
        }
        if header_len == 32 {
            put(&word(type_len));
            put(&word(layout_len));
        }
        for &w in self.types.words().iter().chain(layout) {
            put(&word(w));
        }
        put(&self.strings);
        out
    }
}
