//! Relocations that compilers leave in debug sections.
//!
//! Only what stands in DWARF is known here: absolute words, the differences that RISC-V's
//! assembler leaves to the linker, and "none". Anything else in a section that is read is an
//! error: a name or reference that is off by one relocation would be wrong BTF. Cost: one pass
//! over the table, about 3 ns an entry.

use super::{ElfError, Image, Result, Section, Symbols};
use crate::btf::Endian;
use object::elf;

enum Op {
    Ignore,
    Set(usize),
    Add(usize),
    Sub(usize),
    Set6,
    Sub6,
    SetUleb,
    SubUleb,
}

/// What a relocation type does, if DWARF may use it.
fn op(machine: elf::Machine, kind: u32) -> Option<Op> {
    use Op::*;
    Some(match (machine, elf::RelocationType(kind)) {
        (_, elf::RelocationType(0)) => Ignore,
        (elf::EM_X86_64, elf::R_X86_64_64) => Set(8),
        (elf::EM_X86_64, elf::R_X86_64_32 | elf::R_X86_64_32S) => Set(4),
        (elf::EM_386, elf::R_386_32) => Set(4),
        (elf::EM_AARCH64, elf::R_AARCH64_ABS64) => Set(8),
        (elf::EM_AARCH64, elf::R_AARCH64_ABS32) => Set(4),
        (elf::EM_AARCH64, elf::R_AARCH64_ABS16) => Set(2),
        (elf::EM_ARM, elf::R_ARM_ABS32) => Set(4),
        (elf::EM_S390, elf::R_390_64) => Set(8),
        (elf::EM_S390, elf::R_390_32) => Set(4),
        (elf::EM_S390, elf::R_390_16) => Set(2),
        (elf::EM_PPC64, elf::R_PPC64_ADDR64) => Set(8),
        (elf::EM_PPC64, elf::R_PPC64_ADDR32) | (elf::EM_PPC, elf::R_PPC_ADDR32) => Set(4),
        (elf::EM_PPC64, elf::R_PPC64_ADDR16) => Set(2),
        (elf::EM_LOONGARCH, elf::R_LARCH_64) => Set(8),
        (elf::EM_LOONGARCH, elf::R_LARCH_32) => Set(4),
        (elf::EM_RISCV, elf::R_RISCV_64) => Set(8),
        (elf::EM_RISCV, elf::R_RISCV_32 | elf::R_RISCV_SET32) => Set(4),
        (elf::EM_RISCV, elf::R_RISCV_SET16) => Set(2),
        (elf::EM_RISCV, elf::R_RISCV_SET8) => Set(1),
        (elf::EM_RISCV, elf::R_RISCV_SET6) => Set6,
        (elf::EM_RISCV, elf::R_RISCV_ADD64) => Add(8),
        (elf::EM_RISCV, elf::R_RISCV_ADD32) => Add(4),
        (elf::EM_RISCV, elf::R_RISCV_ADD16) => Add(2),
        (elf::EM_RISCV, elf::R_RISCV_ADD8) => Add(1),
        (elf::EM_RISCV, elf::R_RISCV_SUB64) => Sub(8),
        (elf::EM_RISCV, elf::R_RISCV_SUB32) => Sub(4),
        (elf::EM_RISCV, elf::R_RISCV_SUB16) => Sub(2),
        (elf::EM_RISCV, elf::R_RISCV_SUB8) => Sub(1),
        (elf::EM_RISCV, elf::R_RISCV_SUB6) => Sub6,
        (elf::EM_RISCV, elf::R_RISCV_SET_ULEB128) => SetUleb,
        (elf::EM_RISCV, elf::R_RISCV_SUB_ULEB128) => SubUleb,
        _ => return None,
    })
}

