//! What one CU (or one group of CUs) declares.

use crate::btf::Types;
use crate::btf::strings::hash;
use hashbrown::HashTable;

/// In an ARRAY, the index type: "the int of this file", known only when CUs are appended.
pub const FILE_INT: u32 = u32::MAX;

/// Names in order of first use. Number 0 is "no name"; the first name has number 1.
#[derive(Debug, Default)]
pub struct Names<'d> {
    table: HashTable<u32>,
    /// With their hashes, which whoever interns them next needs again.
    list: Vec<(&'d [u8], u64)>,
}

impl<'d> Names<'d> {
    /// Room for about `names` names.
    pub fn with_capacity(names: usize) -> Names<'d> {
        Names { table: HashTable::with_capacity(names), list: Vec::with_capacity(names) }
    }

    /// The number of a name; the empty name is none.
    pub fn intern(&mut self, text: &'d [u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let (list, hash) = (&mut self.list, hash(text));
        let same = |&n: &u32| list[n as usize - 1].1 == hash && list[n as usize - 1].0 == text;
        match self.table.entry(hash, same, |&n| list[n as usize - 1].1) {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = list.len() as u32 + 1;
                entry.insert(number);
                list.push((text, hash));
                number
            }
        }
    }

    /// The names, number 1 first, each with its hash.
    pub fn list(&self) -> &[(&'d [u8], u64)] {
        &self.list
    }

    /// The name with this number, empty for 0.
    pub fn get(&self, number: u32) -> &'d [u8] {
        if number == 0 { b"" } else { self.list[number as usize - 1].0 }
    }
}

/// The types, functions and variables of a group of CUs.
///
/// Names are numbers in `names`, type ids count from 1 in this group, 0 is void.
#[derive(Debug, Default)]
pub struct Cu<'d> {
    /// Every name that something here uses, in order of first use.
    pub names: Names<'d>,
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
