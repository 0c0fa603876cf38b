//! The short way: DIEs whose values all stand in places of their own.
//!
//! Three of four DIEs that matter are members, enumerators, parameters of prototypes, pointers,
//! qualifiers and typedefs, have no children, and say what they say in numbers of fixed size. They are
//! read from one window of bytes, without looking for anything. Whatever is unusual about one of
//! them is left to the long way ([`super::walk`]), which reads it again; so there is nothing that only
//! the short way knows, and no error here.

use super::abbreviations::{Field, Spot, Spots, Way, What};
use super::attributes::within_group;
use super::cu::Text;
use super::emit::Member;
use super::walk::{Open, Walk};
use crate::btf::kind::Kind;

/// How a DIE is read that has no children, is short, and of which each value that matters is a
/// number of up to four bytes in a place of its own: three of four types and members.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quick {
    /// Bytes behind the code.
    pub size: u8,
    /// An offset in `.debug_str`.
    pub name: Number,
    /// A reference within the unit.
    pub ty: Number,
    /// Bits or bytes of a member's place, or the value of an enumerator.
    pub number: Number,
    /// How many bits of a place one of these is.
    pub scale: u8,
    /// How many bits a member has.
    pub bits: Number,
}

/// A number in a [`Quick`] DIE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    /// The bits of it, as many as its bytes have; none where it is not there.
    mask: u32,
    at: u8,
}

/// How many bytes of a DIE are looked at.
pub(super) const WINDOW: usize = 40;

/// What is quick is shorter than this.
const SHORT: usize = 32;

impl Number {
    fn at(spot: Spot) -> Option<Number> {
        let mask = u32::MAX.checked_shr(32 - 8 * u32::from(spot.size))?;
        Some(Number { mask, at: spot.at as u8 })
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
    /// How DIEs are read of which `size` and `spots` are known; `None` where not quickly.
    pub fn of(what: What, size: Option<u32>, spots: &Spots) -> Option<Quick> {
        let size = u8::try_from(size?).ok().filter(|&size| usize::from(size) < SHORT)?;
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
        let quick = Quick { size, ..Quick::default() };
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

impl Walk<'_, '_> {
    /// Takes a DIE that can be read quickly, where it stands in a place for such; tells whether.
    /// What is wrong with it will be said where it is read again at leisure.
    #[inline]
    pub(super) fn quick(
        &mut self,
        within: u64,
        offset: u32,
        what: What,
        q: &Quick,
        die: &[u8; WINDOW],
    ) -> bool {
        let Some(parent) = self.stack.last_mut() else { return false };
        let texts = self.out.texts;
        let name = || match q.name.is_given() {
            false => Some(Text::default()),
            true => texts.in_str(q.name.read(die).into()),
        };
        let ty = || match q.ty.is_given() {
            false => 0,
            true => within_group(within + u64::from(q.ty.read(die))),
        };
        match (what, parent) {
            (What::Member, Open::Composite { count, head, .. }) => {
                let bits = u64::from(q.number.read(die)) * u64::from(q.scale);
                let bit_size = q.bits.read(die);
                if head.kind == Kind::Union && bits as u32 != 0 || bit_size > 255 {
                    return false;
                }
                let Some(name) = name() else { return false };
                *count += 1;
                self.members.push(Member::new(name, ty(), bits, bit_size as u8));
            }
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
                let kind = match what {
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
