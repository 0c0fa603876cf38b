//! What one CU (or one group of CUs) declares.

use super::Result;
use super::again::Again;
use crate::btf::Types;
use crate::btf::strings;

/// A string of the file by where it begins, a number of [`Texts`]; 0 for none.
///
/// Most names of a module are met hundreds of times, and linkers keep one copy of each: where a
/// string begins tells it from others without a look at it, which would mostly be a cache miss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub u32);

impl Text {
    /// Whether there is no string at all; an empty one is one.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The sections with strings, laid end to end, and the names that we give ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'d> {
    str: &'d [u8],
    line_str: &'d [u8],
    info: &'d [u8],
    /// Some of them may be very long.
    long: bool,
}

/// Longer names are refused. (Definitions of macros stand among them, and may be long.)
const MAX_NAME: usize = 64 << 10;

fn is_bounded(tail: &[u8]) -> bool {
    memchr::memchr(0, &tail[..tail.len().min(MAX_NAME)]).is_some()
}

/// Names that stand in no file.
const OURS: &[u8] = b"__SANITIZED_FAKE_INT__\0real\0imag\0_Float16\0float\0double\0long double\0";

impl<'d> Texts<'d> {
    /// `None` where they are too large to be numbered.
    pub(super) fn new(
        str: &'d [u8],
        line_str: &'d [u8],
        info: &'d [u8],
        long: bool,
    ) -> Option<Texts<'d>> {
        let all = str.len().checked_add(line_str.len())?.checked_add(info.len())?;
        (all < u32::MAX as usize - OURS.len()).then_some(Texts { str, line_str, info, long })
    }

    /// Numbers below this are met again and again.
    pub fn shared(self) -> usize {
        1 + self.str.len() + self.line_str.len()
    }

    /// Whether a name of the section begins here.
    #[inline]
    fn fits(self, section: &[u8], offset: u64) -> bool {
        offset < section.len() as u64 && (!self.long || is_bounded(&section[offset as usize..]))
    }

    /// The string at an offset of `.debug_str`.
    #[inline]
    pub(super) fn in_str(self, offset: u64) -> Option<Text> {
        self.fits(self.str, offset).then(|| Text(1 + offset as u32))
    }

    /// The same with the bytes from there on, where none is very long.
    #[inline(always)]
    pub(super) fn in_str_with(self, offset: u32) -> Option<(Text, &'d [u8])> {
        let at = offset as usize;
        if at >= self.str.len() {
            return None;
        }
        Some((Text(1 + offset), &self.str[at..]))
    }

    /// Whether some may be very long.
    pub(super) fn has_long(self) -> bool {
        self.long
    }

    /// The string at an offset of `.debug_line_str`.
    pub(super) fn in_line_str(self, offset: u64) -> Option<Text> {
        let number = 1 + self.str.len() as u32;
        self.fits(self.line_str, offset).then(|| Text(number + offset as u32))
    }

    /// The string at an offset of `.debug_info`.
    pub(super) fn in_info(self, offset: u64) -> Option<Text> {
        let number = self.shared() as u32;
        (offset < self.info.len() as u64).then(|| Text(number + offset as u32))
    }

    /// One of our own names; none where there is no such.
    pub(super) fn ours(self, name: &[u8]) -> Text {
        let found = OURS
            .windows(name.len() + 1)
            .position(|w| w.split_last().is_some_and(|(&last, text)| last == 0 && text == name));
        let number = self.shared() + self.info.len();
        found.map_or(Text::default(), |at| Text((number + at) as u32))
    }

    /// The bytes of the string with this number; nothing for 0.
    #[inline]
    pub fn get(self, number: u32) -> &'d [u8] {
        strings::at(self.tail(number), 0)
    }

    /// The bytes from where the string with this number begins; it ends with the first NUL.
    #[inline]
    pub fn tail(self, number: u32) -> &'d [u8] {
        let Some(mut at) = (number as usize).checked_sub(1) else { return b"" };
        for section in [self.str, self.line_str, self.info] {
            if at < section.len() {
                return &section[at..];
            }
            at -= section.len();
        }
        OURS.get(at..).unwrap_or_default()
    }
}

