//! DWARF to types: what each compilation unit (CU) declares, in pahole's order.
//!
//! [`Debug`] holds the debug sections of one file, relocated. [`Debug::groups`] says which units
//! are read together: each alone, or all at once where link-time optimization lets them refer to
//! each other. [`read()`] turns one group into a [`Cu`]: types with ids of their own, functions that
//! the symbol table knows, variables with an address. [`sketch()`] does so without writing the types
//! down, as far as telling them apart needs them. A group is read in one pass over its DIEs and
//! knows nothing of any other, so groups are read in parallel and appended in DWARF order.
//!
//! The rules are those of pahole 1.31; where a rule looks odd, it is one that its users' tools have
//! come to rely on.

mod abbreviations;
mod again;
mod annotations;
mod attributes;
mod body;
mod bytes;
mod cu;
mod emit;
mod entries;
mod fingerprint;
mod layout;
mod offsets;
mod quick;
mod read;
mod resolve;
mod tables;
mod told;
mod unit;
mod walk;
mod whole;

pub use again::Again;
pub use cu::{Cu, DeclTag, Function, Listed, Param, Substitute, Texts, Variable, Written};
pub use entries::{Entry, Value};
pub use fingerprint::Fingerprint;
pub use read::{read, sketch};
pub use told::Told;
pub use unit::{Debug, Group, LoadError, language};

use thiserror::Error;

/// Why DWARF cannot be turned into types.
#[derive(Debug, Error)]
pub enum DwarfError {
    /// There is none.
    #[error("it has no DWARF (no .debug_info section)")]
    Missing,
    /// It is split off into `.dwo` files.
    #[error("its DWARF is split off into .dwo files")]
    Split,
    /// Types stand in units of their own, which others reach by signature.
    #[error("its types stand in type units (-fdebug-types-section), which are not read")]
    TypeUnits,
    /// Parts of it stand in a file that several share.
    #[error("parts of its DWARF were moved to a supplementary file (dwz -m), which is not read")]
    Supplementary,
    /// gimli cannot read it.
    #[error("malformed DWARF in the unit at offset {unit:#x} of .debug_info: {source}")]
    Malformed {
        /// Offset of the unit in `.debug_info`.
        unit: usize,
        /// gimli's word.
        source: gimli::Error,
    },
    /// It contradicts itself, or BTF cannot express it.
    #[error("DIE at offset {die:#x} of .debug_info{cu}: {what}")]
    Die {
        /// Offset of the DIE in `.debug_info`.
        die: usize,
        /// The CU it stands in, as ` (CU NAME)`; empty where it has no name.
        cu: String,
        /// What was found, and what was expected.
        what: String,
    },
}

impl DwarfError {
    fn die(die: usize, what: impl Into<String>) -> DwarfError {
        DwarfError::Die { die, cu: String::new(), what: what.into() }
    }
}

/// Tells the number of a function that the symbol table has, by its name.
pub type Known<'a> = &'a (dyn Fn(&[u8]) -> Option<u32> + Sync);

/// Result of reading DWARF.
pub type Result<T> = std::result::Result<T, DwarfError>;
