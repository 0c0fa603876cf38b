//! Relocations that compilers leave in debug sections.
//!
//! Only what stands in DWARF is known here: absolute words, the differences that the assemblers of
//! RISC-V and LoongArch leave to the linker, and "none". Words that tell where a thread's own
//! variables lie stay as they are: BTF has no use for them. Anything else in a section that is read
//! is an error: a name or reference that is off by one relocation would be wrong BTF. Cost: one
//! pass over the table, about 3 ns an entry.

use super::fixups::{Fixups, Word};
use super::{ElfError, Image, Result, Section, Symbols};
use crate::btf::Endian;
use object::elf;

enum Op {
    Ignore,
    Set(usize),
    Add(usize),
    Sub(usize),
    Set6,
    Add6,
    Sub6,
    SetUleb,
    AddUleb,
    SubUleb,
}

/// What a relocation type does, if DWARF may use it.
fn op(machine: elf::Machine, kind: u32) -> Option<Op> {
    use Op::*;
    Some(match (machine, elf::RelocationType(kind)) {
        (_, elf::RelocationType(0)) => Ignore,
        (elf::EM_X86_64, elf::R_X86_64_64) => Set(8),
        (elf::EM_X86_64, elf::R_X86_64_32 | elf::R_X86_64_32S) => Set(4),
        (elf::EM_X86_64, elf::R_X86_64_DTPOFF32 | elf::R_X86_64_DTPOFF64) => Ignore,
        (elf::EM_386, elf::R_386_32) => Set(4),
        (elf::EM_386, elf::R_386_TLS_LDO_32) => Ignore,
        (elf::EM_AARCH64, elf::R_AARCH64_ABS64) => Set(8),
        (elf::EM_AARCH64, elf::R_AARCH64_ABS32) => Set(4),
        (elf::EM_AARCH64, elf::R_AARCH64_ABS16) => Set(2),
        (elf::EM_AARCH64, elf::R_AARCH64_TLS_DTPREL) => Ignore,
        (elf::EM_ARM, elf::R_ARM_ABS32) => Set(4),
        (elf::EM_ARM, elf::R_ARM_TLS_LDO32) => Ignore,
        (elf::EM_S390, elf::R_390_64) => Set(8),
        (elf::EM_S390, elf::R_390_32) => Set(4),
        (elf::EM_S390, elf::R_390_16) => Set(2),
        (elf::EM_S390, elf::R_390_TLS_LDO32 | elf::R_390_TLS_LDO64) => Ignore,
        (elf::EM_PPC64, elf::R_PPC64_ADDR64 | elf::R_PPC64_UADDR64) => Set(8),
        (elf::EM_PPC64, elf::R_PPC64_ADDR32 | elf::R_PPC64_UADDR32) => Set(4),
        (elf::EM_PPC64, elf::R_PPC64_ADDR16 | elf::R_PPC64_UADDR16) => Set(2),
        (elf::EM_PPC64, elf::R_PPC64_DTPREL64) => Ignore,
        (elf::EM_PPC, elf::R_PPC_ADDR32 | elf::R_PPC_UADDR32) => Set(4),
        (elf::EM_PPC, elf::R_PPC_DTPREL32) => Ignore,
        (elf::EM_MIPS, elf::R_MIPS_64) => Set(8),
        (elf::EM_MIPS, elf::R_MIPS_32) => Set(4),
        (elf::EM_MIPS, elf::R_MIPS_TLS_DTPREL32 | elf::R_MIPS_TLS_DTPREL64) => Ignore,
        (elf::EM_SPARCV9, elf::R_SPARC_64 | elf::R_SPARC_UA64) => Set(8),
        (elf::EM_SPARC | elf::EM_SPARCV9, elf::R_SPARC_32 | elf::R_SPARC_UA32) => Set(4),
        (elf::EM_SPARC | elf::EM_SPARCV9, elf::R_SPARC_16 | elf::R_SPARC_UA16) => Set(2),
        (elf::EM_SPARC, elf::R_SPARC_TLS_DTPOFF32) => Ignore,
        (elf::EM_SPARCV9, elf::R_SPARC_TLS_DTPOFF64) => Ignore,
        (elf::EM_68K, elf::R_68K_32) => Set(4),
        (elf::EM_PARISC, elf::R_PARISC_DIR64) => Set(8),
        (elf::EM_PARISC, elf::R_PARISC_DIR32) => Set(4),
        (elf::EM_ALPHA, elf::R_ALPHA_REFQUAD) => Set(8),
        (elf::EM_ALPHA, elf::R_ALPHA_REFLONG) => Set(4),
        (elf::EM_SH, elf::R_SH_DIR32) => Set(4),
        (elf::EM_LOONGARCH, elf::R_LARCH_64) => Set(8),
        (elf::EM_LOONGARCH, elf::R_LARCH_32) => Set(4),
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD64) => Add(8),
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD32) => Add(4),
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD16) => Add(2),
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD8) => Add(1),
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB64) => Sub(8),
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB32) => Sub(4),
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB16) => Sub(2),
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB8) => Sub(1),
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD6) => Add6,
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB6) => Sub6,
        (elf::EM_LOONGARCH, elf::R_LARCH_ADD_ULEB128) => AddUleb,
        (elf::EM_LOONGARCH, elf::R_LARCH_SUB_ULEB128) => SubUleb,
        (elf::EM_LOONGARCH, elf::R_LARCH_TLS_DTPREL32 | elf::R_LARCH_TLS_DTPREL64) => Ignore,
        (elf::EM_RISCV, elf::R_RISCV_64) => Set(8),
        (elf::EM_RISCV, elf::R_RISCV_32 | elf::R_RISCV_SET32) => Set(4),
        (elf::EM_RISCV, elf::R_RISCV_SET16) => Set(2),
        (elf::EM_RISCV, elf::R_RISCV_SET8) => Set(1),
        (elf::EM_RISCV, elf::R_RISCV_SET6) => Set6,
        (elf::EM_RISCV, elf::R_RISCV_SET_ULEB128) => SetUleb,
        (elf::EM_RISCV, elf::R_RISCV_ADD64) => Add(8),
        (elf::EM_RISCV, elf::R_RISCV_ADD32) => Add(4),
        (elf::EM_RISCV, elf::R_RISCV_ADD16) => Add(2),
        (elf::EM_RISCV, elf::R_RISCV_ADD8) => Add(1),
        (elf::EM_RISCV, elf::R_RISCV_SUB64) => Sub(8),
        (elf::EM_RISCV, elf::R_RISCV_SUB32) => Sub(4),
        (elf::EM_RISCV, elf::R_RISCV_SUB16) => Sub(2),
        (elf::EM_RISCV, elf::R_RISCV_SUB8) => Sub(1),
        (elf::EM_RISCV, elf::R_RISCV_SUB6) => Sub6,
        (elf::EM_RISCV, elf::R_RISCV_SUB_ULEB128) => SubUleb,
        (elf::EM_RISCV, elf::R_RISCV_TLS_DTPREL32 | elf::R_RISCV_TLS_DTPREL64) => Ignore,
        _ => return None,
    })
}

