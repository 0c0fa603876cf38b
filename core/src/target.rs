//! What an encode must know of the machine that a file is for.

use crate::btf::Endian;
use crate::elf::Image;
use object::elf;

/// What an architecture's DWARF needs to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Byte order.
    pub endian: Endian,
    /// Bytes of a pointer.
    pub pointer_size: u8,
    /// How many parameters travel in registers.
    pub register_params: u32,
    /// Their `DW_OP_reg*`, where it is known.
    registers: &'static [u8],
}

impl Target {
    /// No machine: for what does not depend on it.
    pub const NONE: Target =
        Target { endian: Endian::Little, pointer_size: 8, register_params: 0, registers: &[] };

    /// The target of a file. Registers as in the calling conventions that pahole checks.
    pub fn of(image: &Image) -> Target {
        let (register_params, registers): (u32, &'static [u8]) = match image.machine {
            elf::EM_X86_64 => (6, &[0x55, 0x54, 0x51, 0x52, 0x58, 0x59]),
            elf::EM_S390 => (5, &[0x52, 0x53, 0x54, 0x55, 0x56]),
            elf::EM_ARM | elf::EM_AARCH64 => (8, &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57]),
            elf::EM_SPARC | elf::EM_SPARCV9 => (6, &[]),
            elf::EM_ARC | elf::EM_MIPS | elf::EM_PPC | elf::EM_PPC64 | elf::EM_RISCV => (8, &[]),
            _ => (0, &[]),
        };
        Target {
            endian: image.endian,
            pointer_size: if image.is_64 { 8 } else { 4 },
            register_params,
            registers,
        }
    }

    /// The register in which the parameter at this position is expected.
    pub fn register(&self, position: u32) -> Option<u8> {
        self.registers.get(position as usize).copied()
    }
}
