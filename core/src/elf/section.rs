//! The section table and the bytes of sections.

use super::fixups::Fixups;
use super::{ElfError, Result, Symbols};
use crate::btf::Endian;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use object::{Endianness, ReadCache, ReadRef};
use rayon::prelude::*;
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Where libdw lays out the first allocated section of a relocatable file.
const LAYOUT_START: u64 = 0x10000;
/// Decompressed sections larger than this are refused (DWARF of a whole distribution kernel: 2 GiB).
const MAX_INFLATED: u64 = 4 << 30;
/// Up to this size, what a section says of its decompressed size is believed.
const PLAUSIBLE: u64 = 64 << 20;
/// Beyond it, no debug data shrinks to less than one part in so many (usual are 2 to 10; zlib could
/// say 1000).
const MAX_RATIO: u64 = 64;
/// Names of sections up to this size are read at once.
const MAX_NAMES: u64 = 1 << 20;
/// What has as many bytes is no name, to object's cache of reads neither.
const MAX_NAME: usize = 4096;
/// At least that of pages; larger ones are multiples of it, and refuse the advice at worst.
const PAGE: usize = 4096;
/// From this size on, a section is read into huge pages, and by several threads.
const HUGE: usize = 8 << 20;

/// One section header, the same for both classes.
#[derive(Clone, Debug)]
pub struct Section {
    /// Position in the section table.
    pub index: usize,
    /// Name; not necessarily UTF-8.
    pub name: Vec<u8>,
    /// `SHT_*`.
    pub kind: elf::SectionType,
    /// `SHF_*`.
    pub flags: elf::SectionFlags,
    /// Address: from the file, or in a relocatable file the one that libdw would assign, so that
    /// a variable's address tells its section.
    pub address: u64,
    /// `sh_addralign`.
    pub align: u64,
    /// Offset in the file.
    pub offset: u64,
    /// Bytes in the file (in memory for `SHT_NOBITS`).
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
}

/// Has the kernel map large memory in few steps: for a vmlinux in two threads, a tenth of the time.
fn prefer_huge_pages(memory: &mut [MaybeUninit<u8>]) {
    let start = memory.as_mut_ptr_range().start as usize;
    let (first, end) = (start.next_multiple_of(PAGE), (start + memory.len()) / PAGE * PAGE);
    // SAFETY: whole pages of memory that is ours; the advice changes nothing that can be read. Where
    // it is not taken, pages are small.
    unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
}

/// Opens a file to read it; a pipe or device is refused at once instead of waited for.
pub fn open_regular(path: &Path) -> Result<File> {
    let opened = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .and_then(|file| Ok((file.metadata()?.file_type(), file)));
    match opened {
        Err(source) => Err(ElfError::Io { what: "cannot open".into(), source }),
        Ok((kind, _)) if kind.is_dir() => Err(ElfError::NotElf("it is a directory".into())),
        Ok((kind, _)) if !kind.is_file() => {
            Err(ElfError::NotElf("it is a pipe, socket or device".into()))
        }
        Ok((_, file)) => Ok(file),
    }
}

impl Section {
    /// What symbol values in this section count from: 0 in a relocatable file.
    pub fn symbol_base(&self, image: &Image) -> u64 {
        if image.relocatable { 0 } else { self.address }
    }

    fn malformed(&self, what: &str) -> ElfError {
        let name = String::from_utf8_lossy(&self.name);
        ElfError::Malformed(format!("section {name}: {what}"))
    }
}

/// An open ELF file.
#[derive(Debug)]
pub struct Image {
    file: File,
    len: u64,
    /// Byte order.
    pub endian: Endian,
    /// 64-bit class.
    pub is_64: bool,
    /// `EM_*`.
    pub machine: elf::Machine,
    /// Relocatable (`ET_REL`): relocations are not applied yet.
    pub relocatable: bool,
    /// All sections, the null section first.
    pub sections: Vec<Section>,
}

