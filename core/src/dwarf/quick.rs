//! The short way: DIEs whose values all stand in places of their own.
//!
//! Nine of ten DIEs that matter are members, enumerators, parameters of prototypes, pointers,
//! qualifiers, typedefs, or the heads of types with such below them, and say what they say in numbers
//! of fixed size, behind a short name as the case may be. They are read from one window of bytes,
//! without looking for anything; types with children mostly in one go ([`super::whole`]). Whatever is
//! unusual about one of them is left to the long way ([`super::walk`]), which reads it again; so there
//! is nothing that only the short way knows, and no error here.

use super::abbreviations::{Field, Spot, Spots, Step, Way, What};
use super::attributes::within_group;
use super::bytes::Cursor;
use super::cu::{Text, Texts};
use super::emit::Member;
use super::walk::{Open, Walk};
use crate::btf::kind::Kind;
use crate::identity::Name;
use gimli::constants as dw;

/// How a DIE is read that is short, and of which each value that matters is a number of up to four
/// bytes in a place of its own, or a name in front of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    /// [`What::Other`] where such DIEs are not read quickly.
    pub what: What,
    pub has_children: bool,
    /// It only declares what another one defines.
    pub declares: bool,
    /// Bytes of the DIE; those of a name in it, or of what is behind, are left aside.
    pub size: u8,
    /// How many expressions are behind all others.
    pub expressions: u8,
    /// How many bits of a place `number` counts; what is to be added to the count of a dimension.
    pub scale: u8,
    /// It is a member that is no bitfield, in bytes.
    is_plain: bool,
    /// Where the offset of its name in `.debug_str` stands, [`INLINE`] where the name itself stands in
    /// front of all other values, 0 where there is none.
    name: u8,
    /// Where a reference within the unit stands, 0 where there is none.
    ty: u8,
    /// Bits or bytes of a member's place, the value of an enumerator, the size of a struct, union or
    /// enum, or the count of a dimension.
    pub number: Number,
    /// How many bits a member has.
    pub bits: Number,
}

/// The name stands in the DIE.
const INLINE: u8 = 0x80;

/// A number in a [`Quick`] DIE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    /// The bits of it, as many as its bytes have; none where it is not there.
    mask: u32,
    /// What it is where it is not there.
    implicit: u16,
    at: u8,
}

/// What is known of an abbreviation whose DIEs have a fixed size, but for a name in front.
pub(super) struct Short<'a> {
    pub what: What,
    pub has_children: bool,
    /// Bytes behind the code, or behind the name that follows it.
    pub len: u32,
    /// There is such a name.
    pub inline: bool,
    pub spots: &'a Spots,
    pub steps: &'a [Step],
}

impl Short<'_> {
    fn has(&self, field: Field) -> bool {
        self.spots.given >> field as u32 & 1 == 1
    }

    /// A number that is read in this way or stands in the abbreviation; `None` where it is another.
    fn number(&self, field: Field, way: Way) -> Option<Number> {
        if !self.has(field) {
            return Some(Number::default());
        }
        let spot = self.spots.spots[field as usize];
        if spot.way == way {
            return Number::at(spot);
        }
        let step = self.steps.iter().rfind(|step| step.field == field)?;
        let implicit = step.form == dw::DW_FORM_implicit_const && way == Way::Constant;
        let implicit = implicit.then(|| u16::try_from(step.implicit).ok())??;
        Some(Number { implicit, ..Number::default() })
    }

    /// Where four bytes stand that are read in this way; 0 where there are none.
    fn word(&self, field: Field, way: Way) -> Option<u8> {
        match self.number(field, way)? {
            Number { mask: u32::MAX, at, .. } => Some(at),
            Number { at, .. } => (at == 0).then_some(0),
        }
    }

    fn name(&self) -> Option<u8> {
        if !self.inline {
            return self.word(Field::Name, Way::Strp);
        }
        let names = self.steps.iter().filter(|step| step.field == Field::Name);
        (names.count() == 1).then_some(INLINE)
    }
}

/// How many bytes of a DIE are looked at.
pub(super) const WINDOW: usize = 36;

/// What is quick is shorter than this.
const SHORT: usize = 32;

/// How abbreviations are read by the first byte of their codes, which are below 256.
pub(super) type Quicks = [Quick; 256];