/// The types, functions and variables of a group of CUs.
///
/// Names are numbers in `texts`, type ids count from 1 in this group, 0 is void.
#[derive(Debug, Default)]
pub struct Cu<'d> {
    /// What names are numbers of.
    pub texts: Texts<'d>,
    /// The types in DIE completion order: children before their parent.
    pub types: Written<'d>,
    /// The first base type named `int`, 0 for none.
    pub int: u32,
    /// Whether any ARRAY needs an index type.
    pub has_arrays: bool,
    /// Declaration tags on structs, unions and typedefs.
    pub tags: Vec<DeclTag>,
    /// Functions that are defined here and known to the symbol table.
    pub functions: Vec<Function>,
    /// Variables with a static address.
    pub variables: Vec<Variable>,
    /// What location lists told of parameters.
    pub lists: Vec<Listed>,
    /// References that lead nowhere, taken as void.
    pub lost_references: usize,
    /// What BTF has no kind for.
    pub substitutes: Vec<Substitute<'d>>,
}

/// The types of a group of CUs.
#[derive(Debug)]
pub enum Written<'d> {
    /// All written down.
    Down(Types),
    /// Each is read again when it is asked for.
    Again(Again<'d>),
}

impl Default for Written<'_> {
    fn default() -> Self {
        Written::Down(Types::new())
    }
}

impl Written<'_> {
    /// Number of types.
    pub fn len(&self) -> usize {
        match self {
            Written::Down(types) => types.len(),
            Written::Again(again) => again.len(),
        }
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the type at `index` into `words`, which are emptied first; `links` is what it
    /// refers to, where it was sketched.
    pub fn write(&mut self, index: usize, links: &[u32], words: &mut Vec<u32>) -> Result<()> {
        words.clear();
        match self {
            Written::Down(types) => words.extend_from_slice(types.get(index).0),
            Written::Again(again) => {
                if let Some(all) = again.write(index, links, words)? {
                    *self = all;
                }
            }
        }
        Ok(())
    }
}

/// Something that BTF has no kind for, encoded as the nearest that it has. Empty names are of
/// what has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitute<'d> {
    /// A complex type, as a struct of its parts.
    Complex(&'d [u8]),
    /// A member of an `_Atomic` type, as one of the type without it.
    AtomicMember {
        /// Name of the struct or union.
        owner: &'d [u8],
        /// Name of the member.
        member: &'d [u8],
    },
    /// An `_Atomic` type that is not the type of a member, as the type with this name.
    Atomic(&'d [u8]),
}

/// A declaration tag.
#[derive(Clone, Debug)]
pub struct DeclTag {
    /// Its text, a name number.
    pub value: u32,
    /// The type it stands on; unused for functions and variables.
    pub target: u32,
    /// Member or parameter, -1 for the whole.
    pub component: i32,
}

/// A function's prototype as one DIE tells it.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name number.
    pub name: u32,
    /// Index in the table of ELF functions.
    pub symbol: u32,
    /// Return type.
    pub ret: u32,
    /// Parameters; a variadic function ends with an unnamed one of type 0.
    pub params: Vec<Param>,
    /// A parameter lives in another register than the calling convention says.
    pub unexpected_reg: bool,
    /// A packed struct is passed on the stack, at a place that cannot be told.
    pub uncertain_location: bool,
    /// Tags on the function and its parameters.
    pub tags: Vec<DeclTag>,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name number.
    pub name: u32,
    /// Type.
    pub ty: u32,
}

/// A variable at CU level with a static address.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Offset of its DIE in the group.
    pub die: u32,
    /// Name number.
    pub name: u32,
    /// Type.
    pub ty: u32,
    /// Visible outside its CU.
    pub external: bool,
    /// Address, in the layout of [`crate::elf::Section::address`].
    pub address: u64,
    /// Size in bytes.
    pub size: u64,
    /// Texts of its declaration tags, name numbers.
    pub tags: Vec<u32>,
}

/// What a location list told of a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Offset of the parameter's DIE in the group.
    pub die: u32,
    /// The register that it should be in, a `DW_OP_reg*`.
    pub expected: u8,
    /// It is in another one.
    pub unexpected: bool,
}