/// The symbol index and the type of a relocation.
fn symbol_and_type(image: &Image, info: &[u8]) -> (u32, u32) {
    let number = image.number(info);
    match (image.is_64, image.machine) {
        (false, _) => ((number >> 8) as u32, number as u32 & 0xff),
        // Bytes in this order: the symbol, a special symbol, the third, second and first type.
        (true, elf::EM_MIPS) => (image.number(&info[..4]) as u32, u32::from(info[7])),
        // The upper bytes of a type are data of its own here.
        (true, elf::EM_SPARCV9) => ((number >> 32) as u32, number as u32 & 0xff),
        (true, _) => ((number >> 32) as u32, number as u32),
    }
}

/// What entries with one symbol and type have in common, a plain word of a section.
#[derive(Clone, Copy, Default)]
struct Like {
    info: u64,
    value: u64,
    /// Bytes of the word, 0 where there is no such entry yet.
    size: usize,
    /// What it tells.
    tells: Option<Word>,
}

/// A table has some tens of pairs of symbol and type, in turn: strings, lines, code. Of an entry
/// whose pair was met lately, all that is left to do is to add and to store.
struct Lately {
    /// Files of this kind have such entries: 64 bits, little endian, addends in the table.
    usual: bool,
    likes: [Like; Lately::PLACES],
}

impl Lately {
    const PLACES: usize = 32;

    fn new(image: &Image, rela: bool) -> Lately {
        let usual = rela && image.is_64 && image.endian == Endian::Little;
        Lately { usual, likes: [Like::default(); Lately::PLACES] }
    }

    /// Where entries with this symbol and type are remembered.
    #[inline]
    fn place(info: u64) -> usize {
        (info >> 32 ^ info << 3) as usize % Lately::PLACES
    }

