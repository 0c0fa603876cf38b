//! ELF files as the encoder needs them: sections by name, symbols, relocated debug data.
//!
//! An [`Image`] is an open file and its section table; the bytes of a section are read when asked
//! for, with `pread` into a buffer of our own. A mapped file would kill the process when a linker
//! truncates it under us. Nothing is trusted: every range is checked against the size of the file,
//! so memory stays within a few times of it (compressed sections: their declared size, bounded).

pub mod btf_ids;
mod fixups;
pub mod install;
mod raw_btf;
mod relocate;
mod section;
mod symbols;

pub use fixups::{Fixup, Fixups, Word};
pub use raw_btf::{NoBtf, raw_btf};
pub use section::{Image, Section, open_regular};
pub use symbols::{Symbol, Symbols};

use thiserror::Error;

/// Why an ELF file cannot be read.
#[derive(Debug, Error)]
pub enum ElfError {
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// It does not start like an ELF file.
    #[error("not an ELF file: {0}")]
    NotElf(String),
    /// A header, section or string reaches outside the file.
    #[error("truncated ELF file: {what} at offset {offset:#x} ends behind the end of the file")]
    Truncated {
        /// Which part.
        what: String,
        /// Where it starts, from the start of the file.
        offset: u64,
    },
    /// Something in it contradicts the format.
    #[error("malformed ELF file: {0}")]
    Malformed(String),
    /// It is correct, and not served.
    #[error("{0}")]
    Unsupported(String),
}

impl ElfError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ElfError::Truncated { .. } => Some("link it again; it was cut short"),
            _ => None,
        }
    }
}

/// Result of reading an ELF file.
pub type Result<T> = std::result::Result<T, ElfError>;