impl Image {
    /// Reads the headers of an open file. Cost: the section table, a few kilobytes.
    pub fn open(file: File) -> Result<Image> {
        let meta = file
            .metadata()
            .map_err(|source| ElfError::Io { what: "cannot stat".into(), source })?;
        let len = meta.len();
        let ident: [u8; 64] = {
            let mut ident = [0; 64];
            let n = file
                .read_at(&mut ident, 0)
                .map_err(|source| ElfError::Io { what: "cannot read".into(), source })?;
            if n == 0 {
                return Err(ElfError::NotElf("it is empty".into()));
            }
            if n < 4 || ident[..4] != elf::ELFMAG {
                let got = &ident[..n.min(4)];
                return Err(ElfError::NotElf(format!("starts with {got:02x?}")));
            }
            if n < 52 {
                return Err(ElfError::Truncated { what: "the ELF header".into(), offset: 0 });
            }
            ident
        };
        let cache = ReadCache::new(&file);
        let (head, sections) = match elf::FileClass(ident[4]) {
            elf::ELFCLASS32 => headers::<elf::FileHeader32<Endianness>, _>(&cache, len)?,
            elf::ELFCLASS64 => headers::<elf::FileHeader64<Endianness>, _>(&cache, len)?,
            class => {
                return Err(ElfError::NotElf(format!("ELF class {}, expected 1 or 2", class.0)));
            }
        };
        drop(cache);
        let mut image = Image {
            file,
            len,
            endian: head.endian,
            is_64: ident[4] == elf::ELFCLASS64.0,
            machine: head.machine,
            relocatable: head.kind == elf::ET_REL,
            sections,
        };
        if image.relocatable {
            lay_out(&mut image.sections);
        }
        Ok(image)
    }

    /// Opens and reads headers.
    pub fn open_path(path: &Path) -> Result<Image> {
        Image::open(open_regular(path)?)
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The first section with this name.
    pub fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The debug section `.debug_NAME`, or `.zdebug_NAME` as old tools call a compressed one, or
    /// what gcc has of it in an object that is yet to be compiled at link time.
    ///
    /// Those in section groups hold copies of what several objects share, and are not the file's.
    pub fn debug_section(&self, name: &str) -> Option<&Section> {
        let named = |prefix: &str| {
            let is_it = |s: &&Section| {
                s.name.strip_prefix(prefix.as_bytes()) == Some(name.as_bytes())
                    && s.flags.0 & elf::SHF_GROUP.0 == 0
            };
            self.sections.iter().find(is_it)
        };
        named(".debug_").or_else(|| named(".zdebug_")).or_else(|| named(".gnu.debuglto_.debug_"))
    }

    /// The bytes of a section, decompressed where it is compressed; empty for `SHT_NOBITS`.
    pub fn read(&self, section: &Section) -> Result<Vec<u8>> {
        if section.kind == elf::SHT_NOBITS {
            return Ok(Vec::new());
        }
        let raw = self.read_range(section.offset, section.size, &section.name)?;
        if section.flags.0 & elf::SHF_COMPRESSED.0 != 0 {
            self.inflate(section, &raw)
        } else if section.name.starts_with(b".zdebug_") && raw.starts_with(b"ZLIB") {
            inflate_gnu(section, &raw)
        } else {
            Ok(raw)
        }
    }

    /// The bytes of a section with all relocations that target it applied.
    ///
    /// Only in a relocatable file: a linked one may keep its relocations, already applied.
    pub fn read_relocated(&self, section: &Section, symbols: &Symbols) -> Result<Vec<u8>> {
        self.read_and_tell(section, symbols, None)
    }

    /// The same, and which words were relocated.
    pub fn read_and_tell(
        &self,
        section: &Section,
        symbols: &Symbols,
        mut fixups: Option<&mut Fixups>,
    ) -> Result<Vec<u8>> {
        let mut bytes = self.read(section)?;
        if self.relocatable {
            let mut room = self.len;
            for table in &self.sections {
                if matches!(table.kind, elf::SHT_RELA | elf::SHT_REL)
                    && table.info as usize == section.index
                {
                    // Tables may stand in the same place, and there may be a million of them.
                    room = room.checked_sub(table.size).ok_or_else(|| {
                        section.malformed("its relocations are larger than the file")
                    })?;
                    if let Some(fixups) = &mut fixups {
                        fixups.reserve((table.size / 24) as usize);
                    }
                    self.read_parts(table, |entries| {
                        let (of, fixups) = ([section, table], fixups.as_deref_mut());
                        super::relocate::apply(self, of, entries, symbols, &mut bytes, fixups)
                    })?;
                }
            }
        }
        if let Some(fixups) = fixups {
            fixups.end();
        }
        Ok(bytes)
    }

    /// The symbol table named `.symtab`, if there is one.
    pub fn symbols(&self) -> Result<Option<Symbols>> {
        let Some(table) =
            self.sections.iter().find(|s| s.kind == elf::SHT_SYMTAB && s.name == b".symtab")
        else {
            return Ok(None);
        };
        Symbols::read(self, table).map(Some)
    }

    /// The same bytes as [`Image::read`], some at a time where they stand in the file as they are:
    /// tables that are gone through once need no memory of their size, which would be fresh.
    fn read_parts(
        &self,
        section: &Section,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        // A whole number of entries of all sizes that relocations have.
        const PART: u64 = 48 << 12;
        if section.kind == elf::SHT_NOBITS || section.flags.0 & elf::SHF_COMPRESSED.0 != 0 {
            return take(&self.read(section)?);
        }
        let mut part = Vec::new();
        let mut done = 0;
        while done < section.size {
            let size = PART.min(section.size - done);
            let at = section.offset.saturating_add(done);
            self.read_into(&mut part, at, size, &section.name)?;
            take(&part)?;
            done += size;
        }
        Ok(())
    }

    pub(super) fn read_range(&self, offset: u64, size: u64, what: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, offset, size, what)?;
        Ok(bytes)
    }

