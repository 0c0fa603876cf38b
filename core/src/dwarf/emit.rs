//! Types as words, from what the walk has gathered.
//!
//! References are still DIE offsets here ([`super::resolve`] turns them into ids). BTF demands
//! things that DWARF does not; what it cannot express is an error that names the DIE.

use super::attributes::Attributes;
use super::cu::{Cu, FILE_INT, Substitute, Text, Texts};
use super::offsets::OffsetMap;
use super::resolve::{Bitfield, Pending};
use super::{DwarfError, Result};
use crate::btf::kind::Kind;
use crate::btf::types::{MAX_VLEN, info};
use crate::features::Features;
use gimli::DwAte;
use gimli::constants as dw;

/// In a word that will become a type id: it is one already, not a DIE offset.
pub(super) const IS_ID: u32 = 1 << 31;

/// An `_Atomic` type.
#[derive(Clone, Copy)]
pub(super) struct Atomic {
    /// Offset of the DIE in the group.
    pub offset: u32,
    pub slot: u32,
    /// What it qualifies: a DIE offset.
    pub ty: u32,
}

/// Where a type stands: its DIE's offset in the group and its slot in the offset map.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub offset: u32,
    slot: u32,
}

/// What a composite or enum says of itself.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub at: Place,
    pub kind: Kind,
    pub name: Text,
    pub size: u32,
    /// The direct type of an enum.
    pub ty: u32,
    pub declaration: bool,
}

/// A member of a struct or union.
#[derive(Clone, Copy)]
pub(super) struct Member {
    name: Text,
    ty: u32,
    pub bits: u64,
    bit_size: u64,
    /// Storage bytes and bit offset of an old-style bitfield, whose storage unit decides where it
    /// lies.
    old_style: Option<(u64, u64)>,
}

impl Member {
    fn needs_kflag(&self) -> bool {
        self.bit_size != 0 || !self.bits.is_multiple_of(8)
    }
}

/// The types of a group, growing.
pub(super) struct Emitter<'a, 'd> {
    pub features: &'a Features,
    /// Offset of the group in `.debug_info`.
    pub start: usize,
    pub offsets: OffsetMap,
    pub texts: Texts<'d>,
    pub cu: Cu<'d>,
    pub pending: Pending,
}

