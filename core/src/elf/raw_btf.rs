//! The BTF that a file carries: of an ELF file its `.BTF`, of any other its bytes.

use super::{ElfError, Image, open_regular};
use object::elf;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use thiserror::Error;

/// Why a file has no BTF to give.
#[derive(Debug, Error)]
pub enum NoBtf {
    /// It cannot be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// An ELF file without the section.
    #[error("it has no .BTF section")]
    Absent,
    /// `SHT_NOBITS`.
    #[error("its .BTF section has no bytes (a file of debug data only)")]
    NoBits,
}

impl NoBtf {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            NoBtf::Elf(error) => error.hint(),
            NoBtf::Absent => {
                Some("a vmlinux has one when it is built with CONFIG_DEBUG_INFO_BTF=y")
            }
            NoBtf::NoBits => Some("take the vmlinux of the build tree, or /sys/kernel/btf/vmlinux"),
        }
    }
}

/// The BTF of an ELF file with a `.BTF` section or of a raw file, and `.BTF.base` where there is one.
pub fn raw_btf(path: &Path) -> Result<(Vec<u8>, Option<Vec<u8>>), NoBtf> {
    let read = |source| ElfError::Io { what: "cannot read".into(), source };
    let mut file = open_regular(path)?;
    let mut magic = [0; 4];
    let got = file.read_at(&mut magic, 0).map_err(read)?;
    if magic[..got] != elf::ELFMAG {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(read)?;
        return Ok((bytes, None));
    }
    let image = Image::open(file)?;
    let section = image.section(b".BTF").ok_or(NoBtf::Absent)?;
    if section.kind == elf::SHT_NOBITS {
        return Err(NoBtf::NoBits);
    }
    let below = image.section(b".BTF.base").map(|s| image.read(s)).transpose()?;
    Ok((image.read(section)?, below))
}