impl Number {
    fn at(spot: Spot) -> Option<Number> {
        let mask = u32::MAX.checked_shr(u32::BITS.checked_sub(8 * u32::from(spot.size))?)?;
        // Behind the code.
        Some(Number { mask, implicit: 0, at: spot.at as u8 + 1 })
    }

    /// The number, in little endian; 0 of what is not there.
    #[inline(always)]
    fn stored(self, die: &[u8; WINDOW]) -> u32 {
        word(die, self.at) & self.mask
    }

    /// The number, which may stand in the abbreviation; 0 of what is nowhere.
    #[inline(always)]
    pub fn read(self, die: &[u8; WINDOW]) -> u32 {
        self.stored(die) | u32::from(self.implicit)
    }
}

/// The four bytes at a place, which is short, in little endian.
#[inline(always)]
fn word(die: &[u8; WINDOW], at: u8) -> u32 {
    // The compiler cannot know that it is short.
    let at = usize::from(at) % SHORT;
    die[at..].first_chunk().map_or(0, |&word| u32::from_le_bytes(word))
}

/// A name: its number, and its bytes with others behind; none without a number.
#[derive(Clone, Copy)]
pub(super) struct Named<'d> {
    pub text: Text,
    pub tail: &'d [u8],
}

impl<'d> Named<'d> {
    /// As sketches take it.
    #[inline(always)]
    pub fn name(self) -> Option<Name<'d>> {
        (!self.text.is_none()).then_some(Name::Text(self.tail))
    }
}

/// Where a DIE is being read.
pub(super) struct Window<'d> {
    pub at: Cursor<'d>,
    pub die: &'d [u8; WINDOW],
}

impl Quick {
    /// Of DIEs that are not read quickly.
    pub const NOT: Quick = {
        let none = Number { mask: 0, implicit: 0, at: 0 };
        Quick {
            what: What::Other,
            has_children: false,
            declares: false,
            size: 0,
            expressions: 0,
            scale: 0,
            is_plain: false,
            name: 0,
            ty: 0,
            number: none,
            bits: none,
        }
    };

    /// The name, if there is one; `None` where it cannot be told quickly. One that stands in the DIE
    /// is left behind, so that the rest can be read as if there were none.
    #[inline(always)]
    pub fn name<'d>(&self, window: &mut Window<'d>, texts: Texts<'d>) -> Option<Named<'d>> {
        match self.name {
            0 => Some(Named { text: Text::default(), tail: b"" }),
            at @ 1..INLINE => {
                let (text, tail) = texts.in_str_with(word(window.die, at))?;
                Some(Named { text, tail })
            }
            _ => {
                let tail = &window.die[1..];
                // The linker has all that are longer in `.debug_str`, as a rule.
                let len = tail[..8].iter().position(|&byte| byte == 0)?;
                let text = texts.in_info(window.at.position() as u64 + 1)?;
                window.at.advance(len as u8 + 1);
                window.die = window.at.window()?;
                Some(Named { text, tail })
            }
        }
    }

    /// What it refers to, as an offset in the group.
    #[inline(always)]
    pub fn ty(&self, die: &[u8; WINDOW], within: u64) -> u32 {
        match self.ty {
            0 => 0,
            at => within_group(within + u64::from(word(die, at))),
        }
    }