impl<'d> Emitter<'_, 'd> {
    /// Notes that the DIE at `offset` will become a type.
    pub fn place(&mut self, offset: u32) -> Place {
        Place { offset, slot: self.offsets.add(offset) }
    }

    /// The error of a DIE.
    pub fn error<T>(&self, offset: u32, what: impl Into<String>) -> Result<T> {
        Err(DwarfError::die(self.start + offset as usize, what))
    }

    fn begin(&mut self, at: Place, name: Text, info: u32, size_or_type: u32) {
        self.cu.types.push(&[name.0, info, size_or_type]);
        self.offsets.set(at.slot, self.cu.types.len() as u32);
    }

    /// The id of the type emitted last.
    pub fn last_id(&self) -> u32 {
        self.cu.types.len() as u32
    }

    /// BTF demands a name where C does.
    fn named(&self, at: Place, name: Text, what: &str) -> Result<()> {
        if name.is_none() {
            return self.error(at.offset, format!("a {what} without a name, which BTF demands"));
        }
        Ok(())
    }

    /// A pointer or qualifier, or anything that only refers.
    pub fn reference(&mut self, at: Place, kind: Kind, ty: u32) {
        self.begin(at, Text::default(), info(kind, 0, false), ty);
    }

    /// An `_Atomic` type: BTF has no kind for it, and means what it qualifies instead.
    pub fn atomic(&mut self, at: Place, ty: u32) {
        self.pending.atomics.push(Atomic { offset: at.offset, slot: at.slot, ty });
    }

    pub fn typedef(&mut self, at: Place, name: Text, ty: u32) -> Result<()> {
        self.named(at, name, "typedef")?;
        self.begin(at, name, info(Kind::Typedef, 0, false), ty);
        Ok(())
    }

    pub fn array(&mut self, at: Place, ty: u32, nelems: u32) {
        self.cu.has_arrays = true;
        self.begin(at, Text::default(), info(Kind::Array, 0, false), 0);
        for word in [ty, FILE_INT, nelems] {
            self.cu.types.word(word);
        }
    }

    pub fn proto(&mut self, at: Place, ret: u32, params: &[(Text, u32)], variadic: bool) {
        let count = params.len() as u32 + u32::from(variadic);
        self.begin(at, Text::default(), info(Kind::FuncProto, count, false), ret);
        for &(name, ty) in params.iter().chain(variadic.then_some(&(Text::default(), 0))) {
            self.cu.types.word(name.0);
            self.cu.types.word(ty);
        }
    }

    /// A `btf_type_tag` below a pointer: a type of its own, before the pointer's. Returns its id.
    pub fn type_tag(&mut self, text: Text) -> u32 {
        self.cu.types.push(&[text.0, info(Kind::TypeTag, 0, false), 0]);
        self.last_id()
    }

    /// A pointer through type tags: the one nearest to the star, the last, comes first.
    pub fn pointer(&mut self, at: Place, ty: u32, tags: &[u32]) {
        let mut next = ty;
        for &tag in tags {
            self.cu.types.get_mut(tag as usize - 1)[2] = next;
            next = tag | IS_ID;
        }
        self.reference(at, Kind::Ptr, next);
    }

    pub fn base_type(&mut self, at: Place, a: &Attributes<'d>) -> Result<()> {
        const SIGNED: u32 = 1 << 24;
        const BOOL: u32 = 4 << 24;
        let bytes = a.byte_size().unwrap_or(0);
        let mut name = a.text();
        let mut encoding = 0;
        match DwAte(a.encoding() as u8) {
            dw::DW_ATE_signed | dw::DW_ATE_signed_char => encoding = SIGNED,
            dw::DW_ATE_boolean => encoding = BOOL,
            dw::DW_ATE_float | dw::DW_ATE_imaginary_float if self.features.float => {
                self.named(at, name, "float")?;
                if !matches!(bytes, 2 | 4 | 8 | 12 | 16) {
                    return self.error(at.offset, format!("a float of {bytes} bytes"));
                }
                self.begin(at, name, info(Kind::Float, 0, false), bytes as u32);
                return Ok(());
            }
            dw::DW_ATE_complex_float if self.features.float => return self.complex(at, a),
            _ => {}
        }
        let size = if matches!(bytes, 1 | 2 | 4 | 8 | 16) {
            bytes as u32
        } else {
            // DWARF expressions convert to types like `DW_ATE_unsigned_24`.
            name = self.texts.ours(b"__SANITIZED_FAKE_INT__");
            4
        };
        self.named(at, name, "base type")?;
        self.begin(at, name, info(Kind::Int, 0, false), size);
        self.cu.types.word(encoding | (size * 8));
        // The name in DWARF decides which type indexes arrays.
        if self.cu.int == 0 && self.texts.get(a.text().0) == b"int" {
            self.cu.int = self.last_id();
        }
        Ok(())
    }

    /// A complex number: BTF has no kind for it, and C defines it as two numbers in a row.
    ///
    /// It becomes an unnamed struct of these, which has its size and layout, and the user is told.
    /// pahole gives the whole file up. (Without FLOATs it is an INT of the whole size, as there.)
    fn complex(&mut self, at: Place, a: &Attributes<'d>) -> Result<()> {
        let bytes = a.byte_size().unwrap_or(0);
        let Some(part @ (2 | 4 | 8 | 12 | 16)) = bytes.is_multiple_of(2).then_some(bytes / 2)
        else {
            return self.error(at.offset, format!("a complex number of {bytes} bytes"));
        };
        let part = part as u32;
        let name = self.part_of_complex(a.text(), part);
        self.cu.types.push(&[name.0, info(Kind::Float, 0, false), part]);
        let number = self.last_id() | IS_ID;
        self.begin(at, Text::default(), info(Kind::Struct, 2, false), part * 2);
        for (name, bits) in [(&b"real"[..], 0), (b"imag", part * 8)] {
            let name = self.texts.ours(name);
            for word in [name.0, number, bits] {
                self.cu.types.word(word);
            }
        }
        self.cu.substitutes.push(Substitute::Complex(self.texts.get(a.text().0)));
        Ok(())
    }

    /// `double` of `complex double`; clang calls them all `complex`.
    fn part_of_complex(&self, name: Text, bytes: u32) -> Text {
        const PREFIX: &[u8] = b"complex ";
        if self.texts.get(name.0).starts_with(PREFIX) {
            return Text(name.0 + PREFIX.len() as u32);
        }
        self.texts.ours(match bytes {
            2 => b"_Float16",
            4 => b"float",
            8 => b"double",
            _ => b"long double",
        })
    }

    /// Reads a member; a place that BTF cannot express is an error.
    pub fn member(&self, offset: u32, a: &Attributes<'d>, in_union: bool) -> Result<Member> {
        let bytes = || a.member_location().unwrap_or(0).wrapping_mul(8);
        let bits = a.data_bit_offset().unwrap_or_else(bytes);
        let old_style = (a.bit_size() != 0 && a.data_bit_offset().is_none())
            .then(|| (a.byte_size().unwrap_or(0), a.bit_offset()));
        if a.bit_size() > 255 {
            return self.error(offset, format!("a bitfield of {} bits", a.bit_size()));
        }
        if in_union && bits as u32 != 0 && old_style.is_none() {
            return self.error(offset, "a union member that is not at offset 0");
        }
        Ok(Member { name: a.text(), ty: a.ty(), bits, bit_size: a.bit_size(), old_style })
    }

    pub fn composite(&mut self, head: &Head, members: &[Member]) -> Result<()> {
        let &Head { at, kind, name, size, .. } = head;
        if head.declaration {
            self.named(at, name, "forward declaration")?;
            self.pending.declared.push((at.offset, name));
            self.begin(at, name, info(Kind::Fwd, 0, kind == Kind::Union), 0);
            return Ok(());
        }
        if members.len() > MAX_VLEN as usize {
            return self.error(at.offset, format!("{} members", members.len()));
        }
        let kflag = members.iter().any(Member::needs_kflag);
        self.begin(at, name, info(kind, members.len() as u32, kflag), size);
        let id = self.last_id();
        for (index, m) in members.iter().enumerate() {
            if m.needs_kflag() && (m.bit_size == 0 || m.bits > 0xff_ffff) {
                let name = String::from_utf8_lossy(self.texts.get(m.name.0));
                let what = format!(
                    "member {name} at bit {} with {} bits does not fit BTF",
                    m.bits, m.bit_size
                );
                return self.error(at.offset, what);
            }
            if let Some((storage, bit_offset)) = m.old_style {
                let (bits, bit_size) = (m.bits, m.bit_size);
                let die = self.start + at.offset as usize;
                let bitfield = Bitfield { die, id, index, storage, bit_offset, bits, bit_size };
                self.pending.bitfields.push(bitfield);
            }
            self.cu.types.word(m.name.0);
            self.cu.types.word(m.ty);
            self.cu.types.word(m.bits as u32 | (m.bit_size as u32) << 24);
        }
        Ok(())
    }

    pub fn enumeration(&mut self, head: &Head, values: &[(Text, u64)]) -> Result<()> {
        let &Head { at, name, ty, .. } = head;
        let size = if head.size == 0 { 4 } else { head.size };
        if !matches!(size, 1 | 2 | 4 | 8) {
            return self.error(at.offset, format!("an enum of {size} bytes"));
        }
        let wide = size > 4 && self.features.enum64;
        let mut signed = false;
        // Without ENUM64 every value is cut to 32 bits, and with that it has no sign.
        if size <= 4 && self.features.enum64 {
            let fits = |v: i64| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&v);
            if let Some(&(_, v)) = values.iter().find(|&&(_, v)| !fits(v as i64)) {
                let what = format!("enumerator value {} in an enum of {size} bytes", v as i64);
                return self.error(at.offset, what);
            }
            signed = values.iter().any(|&(_, v)| (v as i64) < 0);
        }
        let kind = if wide { Kind::Enum64 } else { Kind::Enum };
        self.begin(at, name, info(kind, values.len() as u32, signed), size);
        if wide && ty != 0 {
            // Its sign is that of the type it names, not that of its values.
            self.pending.wide_enums.push((self.last_id(), ty));
        }
        for &(name, value) in values {
            self.cu.types.word(name.0);
            self.cu.types.word(value as u32);
            if wide {
                self.cu.types.word((value >> 32) as u32);
            }
        }
        Ok(())
    }
}
