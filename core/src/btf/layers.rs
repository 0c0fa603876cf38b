//! A layer and what it stands on, read as one.
//!
//! Ids and string offsets run through both layers. Every look-up answers, also for ids and offsets
//! that neither layer has, so that readers of doubtful BTF need no checks of their own. Cost: a
//! comparison more than reading one layer.

use super::{Btf, Kind, Type};
use std::borrow::Cow;

/// A layer with the stand-alone layer below it, if any.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    base: Option<&'a Btf>,
    top: &'a Btf,
}

impl<'a> Layers<'a> {
    pub fn new(top: &'a Btf, base: Option<&'a Btf>) -> Layers<'a> {
        Layers { base, top }
    }

    /// The first id of the upper layer.
    pub fn first_id(self) -> u32 {
        self.top.first_id
    }

    /// The id after the last one.
    pub fn next_id(self) -> u32 {
        self.top.next_id()
    }

    /// The type with this id; void and ids beyond the last one have none.
    pub fn get(self, id: u32) -> Option<Type<'a>> {
        let layer = if id >= self.top.first_id { self.top } else { self.base? };
        let index = id.checked_sub(layer.first_id)? as usize;
        (index < layer.types.len()).then(|| layer.types.get(index))
    }

    /// The kind of an id, void for those without a type or with a kind of the future.
    pub fn kind(self, id: u32) -> Kind {
        self.get(id).and_then(Type::kind).unwrap_or(Kind::Void)
    }

    /// The string at an offset.
    pub fn string(self, offset: u32) -> &'a [u8] {
        match self.base {
            Some(base) if offset < self.top.first_string => base.string(None, offset),
            _ => self.top.string(None, offset),
        }
    }

    /// Whether the offset names only the rest of a longer string.
    pub fn inside_string(self, offset: u32) -> bool {
        let Some(before) = offset.checked_sub(1) else { return false };
        let byte = match (self.base, before.checked_sub(self.top.first_string)) {
            (_, Some(at)) => self.top.strings.get(at as usize),
            (Some(base), None) => base.strings.get(before as usize),
            _ => None,
        };
        byte.is_some_and(|&b| b != 0)
    }

    /// Whether there is a layer below.
    pub fn is_split(self) -> bool {
        self.base.is_some()
    }

    /// The string at an offset as text; bytes that are not UTF-8 are replaced.
    pub fn text(self, offset: u32) -> Cow<'a, str> {
        String::from_utf8_lossy(self.string(offset))
    }
}

/// Bytes of a pointer: what the BTF's longs have; 8 where it has none.
pub(crate) fn pointer_size(layers: Layers<'_>) -> u64 {
    for id in 1..layers.next_id() {
        if let Some(ty) = layers.get(id)
            && ty.kind() == Some(Kind::Int)
            && matches!(ty.size_or_type(), 4 | 8)
        {
            let name = layers.string(ty.name());
            if matches!(name, b"long int" | b"long unsigned int" | b"long" | b"unsigned long") {
                return ty.size_or_type().into();
            }
        }
    }
    8
}

/// A word after the header, 0 where the type is too short to have it.
pub(crate) fn payload(ty: Type<'_>, index: usize) -> u32 {
    ty.payload().get(index).copied().unwrap_or(0)
}

/// What the word after the header of an INT says.
#[derive(Clone, Copy)]
pub(crate) struct Int {
    pub encoding: u32,
    pub offset: u32,
    pub bits: u32,
}

impl Int {
    pub fn of(ty: Type<'_>) -> Int {
        let word = payload(ty, 0);
        Int { encoding: word >> 24 & 0xf, offset: word >> 16 & 0xff, bits: word & 0xff }
    }

    /// Whether it is a plain integer of 1, 2, 4, 8 or 16 bytes, not an old-style bitfield.
    pub fn is_regular(self) -> bool {
        self.offset == 0 && matches!(self.bits, 8 | 16 | 32 | 64 | 128)
    }
}

/// A struct's or union's member.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub name: u32,
    pub ty: u32,
    /// Bits from the start of the struct.
    pub offset: u32,
    /// Bits of a bitfield; 0 for an ordinary member.
    pub width: u32,
}

/// The members of a struct or union; nothing for other kinds.
pub(crate) fn members<'a>(ty: Type<'a>) -> impl ExactSizeIterator<Item = Member> + Clone + 'a {
    let composite = ty.kind().is_some_and(Kind::is_composite);
    let words = if composite { ty.payload() } else { &[] };
    let kflag = ty.kflag();
    words.chunks_exact(3).map(move |m| {
        // With the kind flag the upper 8 bits of the offset are the bitfield's width.
        let (offset, width) = if kflag { (m[2] & 0x00ff_ffff, m[2] >> 24) } else { (m[2], 0) };
        Member { name: m[0], ty: m[1], offset, width }
    })
}