    /// Replaces what `bytes` holds by a range of the file.
    fn read_into(&self, bytes: &mut Vec<u8>, offset: u64, size: u64, what: &[u8]) -> Result<()> {
        let truncated = || ElfError::Truncated {
            what: format!("section {}", String::from_utf8_lossy(what)),
            offset,
        };
        if offset.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(truncated());
        }
        bytes.clear();
        bytes.reserve_exact(size as usize);
        let memory = &mut bytes.spare_capacity_mut()[..size as usize];
        // A linker may cut the file short between our stat and this read.
        if !self.fill_large(memory, offset)? {
            return Err(truncated());
        }
        // SAFETY: there is room for so many bytes, and each of them was read.
        unsafe { bytes.set_len(size as usize) };
        Ok(())
    }

    /// Fills memory by what the file has at an offset, large memory by all threads of the pool that
    /// this one is of; `false` where the file ends before.
    fn fill_large(&self, memory: &mut [MaybeUninit<u8>], offset: u64) -> Result<bool> {
        /// What a thread reads at a time, in whole huge pages.
        const SHARE: usize = 4 << 20;
        if memory.len() < HUGE {
            return self.fill(memory, offset);
        }
        prefer_huge_pages(memory);
        if rayon::current_thread_index().is_none() {
            return self.fill(memory, offset);
        }
        let shares = memory.par_chunks_mut(SHARE).enumerate();
        let offset = |number| offset + (number * SHARE) as u64;
        shares
            .map(|(number, share)| self.fill(share, offset(number)))
            .try_reduce(|| true, |all, filled| Ok(all && filled))
    }

    /// The same in one go. Memory that is about to be filled need not be zeroed.
    fn fill(&self, mut memory: &mut [MaybeUninit<u8>], mut offset: u64) -> Result<bool> {
        while !memory.is_empty() {
            match rustix::io::pread(&self.file, &mut *memory, offset).map(|(read, _)| read.len()) {
                Ok(0) => return Ok(false),
                Ok(read) => (memory, offset) = (&mut memory[read..], offset + read as u64),
                Err(Errno::INTR) => {}
                Err(e) => {
                    return Err(ElfError::Io { what: "cannot read".into(), source: e.into() });
                }
            }
        }
        Ok(true)
    }

    fn inflate(&self, section: &Section, raw: &[u8]) -> Result<Vec<u8>> {
        let malformed = |what: String| section.malformed(&what);
        let header_len = if self.is_64 { 24 } else { 12 };
        let Some((header, data)) = raw.split_at_checked(header_len) else {
            return Err(malformed("no room for its compression header".into()));
        };
        let word = |at: usize, n: usize| self.number(&header[at..at + n]);
        let kind = elf::CompressionType(word(0, 4) as u32);
        let size = if self.is_64 { word(8, 8) } else { word(4, 4) };
        match kind {
            elf::ELFCOMPRESS_ZLIB => {
                let decoder = flate2::read::ZlibDecoder::new(data);
                read_inflated(section, decoder, data.len(), size)
            }
            elf::ELFCOMPRESS_ZSTD => match ruzstd::decoding::StreamingDecoder::new(data) {
                Ok(decoder) => read_inflated(section, decoder, data.len(), size),
                Err(e) => Err(malformed(format!("does not inflate: {e}"))),
            },
            other => Err(malformed(format!("compression type {} is not known", other.0))),
        }
    }

    /// A number of up to 8 bytes in the file's byte order.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let mut n = [0; 8];
        match self.endian {
            Endian::Little => {
                n[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(n)
            }
            Endian::Big => {
                n[8 - bytes.len()..].copy_from_slice(bytes);
                u64::from_be_bytes(n)
            }
        }
    }
}