    /// A member of a struct or union, with its name.
    #[inline(always)]
    pub fn member<'d>(
        &self,
        window: &mut Window<'d>,
        texts: Texts<'d>,
        within: u64,
        in_union: bool,
    ) -> Option<(Member, Named<'d>)> {
        let name = self.name(window, texts)?;
        if self.is_plain {
            let place = self.number.stored(window.die) << 3;
            let member =
                Member { name: name.text, ty: self.ty(window.die, within), place, notes: 0 };
            return (!in_union || place == 0).then_some((member, name));
        }
        let bits = u64::from(self.number.read(window.die)) * u64::from(self.scale);
        let bit_size = self.bits.read(window.die);
        if in_union && bits as u32 != 0 || bit_size > 255 {
            return None;
        }
        let ty = self.ty(window.die, within);
        Some((Member::new(name.text, ty, bits, bit_size as u8), name))
    }

    /// An enumerator: its name and value.
    #[inline(always)]
    pub fn value<'d>(&self, window: &mut Window<'d>, texts: Texts<'d>) -> Option<(Named<'d>, u32)> {
        let name = self.name(window, texts)?;
        Some((name, self.number.read(window.die)))
    }

    /// A parameter: its name and type.
    #[inline(always)]
    pub fn param<'d>(
        &self,
        window: &mut Window<'d>,
        texts: Texts<'d>,
        within: u64,
    ) -> Option<(Named<'d>, u32)> {
        let name = self.name(window, texts)?;
        Some((name, self.ty(window.die, within)))
    }

    /// How such DIEs are read; `None` where not quickly.
    pub fn of(die: &Short<'_>) -> Option<Quick> {
        let size = 1 + u8::try_from(die.len).ok().filter(|&size| usize::from(size) < SHORT - 1)?;
        if die.has(Field::Annotation) {
            return None;
        }
        let constant = |field| die.number(field, Way::Constant);
        let quick = Quick { what: die.what, has_children: die.has_children, size, ..Quick::NOT };
        let ty = die.word(Field::Type, Way::Reference)?;
        if die.has_children {
            return match die.what {
                What::Struct | What::Union | What::Enum => quick.headed(die, ty),
                What::Array | What::Subroutine => Some(Quick { ty, ..quick }),
                _ => None,
            };
        }
        Some(match die.what {
            What::Member if !die.has(Field::BitSize) || die.has(Field::DataBitOffset) => {
                let (number, scale) = match die.has(Field::DataBitOffset) {
                    true => (constant(Field::DataBitOffset)?, 1),
                    false => (constant(Field::MemberLocation)?, 8),
                };
                let bits = constant(Field::BitSize)?;
                let is_plain = scale == 8 && number.implicit == 0 && !die.has(Field::BitSize);
                Quick { name: die.name()?, ty, number, scale, is_plain, bits, ..quick }
            }
            What::Parameter => Quick { name: die.name()?, ty, ..quick },
            What::Typedef if die.has(Field::Name) => Quick { name: die.name()?, ty, ..quick },
            What::Pointer | What::Const | What::Volatile | What::Restrict => Quick { ty, ..quick },
            What::Enumerator => {
                Quick { name: die.name()?, number: constant(Field::ConstValue)?, ..quick }
            }
            What::Struct | What::Union | What::Enum => quick.headed(die, ty)?,
            What::Array | What::Subroutine => Quick { ty, ..quick },
            What::Subrange if die.has(Field::UpperBound) => {
                Quick { number: constant(Field::UpperBound)?, scale: 1, ..quick }
            }
            What::Subrange => Quick { number: constant(Field::Count)?, ..quick },
            _ => return None,
        })
    }

    /// How DIEs are read that are passed over in bodies of functions; `None` where not quickly.
    pub fn passed(what: What, has_children: bool, skips: &[Step]) -> Option<Quick> {
        let (size, behind) = match skips {
            [Step { size: Some(size), .. }, behind @ ..] => (*size, behind),
            behind => (0, behind),
        };
        let size = 1 + u8::try_from(size).ok().filter(|&size| usize::from(size) < SHORT - 1)?;
        let expressions = u8::try_from(behind.len()).ok()?;
        let only = behind.iter().all(|step| step.form == dw::DW_FORM_exprloc);
        only.then_some(Quick { what, has_children, size, expressions, ..Quick::NOT })
    }

    /// The same of DIEs whose code takes two bytes; `None` where these are not read quickly.
    pub fn behind_two_bytes(self) -> Option<Quick> {
        let further = |at: u8| if at == 0 { 0 } else { at + 1 };
        let number = |number: Number| Number { at: further(number.at), ..number };
        (!self.is_named_inline()).then(|| Quick {
            size: self.size + 1,
            name: further(self.name),
            ty: further(self.ty),
            number: number(self.number),
            bits: number(self.bits),
            ..self
        })
    }

    /// Whether a name stands in the DIE.
    #[inline]
    pub fn is_named_inline(&self) -> bool {
        self.name == INLINE
    }

    /// How what has a name and a size is read.
    fn headed(self, die: &Short<'_>, ty: u8) -> Option<Quick> {
        if die.has(Field::Specification) {
            return None;
        }
        let number = die.number(Field::ByteSize, Way::Constant)?;
        let declares = die.has(Field::Declaration);
        if declares && die.has_children {
            return None;
        }
        Some(Quick { name: die.name()?, ty, number, declares, ..self })
    }
}

