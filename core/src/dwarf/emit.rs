//! Types, from what the walk has gathered: as words or as a sketch.
//!
//! References are still DIE offsets here ([`super::resolve`] turns them into ids). BTF demands
//! things that DWARF does not; what it cannot express is an error that names the DIE.

use super::attributes::Attributes;
use super::cu::{Cu, Substitute, Text, Texts};
use super::offsets::{OffsetMap, TYPE};
use super::resolve::{Bitfield, Pending, Storage};
use super::walk::Walked;
use super::{DwarfError, Result};
use crate::btf::kind::Kind;
use crate::btf::types::{MAX_VLEN, info};
use crate::btf::{Type, Types};
use crate::features::Features;
use crate::identity::{FILE_INT, Heading, Key, Name, Sketch};
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
    pub name: Text,
    pub ty: u32,
    /// Where it begins in bits, and how many it has, packed as BTF does where there are bitfields.
    pub place: u32,
    /// [`Member::BITS`], [`Member::FAR`], and above them which of [`Pending::storages`] an
    /// old-style bitfield is in, counted from 1.
    pub notes: u32,
}

impl Member {
    /// It begins or ends amid a byte.
    pub const BITS: u32 = 1;
    /// What is said of its place cannot be packed.
    pub const FAR: u32 = 2;

    #[inline(always)]
    pub fn new(name: Text, ty: u32, bits: u64, bit_size: u8) -> Member {
        let mut notes = 0;
        if bit_size != 0 || !bits.is_multiple_of(8) {
            notes = Member::BITS;
            if bit_size == 0 || bits > 0xff_ffff {
                notes |= Member::FAR;
            }
        }
        Member { name, ty, place: bits as u32 | u32::from(bit_size) << 24, notes }
    }

    /// The byte that it begins in.
    pub fn byte(&self) -> u32 {
        let bits = if self.notes == 0 { self.place } else { self.place & 0xff_ffff };
        bits / 8
    }
}

/// Where types go.
pub(super) enum Sink<'k> {
    /// They are written down.
    Words(Types),
    /// They are sketched.
    Sketch {
        key: &'k Key,
        sketch: Sketch,
        /// Where their DIEs stand in the group.
        places: Vec<u32>,
        /// There is something that has to be written down.
        odd: bool,
    },
}

impl<'k> Sink<'k> {
    /// For the types of about `len` bytes of DWARF.
    pub fn sketch(key: &'k Key, len: usize) -> Sink<'k> {
        let types = len / TYPE;
        let sketch = Sketch::with_capacity(types, len / LINK);
        Sink::Sketch { key, sketch, places: Vec::with_capacity(types), odd: false }
    }
}

/// A reference to a type in so many bytes of DWARF, as a rule.
const LINK: usize = 15;

/// The types of a group, growing.
pub(super) struct Emitter<'a, 'd> {
    pub features: &'a Features,
    /// Offset of the group in `.debug_info`.
    pub start: usize,
    pub offsets: OffsetMap,
    pub texts: Texts<'d>,
    pub sink: Sink<'a>,
    pub cu: Cu<'d>,
    pub pending: Pending,
    /// Where types are put together.
    pub words: Vec<u32>,
}

impl<'d> Emitter<'_, 'd> {
    /// Forgets the types taken so far, which are written down.
    pub fn forget(&mut self) {
        if let Sink::Words(types) = &mut self.sink {
            types.truncate(0);
        }
        self.offsets.clear();
        self.pending.clear();
    }

    /// Notes that the DIE at `offset` will become a type.
    pub fn place(&mut self, offset: u32) -> Place {
        Place { offset, slot: self.offsets.add(offset, 0) }
    }

    /// The type taken last is the one whose DIE stands at `offset`.
    #[inline]
    pub fn settle(&mut self, offset: u32) {
        self.offsets.add(offset, self.last_id());
    }

    /// The error of a DIE.
    pub fn error<T>(&self, offset: u32, what: impl Into<String>) -> Result<T> {
        Err(DwarfError::die(self.start + offset as usize, what))
    }

