//! What one CU (or one group of CUs) declares.

use crate::btf::Types;
use crate::btf::strings;
use hashbrown::HashTable;

/// In an ARRAY, the index type: "the int of this file", known only when CUs are appended.
pub const FILE_INT: u32 = u32::MAX;

/// A string of the file, from its start on; where it ends is looked up when its bytes are wanted.
///
/// Most names of a module are met hundreds of times, and linkers keep one copy of each: where a
/// string stands tells it from others without a look at it, which would mostly be a cache miss.
/// Strings that stand in two places are told to be the same when they are interned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text<'d>(&'d [u8]);

impl<'d> Text<'d> {
    /// The string that begins with `tail` and ends with the first NUL in it.
    pub fn new(tail: &'d [u8]) -> Text<'d> {
        Text(tail)
    }

    /// Whether there is no string at all; an empty one is one.
    pub fn is_none(self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes.
    pub fn bytes(self) -> &'d [u8] {
        strings::at(self.0, 0)
    }

    /// Equal for equal places.
    pub fn place(self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// Names in order of first use. Number 0 is "no name"; the first name has number 1.
#[derive(Debug, Default)]
pub(super) struct Names<'d> {
    table: HashTable<u32>,
    list: Vec<Text<'d>>,
}

impl<'d> Names<'d> {
    /// Room for about `names` names.
    pub fn with_capacity(names: usize) -> Names<'d> {
        Names { table: HashTable::with_capacity(names), list: Vec::with_capacity(names) }
    }

    /// The number of a name.
    pub fn intern(&mut self, text: Text<'d>) -> u32 {
        if text.is_none() {
            return 0;
        }
        let list = &mut self.list;
        let place = |n: u32| list[n as usize - 1].place();
        let same = |&n: &u32| place(n) == text.place();
        match self.table.entry(spread(text.place()), same, |&n| spread(place(n))) {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = list.len() as u32 + 1;
                entry.insert(number);
                list.push(text);
                number
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The names, number 1 first, with their hashes. Here their bytes are read, one after the
    /// other, so that the waits for memory overlap.
    pub fn strings(&self) -> Vec<(&'d [u8], u64)> {
        let bytes = self.list.iter().map(|text| text.bytes());
        bytes.map(|text| (text, strings::hash(text))).collect()
    }

    /// The name with this number, empty for 0.
    pub fn get(&self, number: u32) -> &'d [u8] {
        if number == 0 { b"" } else { self.list[number as usize - 1].bytes() }
    }
}

/// A hash of a place: neighbours far apart, high bits used.
#[inline]
fn spread(place: usize) -> u64 {
    let product = u128::from(place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (product >> 64) as u64 ^ product as u64
}

/// The types, functions and variables of a group of CUs.
///
/// Names are numbers in `names`, type ids count from 1 in this group, 0 is void.
#[derive(Debug, Default)]
pub struct Cu<'d> {
    /// The names while they are gathered.
    pub(super) names: Names<'d>,
    /// Every name that something here uses, in order of first use, with its hash: number 1 is the
    /// first.
    pub strings: Vec<(&'d [u8], u64)>,
    /// How many of them the types use; the rest belongs to tags and functions.
    pub type_names: usize,
    /// The types in DIE completion order: children before their parent.
    pub types: Types,
    /// The first base type named `int`, 0 for none.
    pub int: u32,
    /// Whether any ARRAY needs an index type.
    pub has_arrays: bool,
    /// Declaration tags on structs, unions and typedefs.
    pub tags: Vec<DeclTag>,
    /// Functions that are defined here and known to the symbol table.
    pub functions: Vec<Function>,
    /// Variables with a static address.
    pub variables: Vec<Variable<'d>>,
    /// References that lead nowhere, taken as void.
    pub lost_references: usize,
    /// What BTF has no kind for.
    pub substitutes: Vec<Substitute<'d>>,
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
pub struct Variable<'d> {
    /// Name.
    pub name: &'d [u8],
    /// Type.
    pub ty: u32,
    /// Visible outside its CU.
    pub external: bool,
    /// Address, in the layout of [`crate::elf::Section::address`].
    pub address: u64,
    /// Size in bytes.
    pub size: u64,
    /// Texts of its declaration tags.
    pub tags: Vec<&'d [u8]>,
}