/// The next DIE, where it can be read quickly.
#[inline(always)]
pub(super) fn next<'q, 'd>(quicks: &'q Quicks, at: Cursor<'d>) -> Option<(&'q Quick, Window<'d>)> {
    let die = at.window::<WINDOW>()?;
    // Compilers count abbreviations by how often they are used: few have a code above 255.
    if die[0] >= 128 && die[1] != 1 {
        return None;
    }
    Some((&quicks[usize::from(die[0])], Window { at, die }))
}

impl<'d> Walk<'_, 'd> {
    /// Takes DIEs of a unit that can be read quickly, until one comes that cannot, or as many are
    /// open as before; `within` is where the unit begins in its group.
    #[inline]
    pub(super) fn quick(
        &mut self,
        quicks: &Quicks,
        within: u64,
        cursor: &mut Cursor<'d>,
        depth: usize,
    ) {
        while let Some((quick, window)) = next(quicks, *cursor)
            && quick.what != What::Other
            && let Some(behind) = self.quick_one(quicks, within, quick, window, depth)
        {
            *cursor = behind;
            if self.stack.len() == depth {
                return;
            }
        }
    }

    /// Takes one, where it stands in a place for such; tells where it ends. What is wrong with it
    /// will be said where it is read again at leisure.
    #[inline]
    fn quick_one(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        mut window: Window<'d>,
        depth: usize,
    ) -> Option<Cursor<'d>> {
        let parent = self.stack.last_mut()?;
        let texts = self.out.texts;
        match (q.what, parent) {
            (What::Enumerator, Open::Enum { .. }) => {
                let (name, value) = q.value(&mut window, texts)?;
                self.values.push((name.text, value.into()));
            }
            (What::Parameter, Open::Proto { .. }) => {
                let (name, ty) = q.param(&mut window, texts, within)?;
                self.params.push((name.text, ty));
            }
            (What::Member, Open::Composite { head, count, .. }) => {
                let in_union = head.kind == Kind::Union;
                let (member, _) = q.member(&mut window, texts, within, in_union)?;
                self.members.push(member);
                *count += 1;
            }
            (
                What::Block | What::Inlined | What::Variable | What::Call | What::Parameter,
                Open::Function { .. } | Open::Block | Open::Inlined | Open::Skip,
            ) => return self.body(quicks, window.at, depth),
            (
                _,
                Open::Skip
                | Open::Enum { .. }
                | Open::Array { .. }
                | Open::Tagged(_)
                | Open::Pointer { .. }
                | Open::Typedef { .. },
            ) => return None,
            _ => return self.types(quicks, within, window.at, depth),
        }
        window.at.advance(q.size);
        Some(window.at)
    }

    /// Takes types that stand one after the other where such may; tells where the next DIE begins, if
    /// any was taken. Types leave as many DIEs open as there are: where that is to be the end, one is
    /// taken.
    #[inline(never)]
    fn types(
        &mut self,
        quicks: &Quicks,
        within: u64,
        start: Cursor<'d>,
        depth: usize,
    ) -> Option<Cursor<'d>> {
        let is_one = self.stack.len() == depth;
        let mut at = start;
        while let Some((quick, window)) = next(quicks, at)
            && let Some(behind) = self.one_type(quicks, within, quick, window)
        {
            at = behind;
            if is_one {
                break;
            }
        }
        (at.position() != start.position()).then_some(at)
    }

    /// Takes one; tells where it ends.
    #[inline(always)]
    fn one_type(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        mut window: Window<'d>,
    ) -> Option<Cursor<'d>> {
        let offset = (window.at.position() - self.out.start) as u32;
        match q.what {
            What::Pointer => self.out.bare(offset, Kind::Ptr, q.ty(window.die, within)),
            What::Const => self.out.bare(offset, Kind::Const, q.ty(window.die, within)),
            What::Volatile => self.out.bare(offset, Kind::Volatile, q.ty(window.die, within)),
            What::Restrict => self.out.bare(offset, Kind::Restrict, q.ty(window.die, within)),
            What::Typedef => {
                let name = q.name(&mut window, self.out.texts)?;
                let at = self.out.place(offset);
                self.out.refer(at, Kind::Typedef, name.text, q.ty(window.die, within));
            }
            What::Struct | What::Union => {
                return self.whole_composite(quicks, within, q, window);
            }
            What::Enum => return self.whole_enum(quicks, within, q, window),
            What::Subroutine => return self.whole_prototype(quicks, within, q, window),
            What::Array => return self.whole_array(quicks, within, q, window),
            _ => return None,
        }
        window.at.advance(q.size);
        Some(window.at)
    }
}
