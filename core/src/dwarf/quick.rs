//! The short way: DIEs whose values all stand in places of their own.
//!
//! Three of four DIEs that matter are members, enumerators, parameters of prototypes, pointers,
//! qualifiers and typedefs, have no children, and say what they say in numbers of fixed size. They are
//! read from one window of bytes, without looking for anything. Whatever is unusual about one of
//! them is left to the long way ([`super::walk`]), which reads it again; so there is nothing that only
//! the short way knows, and no error here.

use super::abbreviations::{Field, Spot, Spots, Way, What};
use super::attributes::within_group;
use super::bytes::Cursor;
use super::cu::{Text, Texts};
use super::emit::Member;
use super::walk::{Open, Walk};
use crate::btf::kind::Kind;

/// How a DIE is read that has no children, is short, and of which each value that matters is a
/// number of up to four bytes in a place of its own: three of four types and members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    /// [`What::Other`] where such DIEs are not read quickly.
    what: What,
    /// Bytes of the DIE.
    pub size: u8,
    /// How many bits of a place `number` counts.
    scale: u8,
    /// An offset in `.debug_str`.
    name: Number,
    /// A reference within the unit.
    ty: Number,
    /// Bits or bytes of a member's place, or the value of an enumerator.
    number: Number,
    /// How many bits a member has.
    bits: Number,
}

/// A number in a [`Quick`] DIE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    /// The bits of it, as many as its bytes have; none where it is not there.
    mask: u32,
    at: u8,
}

/// How many bytes of a DIE are looked at.
pub(super) const WINDOW: usize = 36;

/// What is quick is shorter than this.
const SHORT: usize = 32;

/// How abbreviations with these codes are read, each of one byte.
pub(super) const CODES: usize = 128;

impl Number {
    fn at(spot: Spot) -> Option<Number> {
        let mask = u32::MAX.checked_shr(u32::BITS.checked_sub(8 * u32::from(spot.size))?)?;
        // Behind the code.
        Some(Number { mask, at: spot.at as u8 + 1 })
    }

    /// The number, in little endian; 0 of what is not there.
    #[inline]
    pub fn read(self, die: &[u8; WINDOW]) -> u32 {
        // The compiler cannot know that it is short.
        let at = usize::from(self.at) % SHORT;
        let Some(word) = die[at..].first_chunk::<4>() else { return 0 };
        u32::from_le_bytes(*word) & self.mask
    }

    /// Whether there is one.
    #[inline]
    pub fn is_given(self) -> bool {
        self.mask != 0
    }
}

impl Quick {
    /// Of DIEs that are not read quickly.
    pub const NOT: Quick = {
        let none = Number { mask: 0, at: 0 };
        Quick {
            what: What::Other,
            size: 0,
            scale: 0,
            name: none,
            ty: none,
            number: none,
            bits: none,
        }
    };

    /// The name, if there is one; `None` where it is none of the section.
    #[inline(always)]
    fn name(&self, die: &[u8; WINDOW], texts: Texts<'_>) -> Option<Text> {
        match self.name.is_given() {
            false => Some(Text::default()),
            true => texts.in_str(self.name.read(die).into()),
        }
    }

    /// What it refers to, as an offset in the group.
    #[inline(always)]
    fn ty(&self, die: &[u8; WINDOW], within: u64) -> u32 {
        match self.ty.is_given() {
            false => 0,
            true => within_group(within + u64::from(self.ty.read(die))),
        }
    }

    /// How DIEs are read of which `size` and `spots` are known; `None` where not quickly.
    pub fn of(what: What, size: Option<u32>, spots: &Spots) -> Option<Quick> {
        let size = 1 + u8::try_from(size?).ok().filter(|&size| usize::from(size) < SHORT - 1)?;
        let get = |field: Field, way: Way| -> Option<Number> {
            if spots.given >> field as u32 & 1 == 0 {
                return Some(Number::default());
            }
            let spot = spots.spots[field as usize];
            if spot.way == way { Number::at(spot) } else { None }
        };
        let given = |field: Field| spots.given >> field as u32 & 1 == 1;
        if given(Field::Annotation) {
            return None;
        }
        let quick = Quick { what, size, ..Quick::NOT };
        let ty = get(Field::Type, Way::Reference)?;
        Some(match what {
            What::Member if !given(Field::BitSize) || given(Field::DataBitOffset) => {
                let (number, scale) = match given(Field::DataBitOffset) {
                    true => (get(Field::DataBitOffset, Way::Constant)?, 1),
                    false => (get(Field::MemberLocation, Way::Constant)?, 8),
                };
                let bits = get(Field::BitSize, Way::Constant)?;
                Quick { name: get(Field::Name, Way::Strp)?, ty, number, scale, bits, ..quick }
            }
            What::Parameter => Quick { name: get(Field::Name, Way::Strp)?, ty, ..quick },
            What::Typedef if given(Field::Name) => {
                Quick { name: get(Field::Name, Way::Strp)?, ty, ..quick }
            }
            What::Pointer | What::Const | What::Volatile | What::Restrict => Quick { ty, ..quick },
            What::Enumerator => {
                let number = get(Field::ConstValue, Way::Constant)?;
                Quick { name: get(Field::Name, Way::Strp)?, number, ..quick }
            }
            _ => return None,
        })
    }
}