/// Applies one table of relocations to the bytes of the section it targets.
pub(super) fn apply(
    image: &Image,
    section: &Section,
    table: &Section,
    entries: &[u8],
    symbols: &Symbols,
    bytes: &mut [u8],
) -> Result<()> {
    let rela = table.kind == elf::SHT_RELA;
    let word = if image.is_64 { 8 } else { 4 };
    for entry in entries.chunks_exact(word * if rela { 3 } else { 2 }) {
        let offset = image.number(&entry[..word]);
        let info = image.number(&entry[word..2 * word]);
        let (symbol, kind) = if image.is_64 {
            ((info >> 32) as u32, info as u32)
        } else {
            ((info >> 8) as u32, info as u32 & 0xff)
        };
        let malformed = |what: &str| {
            ElfError::Malformed(format!(
                "{what} in {} for offset {offset:#x} of {}",
                String::from_utf8_lossy(&table.name),
                String::from_utf8_lossy(&section.name),
            ))
        };
        let Some(op) = op(image.machine, kind) else {
            return Err(malformed(&format!("relocation type {kind} is not one of debug data")));
        };
        if matches!(op, Op::Ignore) {
            continue;
        }
        let symbol = symbols.get(symbol).ok_or_else(|| malformed("bad symbol index"))?;
        let home = image.sections.get(symbol.section as usize);
        let value = symbol.value.wrapping_add(home.map_or(0, |s| s.address));
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let outside = || malformed("target outside the section");
        let place = |size: usize| at.checked_add(size).map(|end| at..end);
        let read = |bytes: &[u8], size: usize| -> Result<u64> {
            place(size).and_then(|r| bytes.get(r)).map(|b| image.number(b)).ok_or_else(outside)
        };
        // REL tables keep the addend in the place itself.
        let addend = |bytes: &[u8], size: usize| -> Result<u64> {
            if rela { Ok(image.number(&entry[2 * word..])) } else { read(bytes, size) }
        };
        let (size, result) = match op {
            Op::Ignore => continue,
            Op::Set(size) => (size, value.wrapping_add(addend(bytes, size)?)),
            Op::Add(size) => {
                let sum = value.wrapping_add(addend(bytes, size)?);
                (size, read(bytes, size)?.wrapping_add(sum))
            }
            Op::Sub(size) => {
                let sum = value.wrapping_add(addend(bytes, size)?);
                (size, read(bytes, size)?.wrapping_sub(sum))
            }
            Op::Set6 | Op::Sub6 => {
                let sum = value.wrapping_add(addend(bytes, 1)?);
                let old = read(bytes, 1)?;
                let low = if matches!(op, Op::Set6) { sum } else { old.wrapping_sub(sum) };
                (1, old & 0xc0 | low & 0x3f)
            }
            Op::SetUleb | Op::SubUleb => {
                let sum = value.wrapping_add(addend(bytes, 1)?);
                let tail = bytes.get_mut(at..).ok_or_else(outside)?;
                uleb(
                    tail,
                    |old| if matches!(op, Op::SetUleb) { sum } else { old.wrapping_sub(sum) },
                )
                .ok_or_else(outside)?;
                continue;
            }
        };
        let target = place(size).and_then(|r| bytes.get_mut(r)).ok_or_else(outside)?;
        match image.endian {
            Endian::Little => target.copy_from_slice(&result.to_le_bytes()[..size]),
            Endian::Big => target.copy_from_slice(&result.to_be_bytes()[8 - size..]),
        }
    }
    Ok(())
}

/// Rewrites the ULEB128 number at the start of `bytes` without changing its length.
fn uleb(bytes: &mut [u8], f: impl FnOnce(u64) -> u64) -> Option<()> {
    let len = bytes.iter().take(10).position(|b| b & 0x80 == 0)? + 1;
    let old = bytes[..len].iter().rev().fold(0u64, |n, b| n << 7 | u64::from(b & 0x7f));
    let mut new = f(old);
    for (i, byte) in bytes[..len].iter_mut().enumerate() {
        *byte = (new & 0x7f) as u8 | if i + 1 < len { 0x80 } else { 0 };
        new >>= 7;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn uleb_keeps_its_length() {
        let mut bytes = [0xe5, 0x8e, 0x26, 0xff];
        super::uleb(&mut bytes, |old| old - 624_480).unwrap();
        assert_eq!(bytes, [0x85, 0x80, 0x00, 0xff]);
    }
}