    /// Takes the words of a whole type.
    fn put(&mut self, at: Place, words: &[u32]) {
        let texts = self.texts;
        match &mut self.sink {
            Sink::Words(types) => {
                types.push(words);
            }
            Sink::Sketch { key, sketch, places, .. } => {
                sketch.add(key, Type(words), |name| Name::Text(texts.tail(name)));
                places.push(at.offset);
            }
        }
        self.note(at);
    }

    /// The type taken last is the one of this place.
    #[inline]
    fn note(&mut self, at: Place) {
        self.offsets.set(at.slot, self.last_id());
    }

    /// The id of the type taken last.
    #[inline]
    pub fn last_id(&self) -> u32 {
        match &self.sink {
            Sink::Words(types) => types.len() as u32,
            Sink::Sketch { places, .. } => places.len() as u32,
        }
    }

    /// There is something in these units that has to be written down.
    #[cold]
    pub fn odd(&mut self) {
        if let Sink::Sketch { odd, .. } = &mut self.sink {
            *odd = true;
        }
    }

    /// BTF demands a name where C does.
    fn named(&self, at: Place, name: Text, what: &str) -> Result<()> {
        if name.is_none() {
            return self.error(at.offset, format!("a {what} without a name, which BTF demands"));
        }
        Ok(())
    }

    /// A pointer or qualifier, whose DIE stands at `offset`.
    #[inline(never)]
    pub fn bare(&mut self, offset: u32, kind: Kind, ty: u32) {
        match &mut self.sink {
            Sink::Words(types) => {
                types.push(&[0, info(kind, 0, false), ty]);
            }
            Sink::Sketch { key, sketch, places, .. } => {
                sketch.bare(key, kind, ty);
                places.push(offset);
            }
        }
        self.settle(offset);
    }

    /// A type that refers to another one, and may have a name.
    #[inline]
    pub fn refer(&mut self, at: Place, kind: Kind, name: Text, ty: u32) {
        let (info, texts) = (info(kind, 0, false), self.texts);
        match &mut self.sink {
            Sink::Words(types) => {
                types.push(&[name.0, info, ty]);
            }
            Sink::Sketch { key, sketch, places, .. } => {
                let heading = Heading { info, name: name.0, size: 0 };
                sketch.reference(key, heading, name_of(texts, name.0), ty);
                places.push(at.offset);
            }
        }
        self.note(at);
    }

    /// An `_Atomic` type: BTF has no kind for it, and means what it qualifies instead.
    pub fn atomic(&mut self, at: Place, ty: u32) {
        self.odd();
        self.pending.atomics.push(Atomic { offset: at.offset, slot: at.slot, ty });
    }

    pub fn typedef(&mut self, at: Place, name: Text, ty: u32) -> Result<()> {
        self.named(at, name, "typedef")?;
        self.refer(at, Kind::Typedef, name, ty);
        Ok(())
    }

    pub fn array(&mut self, at: Place, ty: u32, nelems: u32) {
        self.cu.has_arrays = true;
        self.put(at, &[0, info(Kind::Array, 0, false), 0, ty, FILE_INT, nelems]);
    }

    pub fn proto(&mut self, at: Place, ret: u32, params: &[(Text, u32)], variadic: bool) {
        let count = params.len() as u32 + u32::from(variadic);
        let (info, texts) = (info(Kind::FuncProto, count, false), self.texts);
        // What may follow is a parameter without name and type.
        let params =
            params.iter().map(|&(name, ty)| (name.0, ty)).chain(variadic.then_some((0, 0)));
        match &mut self.sink {
            Sink::Words(types) => {
                types.push(&[0, info, ret]);
                for (name, ty) in params {
                    types.word(name);
                    types.word(ty);
                }
            }
            Sink::Sketch { key, sketch, places, .. } => {
                let mut adding = sketch.prototype(key, ret);
                params.for_each(|(name, ty)| adding.param(name_of(texts, name), ty));
                adding.finish(Heading { info, name: 0, size: 0 });
                places.push(at.offset);
            }
        }
        self.note(at);
    }

    /// A `btf_type_tag` below a pointer: a type of its own, before the pointer's. Returns its id.
    pub fn type_tag(&mut self, text: Text) -> u32 {
        self.odd();
        if let Sink::Words(types) = &mut self.sink {
            types.push(&[text.0, info(Kind::TypeTag, 0, false), 0]);
        }
        self.last_id()
    }