/// Gives the allocated sections of a relocatable file the addresses that libdw gives them.
///
/// They follow each other, but one that has an address in the file may keep it: some linkers leave
/// such in the output of `ld -r`. It may then overlap others, and a variable in it seems to lie in
/// the first of them; pahole says so too.
fn lay_out(sections: &mut [Section]) {
    let (mut start, mut end) = (LAYOUT_START, LAYOUT_START);
    // The lowest address that the file has, once it has one for the first section.
    let mut lowest = None;
    let mut first = true;
    for section in sections.iter_mut().filter(|s| s.flags.0 & elf::SHF_ALLOC.0 != 0) {
        let next = end.checked_next_multiple_of(section.align.max(1)).unwrap_or(end);
        if section.address == 0 || lowest.is_none() && end > start && end != next {
            section.address = next;
            if end == start {
                start = next;
            }
            end = next.saturating_add(section.size);
        } else {
            let own_end = section.address.saturating_add(section.size);
            if first {
                (lowest, end) = (Some(section.address), own_end);
            }
            end = end.max(own_end);
        }
        first = false;
    }
}

/// A section that begins with "ZLIB" and its size in eight bytes, the highest first.
fn inflate_gnu(section: &Section, raw: &[u8]) -> Result<Vec<u8>> {
    let Some((head, data)) = raw.split_at_checked(12) else {
        return Err(section.malformed("no room for its compression header"));
    };
    let size = head[4..].iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    read_inflated(section, flate2::read::ZlibDecoder::new(data), data.len(), size)
}

/// Reads what has to be `size` bytes, from `deflated` ones.
fn read_inflated(
    section: &Section,
    from: impl Read,
    deflated: usize,
    size: u64,
) -> Result<Vec<u8>> {
    if size > MAX_INFLATED || size > PLAUSIBLE && size / MAX_RATIO > deflated as u64 {
        let what = format!("says that {deflated} bytes inflate to {size}, which is not believed");
        return Err(section.malformed(&what));
    }
    let mut out = Vec::new();
    // One byte more than announced is enough to see that the announcement was wrong.
    match from.take(size + 1).read_to_end(&mut out) {
        Ok(_) if out.len() as u64 == size => Ok(out),
        Ok(_) => Err(section.malformed(&format!("does not inflate to the {size} bytes it says"))),
        Err(e) => Err(section.malformed(&format!("does not inflate: {e}"))),
    }
}

