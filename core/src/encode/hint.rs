//! What the user can do about an encode that failed.

use super::EncodeError;
use crate::dwarf::DwarfError;
use crate::elf::btf_ids::IdsError;

impl EncodeError {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            EncodeError::Elf(error) | EncodeError::Ids(IdsError::Elf(error)) => error.hint(),
            EncodeError::Dwarf(DwarfError::Missing) => {
                Some("build with CONFIG_DEBUG_INFO=y (or -g), and encode before strip")
            }
            EncodeError::Dwarf(DwarfError::Split) => {
                Some("build without CONFIG_DEBUG_INFO_SPLIT (-gsplit-dwarf)")
            }
            EncodeError::Dwarf(DwarfError::TypeUnits) => {
                Some("build without -fdebug-types-section")
            }
            EncodeError::Dwarf(DwarfError::Supplementary) => Some("encode before dwz"),
            EncodeError::Ids(IdsError::Malformed(_)) => Some("link it again"),
            EncodeError::Ids(IdsError::Lost { .. }) => {
                Some("link it again, or give the base that its BTF was made with")
            }
            EncodeError::NoSymbols => Some("encode before strip"),
            _ => None,
        }
    }
}