    /// The next entries may be like this one, which sets a word of `size` bytes.
    fn note(&mut self, entry: &[u8], value: u64, size: usize, tells: Option<Word>) {
        if self.usual
            && matches!(size, 4 | 8)
            && let Some(entry) = entry.first_chunk()
        {
            let [_, info, _] = words(entry);
            self.likes[Lately::place(info)] = Like { info, value, size, tells };
        }
    }

    /// Does entries from the front on while they are like ones before; tells how many.
    // Mostly one is like the one just before it. Not in line, to have all that in registers.
    #[inline(never)]
    fn run(&self, entries: &[[u8; 24]], bytes: &mut [u8]) -> usize {
        let mut like = Like::default();
        for (done, entry) in entries.iter().enumerate() {
            let [offset, info, addend] = words(entry);
            if info != like.info {
                like = self.likes[Lately::place(info)];
                if info != like.info {
                    return done;
                }
            }
            let word = like.value.wrapping_add(addend).to_le_bytes();
            let Some(rest) = bytes.get_mut(offset as usize..) else { return done };
            let stored = match like.size {
                4 => rest.first_chunk_mut::<4>().map(|target| target.copy_from_slice(&word[..4])),
                8 => rest.first_chunk_mut::<8>().map(|target| *target = word),
                _ => None,
            };
            if stored.is_none() {
                return done;
            }
        }
        entries.len()
    }

    /// Notes which words such entries were about.
    fn tell(&self, entries: &[[u8; 24]], fixups: &mut Fixups) {
        let mut like = Like::default();
        fixups.extend(entries.iter().map(|entry| {
            let [offset, info, addend] = words(entry);
            if info != like.info {
                like = self.likes[Lately::place(info)];
            }
            (offset, like.tells, like.value.wrapping_add(addend))
        }));
    }
}

/// Offset, info and addend of a usual entry.
#[inline]
fn words(entry: &[u8; 24]) -> [u64; 3] {
    let word = |at: usize| entry[at..].first_chunk().map_or(0, |&word| u64::from_le_bytes(word));
    [word(0), word(8), word(16)]
}

/// Applies one table of relocations to the bytes of the section it targets, and notes which words
/// those are, if anybody asks.
pub(super) fn apply(
    image: &Image,
    [section, table]: [&Section; 2],
    entries: &[u8],
    symbols: &Symbols,
    bytes: &mut [u8],
    mut fixups: Option<&mut Fixups>,
) -> Result<()> {
    let tell = |fixups: &mut Option<&mut Fixups>, at, tells, value| {
        if let Some(fixups) = fixups {
            fixups.extend([(at, tells, value)].into_iter());
        }
    };
    let rela = table.kind == elf::SHT_RELA;
    let word = if image.is_64 { 8 } else { 4 };
    let mut lately = Lately::new(image, rela);
    let mut rest = entries;
    loop {
        if lately.usual {
            let entries = rest.as_chunks().0;
            let done = lately.run(entries, bytes);
            if let Some(fixups) = &mut fixups {
                lately.tell(&entries[..done], fixups);
            }
            rest = &rest[24 * done..];
        }
        let len = word * if rela { 3 } else { 2 };
        let Some((entry, after)) = rest.split_at_checked(len) else { break };
        rest = after;
        let offset = image.number(&entry[..word]);
        let (symbol, kind) = symbol_and_type(image, &entry[word..2 * word]);
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
        let tells = match op {
            Op::Set(size) if lately.usual => Word::of(home, size),
            _ => None,
        };
        if let Op::Set(size) = op {
            lately.note(entry, value, size, tells);
        }
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
            Op::Set6 | Op::Add6 | Op::Sub6 => {
                let sum = value.wrapping_add(addend(bytes, 1)?);
                let old = read(bytes, 1)?;
                let low = match op {
                    Op::Set6 => sum,
                    Op::Add6 => old.wrapping_add(sum),
                    _ => old.wrapping_sub(sum),
                };
                (1, old & 0xc0 | low & 0x3f)
            }
            Op::SetUleb | Op::AddUleb | Op::SubUleb => {
                let sum = value.wrapping_add(addend(bytes, 1)?);
                let tail = bytes.get_mut(at..).ok_or_else(outside)?;
                let new = |old: u64| match op {
                    Op::SetUleb => sum,
                    Op::AddUleb => old.wrapping_add(sum),
                    _ => old.wrapping_sub(sum),
                };
                uleb(tail, new).ok_or_else(outside)?;
                tell(&mut fixups, offset, None, 0);
                continue;
            }
        };
        tell(&mut fixups, offset, tells, result);
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