    /// A pointer through type tags: the one nearest to the star, the last, comes first.
    #[inline]
    pub fn pointer(&mut self, at: Place, ty: u32, tags: &[u32]) {
        let mut next = ty;
        if let Sink::Words(types) = &mut self.sink {
            for &tag in tags {
                types.get_mut(tag as usize - 1)[2] = next;
                next = tag | IS_ID;
            }
        }
        self.refer(at, Kind::Ptr, Text::default(), next);
    }

    pub fn base_type(&mut self, at: Place, a: &Attributes<'_, 'd>) -> Walked<()> {
        const SIGNED: u32 = 1 << 24;
        const BOOL: u32 = 4 << 24;
        let bytes = a.byte_size().unwrap_or(0);
        let told = a.text()?;
        let mut name = told;
        let mut encoding = 0;
        match DwAte(a.encoding() as u8) {
            dw::DW_ATE_signed | dw::DW_ATE_signed_char => encoding = SIGNED,
            dw::DW_ATE_boolean => encoding = BOOL,
            dw::DW_ATE_float | dw::DW_ATE_imaginary_float if self.features.float => {
                self.named(at, name, "float")?;
                if !matches!(bytes, 2 | 4 | 8 | 12 | 16) {
                    return Ok(self.error(at.offset, format!("a float of {bytes} bytes"))?);
                }
                self.put(at, &[name.0, info(Kind::Float, 0, false), bytes as u32]);
                return Ok(());
            }
            dw::DW_ATE_complex_float if self.features.float => {
                return Ok(self.complex(at, name, bytes)?);
            }
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
        self.put(at, &[name.0, info(Kind::Int, 0, false), size, encoding | (size * 8)]);
        // The name in DWARF decides which type indexes arrays.
        if self.cu.int == 0 && self.texts.get(told.0) == b"int" {
            self.cu.int = self.last_id();
        }
        Ok(())
    }

    /// A complex number: BTF has no kind for it, and C defines it as two numbers in a row.
    ///
    /// It becomes an unnamed struct of these, which has its size and layout, and the user is told.
    /// pahole gives the whole file up. (Without FLOATs it is an INT of the whole size, as there.)
    fn complex(&mut self, at: Place, name: Text, bytes: u64) -> Result<()> {
        let Some(part @ (2 | 4 | 8 | 12 | 16)) = bytes.is_multiple_of(2).then_some(bytes / 2)
        else {
            return self.error(at.offset, format!("a complex number of {bytes} bytes"));
        };
        let part = part as u32;
        self.odd();
        let Sink::Words(types) = &mut self.sink else { return Ok(()) };
        types.push(&[part_of_complex(self.texts, name, part).0, info(Kind::Float, 0, false), part]);
        let number = types.len() as u32 | IS_ID;
        let [real, imaginary] = [&b"real"[..], b"imag"].map(|part| self.texts.ours(part).0);
        let members = [real, number, 0, imaginary, number, part * 8];
        types.push(&[0, info(Kind::Struct, 2, false), part * 2]);
        members.into_iter().for_each(|word| types.word(word));
        self.note(at);
        self.cu.substitutes.push(Substitute::Complex(self.texts.get(name.0)));
        Ok(())
    }

    /// Reads a member; a place that BTF cannot express is an error.
    #[inline]
    pub fn member(
        &mut self,
        offset: u32,
        a: &Attributes<'_, 'd>,
        in_union: bool,
    ) -> Walked<Member> {
        let place = a.data_bit_offset()?;
        let bits = match place {
            Some(bits) => bits,
            None => a.member_location()?.unwrap_or(0).wrapping_mul(8),
        };
        let (bit_size, mut storage) = (a.bit_size(), 0);
        if bit_size > 255 {
            return Ok(self.error(offset, format!("a bitfield of {bit_size} bits"))?);
        }
        if bit_size != 0 && place.is_none() {
            self.odd();
            self.pending.storages.push(Storage {
                bytes: a.byte_size().unwrap_or(0),
                bit_offset: a.bit_offset(),
                bits,
            });
            storage = self.pending.storages.len() as u32;
        } else if in_union && bits as u32 != 0 {
            return Ok(self.error(offset, "a union member that is not at offset 0")?);
        }
        let mut member = Member::new(a.text()?, a.ty(), bits, bit_size as u8);
        member.notes |= storage << 2;
        Ok(member)
    }

    pub fn composite(&mut self, head: &Head, members: &[Member]) -> Result<()> {
        let &Head { at, kind, name, size, .. } = head;
        if head.declaration {
            self.named(at, name, "forward declaration")?;
            self.pending.declared.push((at.offset, name));
            self.put(at, &[name.0, info(Kind::Fwd, 0, kind == Kind::Union), 0]);
            return Ok(());
        }
        if members.len() > MAX_VLEN as usize {
            return self.error(at.offset, format!("{} members", members.len()));
        }
        let notes = members.iter().fold(0, |notes, m| notes | m.notes);
        if notes & Member::FAR != 0 {
            return self.far(at, members);
        }
        let kflag = notes & Member::BITS != 0;
        let (info, texts) = (info(kind, members.len() as u32, kflag), self.texts);
        match &mut self.sink {
            Sink::Words(types) => {
                types.push(&[name.0, info, size]);
                let words = members.iter().flat_map(|m| [m.name.0, m.ty, m.place]);
                words.for_each(|word| types.word(word));
            }
            Sink::Sketch { key, sketch, places, .. } => {
                let mut adding = sketch.composite(key, name_of(texts, name.0));
                for m in members {
                    adding.member(name_of(texts, m.name.0), m.ty, m.place);
                }
                adding.finish(Heading { info, name: name.0, size });
                places.push(at.offset);
            }
        }
        self.note(at);
        if notes >> 2 != 0 {
            let (die, id) = (self.start + at.offset as usize, self.last_id());
            for (index, m) in members.iter().enumerate().filter(|(_, m)| m.notes >> 2 != 0) {
                let storage = m.notes >> 2;
                let bit_size = m.place >> 24;
                self.pending.bitfields.push(Bitfield { die, id, index, storage, bit_size });
            }
        }
        Ok(())
    }

    /// With bitfields, a place has 24 bits.
    #[cold]
    fn far(&self, at: Place, members: &[Member]) -> Result<()> {
        let far = members.iter().find(|m| m.notes & Member::FAR != 0);
        let name = String::from_utf8_lossy(self.texts.get(far.map_or(0, |m| m.name.0)));
        let what = format!(
            "the place of member {name} does not fit BTF, \
             expected a byte, or a bitfield that begins below bit 16777216"
        );
        self.error(at.offset, what)
    }

    /// An enum; `signed` says so of the type that it is one of.
    pub fn enumeration(&mut self, head: &Head, values: &[(Text, u64)], signed: bool) -> Result<()> {
        let &Head { at, name, .. } = head;
        let size = if head.size == 0 { 4 } else { head.size };
        if !matches!(size, 1 | 2 | 4 | 8) {
            return self.error(at.offset, format!("an enum of {size} bytes"));
        }
        let wide = size > 4 && self.features.enum64;
        // The sign of a wide one is that of its type, not that of its values.
        let mut signed = wide && signed;
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
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        words.extend([name.0, info(kind, values.len() as u32, signed), size]);
        for &(name, value) in values {
            words.extend([name.0, value as u32]);
            if wide {
                words.push((value >> 32) as u32);
            }
        }
        self.put(at, &words);
        self.words = words;
        Ok(())
    }
}

/// The name with this number, as sketches take it; none for 0.
#[inline]
fn name_of(texts: Texts<'_>, number: u32) -> Option<Name<'_>> {
    (number != 0).then(|| Name::Text(texts.tail(number)))
}

/// `double` of `complex double`; clang calls them all `complex`.
fn part_of_complex(texts: Texts<'_>, name: Text, bytes: u32) -> Text {
    const PREFIX: &[u8] = b"complex ";
    if texts.get(name.0).starts_with(PREFIX) {
        return Text(name.0 + PREFIX.len() as u32);
    }
    texts.ours(match bytes {
        2 => b"_Float16",
        4 => b"float",
        8 => b"double",
        _ => b"long double",
    })
}