/// The next DIE, where it can be read quickly.
#[inline(always)]
fn next<'q, 'd>(
    quicks: &'q [Quick; CODES],
    cursor: &Cursor<'d>,
) -> Option<(&'q Quick, &'d [u8; WINDOW])> {
    let die = cursor.window::<WINDOW>()?;
    let quick = quicks.get(usize::from(die[0]))?;
    (quick.what != What::Other).then_some((quick, die))
}

/// Takes members of a struct or union as long as they can be read quickly; tells how many.
// Four of ten DIEs: a loop of its own, with all that it needs in registers.
#[inline(never)]
fn members(
    quicks: &[Quick; CODES],
    within: u64,
    cursor: &mut Cursor<'_>,
    texts: Texts<'_>,
    in_union: bool,
    members: &mut Vec<Member>,
) -> i32 {
    let mut at = *cursor;
    let mut taken = 0;
    while let Some((quick, die)) = next(quicks, &at)
        && quick.what == What::Member
    {
        let bits = u64::from(quick.number.read(die)) * u64::from(quick.scale);
        let bit_size = quick.bits.read(die);
        if in_union && bits as u32 != 0 || bit_size > 255 {
            break;
        }
        let Some(name) = quick.name(die, texts) else { break };
        members.push(Member::new(name, quick.ty(die, within), bits, bit_size as u8));
        taken += 1;
        at.advance(quick.size);
    }
    *cursor = at;
    taken
}

impl Walk<'_, '_> {
    /// Takes DIEs of a unit that can be read quickly, until one comes that cannot, or as many are
    /// open as before; `within` is where the unit begins in its group.
    #[inline]
    pub(super) fn quick(
        &mut self,
        quicks: &[Quick; CODES],
        within: u64,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) {
        while let Some((quick, die)) = next(quicks, cursor) {
            if let (What::Member, Some(Open::Composite { count, head, .. })) =
                (quick.what, self.stack.last_mut())
            {
                let in_union = head.kind == Kind::Union;
                let texts = self.out.texts;
                let taken = members(quicks, within, cursor, texts, in_union, &mut self.members);
                if taken == 0 {
                    return;
                }
                *count += taken;
                continue;
            }
            let offset = (cursor.position() - self.out.start) as u32;
            if !self.quick_one(within, offset, quick, die) {
                return;
            }
            cursor.advance(quick.size);
            if self.stack.len() == depth {
                return;
            }
        }
    }

    /// Takes one, where it stands in a place for such; tells whether. What is wrong with it will be
    /// said where it is read again at leisure.
    #[inline]
    fn quick_one(&mut self, within: u64, offset: u32, q: &Quick, die: &[u8; WINDOW]) -> bool {
        let Some(parent) = self.stack.last_mut() else { return false };
        let texts = self.out.texts;
        let (name, ty) = (|| q.name(die, texts), || q.ty(die, within));
        match (q.what, parent) {
            (What::Enumerator, Open::Enum { .. }) => {
                let Some(name) = name() else { return false };
                self.values.push((name, q.number.read(die).into()));
            }
            (What::Parameter, Open::Proto { .. }) => {
                let Some(name) = name() else { return false };
                self.params.push((name, ty()));
            }
            (
                _,
                Open::Skip
                | Open::Enum { .. }
                | Open::Array { .. }
                | Open::Tagged(_)
                | Open::Pointer { .. }
                | Open::Typedef { .. },
            ) => return false,
            (What::Typedef, _) => {
                let Some(name) = name() else { return false };
                let at = self.out.place(offset);
                self.out.refer(at, Kind::Typedef, name, ty());
            }
            (What::Pointer | What::Const | What::Volatile | What::Restrict, _) => {
                let kind = match q.what {
                    What::Pointer => Kind::Ptr,
                    What::Const => Kind::Const,
                    What::Volatile => Kind::Volatile,
                    _ => Kind::Restrict,
                };
                let at = self.out.place(offset);
                self.out.reference(at, kind, ty());
            }
            _ => return false,
        }
        true
    }
}