struct Head {
    endian: Endian,
    machine: elf::Machine,
    kind: elf::FileType,
}

/// The names of all sections, at once instead of one by one, where they are of sensible size.
///
/// What comes of it is the same: none that has [`MAX_NAME`] bytes, none of a table that ends behind
/// the end of the file.
fn names<'data, Elf, R>(
    header: &Elf,
    data: R,
    sections: &SectionTable<'data, Elf, R>,
) -> Option<&'data [u8]>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let endian = header.endian().ok()?;
    let index = header.section_strings_index(endian, data).ok()?;
    let (offset, size) = sections.section(index).ok()?.file_range(endian)?;
    if size > MAX_NAMES {
        return None;
    }
    data.read_bytes_at(offset, size).ok()
}

/// Reads header and section table of one class.
fn headers<'data, Elf, R>(data: R, len: u64) -> Result<(Head, Vec<Section>)>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let malformed = |e: object::read::Error| ElfError::Malformed(e.to_string());
    let header = Elf::parse(data).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let kind = header.e_type(endian);
    let shoff: u64 = header.e_shoff(endian).into();
    let head = Head {
        endian: match endian {
            Endianness::Little => Endian::Little,
            Endianness::Big => Endian::Big,
        },
        machine: header.e_machine(endian),
        kind,
    };
    let table = || "the section table".to_string();
    if shoff == 0 {
        return Err(ElfError::Malformed("it has no section table".into()));
    }
    if shoff >= len {
        return Err(ElfError::Truncated { what: table(), offset: shoff });
    }
    let sections = header
        .sections(endian, data)
        .map_err(|_| ElfError::Truncated { what: table(), offset: shoff })?;
    let names = names(header, data, &sections);
    let list = sections
        .iter()
        .enumerate()
        .map(|(index, s)| {
            let name = match names {
                Some(names) => {
                    let rest = names.get(s.sh_name(endian) as usize..).unwrap_or_default();
                    let rest = &rest[..rest.len().min(MAX_NAME)];
                    rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
                }
                None => sections.section_name(endian, s).ok(),
            };
            let name = name.unwrap_or_default().to_vec();
            Section {
                index,
                name,
                kind: s.sh_type(endian),
                flags: s.sh_flags(endian),
                address: s.sh_addr(endian).into(),
                align: s.sh_addralign(endian).into(),
                offset: s.sh_offset(endian).into(),
                size: s.sh_size(endian).into(),
                link: s.sh_link(endian),
                info: s.sh_info(endian),
            }
        })
        .collect();
    Ok((head, list))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses given to sections of (address in the file, alignment, size).
    fn laid_out(sections: &[(u64, u64, u64)]) -> Vec<u64> {
        let mut sections: Vec<Section> = sections
            .iter()
            .map(|&(address, align, size)| Section {
                index: 0,
                name: Vec::new(),
                kind: elf::SHT_PROGBITS,
                flags: elf::SHF_ALLOC,
                address,
                align,
                offset: 0,
                size,
                link: 0,
                info: 0,
            })
            .collect();
        lay_out(&mut sections);
        sections.iter().map(|s| s.address).collect()
    }

    #[test]
    fn sections_follow_each_other() {
        assert_eq!(laid_out(&[(0, 1, 3), (0, 16, 8), (0, 0, 1)]), [0x10000, 0x10010, 0x10018]);
    }

    #[test]
    fn addresses_of_the_file_are_kept_where_libdw_keeps_them() {
        // Nothing to align: kept. Something to align: not kept.
        assert_eq!(laid_out(&[(0, 1, 16), (0xc0, 16, 8), (0, 8, 1)]), [0x10000, 0xc0, 0x10010]);
        assert_eq!(laid_out(&[(0, 1, 3), (0xc0, 16, 8), (0, 8, 1)]), [0x10000, 0x10010, 0x10018]);
        // A file that begins with one has its own layout.
        assert_eq!(laid_out(&[(0x40, 8, 3), (0xc0, 16, 8), (0, 8, 1)]), [0x40, 0xc0, 0xc8]);
    }
}
