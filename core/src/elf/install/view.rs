//! An ELF file as its readers see it: headers, names, and which bytes are in use.
//!
//! Reads the headers only, with `pread`: a linker may shrink the file under us. Every number is
//! checked against the size of the file before anything of that size is read or allocated.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::elf::{self, SectionFlags, SectionType};
use object::endian::{U32, U64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, pod};

use super::Why;

/// More than any linker writes; keeps a hostile sparse file from taking all memory.
const MAX_HEADERS: u64 = 1 << 20;
/// Likewise, for the section name table.
const MAX_NAMES: u64 = 64 << 20;
const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";

/// A section header of either class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub name: u32,
    pub kind: SectionType,
    pub flags: SectionFlags,
    pub addr: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
    pub info: u32,
    pub align: u64,
    pub entsize: u64,
}

/// What one program header claims of the file and of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub offset: u64,
    pub file_size: u64,
    pub addr: u64,
    pub memory_size: u64,
}

/// A half-open range of file offsets.
pub(super) type Extent = (u64, u64);

/// One reading of a file's headers.
#[derive(Debug)]
pub(super) struct View {
    pub len: u64,
    pub is_64: bool,
    pub endian: Endianness,
    /// ET_REL: addresses and segments mean nothing.
    pub relocatable: bool,
    /// The ELF header's bytes: 52 or 64.
    pub header: Vec<u8>,
    pub sections: Vec<Section>,
    /// The section count is in section 0, not in the ELF header.
    pub extended: bool,
    pub names: Vec<u8>,
    pub names_index: usize,
    pub segments: Vec<Segment>,
    table: Extent,
    segment_table: Extent,
}

impl View {
    /// Reads the headers of a file of `len` bytes.
    pub fn read(file: &File, len: u64) -> Result<View, Why> {
        let head = read_at(file, 0, len.min(64))?;
        if head.get(..4) != Some(&elf::ELFMAG) {
            let n = head.len().min(4);
            return Why::elf(0, format!("starts with {:02x?}, expected 7f 45 4c 46", &head[..n]));
        }
        let view = match head.get(4) {
            Some(1) => View::headers::<elf::FileHeader32<Endianness>>(file, len, &head)?,
            Some(2) => View::headers::<elf::FileHeader64<Endianness>>(file, len, &head)?,
            class => return Why::elf(4, format!("ELF class {class:?}, expected 1 or 2")),
        };
        let marker_at = len.saturating_sub(SIGNATURE_MARKER.len() as u64);
        if read_at(file, marker_at, len - marker_at)? == SIGNATURE_MARKER {
            return Err(Why::Signed { offset: marker_at });
        }
        Ok(view)
    }

    fn headers<H: FileHeader<Endian = Endianness>>(
        file: &File,
        len: u64,
        head: &[u8],
    ) -> Result<View, Why> {
        let Ok((header, _)) = pod::from_bytes::<H>(head) else {
            return Why::elf(0, format!("{len} bytes, too short for an ELF header"));
        };
        let (true, Ok(e)) = (header.is_supported(), header.endian()) else {
            let (order, version) = (head[5], head[6]);
            let what = format!("byte order {order}, version {version}, expected 1 or 2, version 1");
            return Why::elf(5, what);
        };
        let kind = header.e_type(e);
        if ![elf::ET_REL, elf::ET_EXEC, elf::ET_DYN].contains(&kind) {
            return Why::elf(16, format!("ELF type {}, expected a module or kernel", kind.0));
        }
        let is_64 = header.is_type_64();
        let table_at: u64 = header.e_shoff(e).into();
        let entry = size_of::<H::SectionHeader>() as u64;
        if table_at == 0 {
            return Why::elf(if is_64 { 40 } else { 32 }, "no section header table");
        }
        let found = u64::from(header.e_shentsize(e));
        if found != entry {
            let at = if is_64 { 58 } else { 46 };
            return Why::elf(at, format!("section headers of {found} bytes, expected {entry}"));
        }
        let inside = |what: &str, at: u64, size: u64| match at.checked_add(size) {
            Some(end) if end <= len => Ok((at, end)),
            _ => Why::elf(
                at,
                format!("{what} of {size} bytes reaches beyond the file's {len} bytes"),
            ),
        };

        let (first_at, first_end) = inside("section header 0", table_at, entry)?;
        let first = read_at(file, first_at, first_end - first_at)?;
        let Ok((first, _)) = pod::from_bytes::<H::SectionHeader>(&first) else {
            return Why::elf(table_at, "no section header 0");
        };
        let extended = header.e_shnum(e) == 0;
        let count = if extended { first.sh_size(e).into() } else { u64::from(header.e_shnum(e)) };
        if count == 0 || count > MAX_HEADERS {
            let what = format!("{count} sections, expected 1 to {MAX_HEADERS}");
            return Why::elf(table_at, what);
        }
        let table = inside("section header table", table_at, count * entry)?;
        let bytes = read_at(file, table_at, count * entry)?;
        let Ok(raw) = pod::slice_from_all_bytes::<H::SectionHeader>(&bytes) else {
            return Why::elf(table_at, "not a section header table");
        };
        let sections: Vec<Section> = raw.iter().map(|s| Section::decode(s, e)).collect();
        for (i, s) in sections.iter().enumerate().skip(1) {
            if s.has_bytes() {
                inside(&format!("section [{i}]"), s.offset, s.size)?;
            }
        }

        let names_index = match header.e_shstrndx(e).0 {
            i if i == elf::SHN_XINDEX.0 => sections.first().map_or(0, |s| s.link as usize),
            i => usize::from(i),
        };
        let names = match sections.get(names_index) {
            Some(s) if names_index > 0 && s.has_bytes() && s.flags.0 & COMPRESSED == 0 => s,
            _ => {
                let at = if is_64 { 62 } else { 50 };
                return Why::elf(at, format!("section [{names_index}] holds no section names"));
            }
        };
        if names.size > MAX_NAMES {
            let what = format!("{} bytes of section names, expected at most 64 MiB", names.size);
            return Why::elf(names.offset, what);
        }
        let names = read_at(file, names.offset, names.size)?;

        let mut segments = Vec::new();
        let segments_at: u64 = header.e_phoff(e).into();
        let mut segment_table = (0, 0);
        let segment_count = match header.e_phnum(e) {
            elf::PN_XNUM => u64::from(first.sh_info(e)),
            n => u64::from(n),
        };
        if segments_at != 0 && segment_count != 0 {
            let entry = size_of::<H::ProgramHeader>() as u64;
            let found = u64::from(header.e_phentsize(e));
            if found != entry || segment_count > MAX_HEADERS {
                let what = format!(
                    "{segment_count} program headers of {found} bytes, expected {entry} bytes"
                );
                return Why::elf(segments_at, what);
            }
            segment_table = inside("program header table", segments_at, segment_count * entry)?;
            let bytes = read_at(file, segments_at, segment_count * entry)?;
            let Ok(raw) = pod::slice_from_all_bytes::<H::ProgramHeader>(&bytes) else {
                return Why::elf(segments_at, "not a program header table");
            };
            segments.extend(raw.iter().map(|p| Segment {
                offset: p.p_offset(e).into(),
                file_size: p.p_filesz(e).into(),
                addr: p.p_vaddr(e).into(),
                memory_size: p.p_memsz(e).into(),
            }));
        }
        Ok(View {
            len,
            is_64,
            endian: e,
            relocatable: kind == elf::ET_REL,
            header: head.get(..size_of::<H>()).unwrap_or_default().to_vec(),
            sections,
            extended,
            names,
            names_index,
            segments,
            table,
            segment_table,
        })
    }

    /// Indices of all sections of this name, in order.
    pub fn find(&self, name: &str) -> Vec<usize> {
        let named = |s: &Section| {
            let at = self.names.get(s.name as usize..).unwrap_or_default();
            at.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        };
        let live = |s: &Section| s.kind != elf::SHT_NULL && named(s);
        (1..self.sections.len()).filter(|&i| live(&self.sections[i])).collect()
    }

    /// Whether this section is part of the image that gets loaded.
    pub fn is_loaded(&self, s: &Section) -> bool {
        let touches = |at: u64, size: u64, from: u64, room: u64| {
            at < from.saturating_add(room) && from < at.saturating_add(size.max(1))
        };
        !self.relocatable
            && s.flags.0 & ALLOC != 0
            && self.segments.iter().any(|p| {
                touches(s.addr, s.size, p.addr, p.memory_size)
                    || s.has_bytes() && touches(s.offset, s.size, p.offset, p.file_size)
            })
    }

    /// Bytes that a reader of the file as it is now may look at, sorted and merged.
    pub fn in_use(&self) -> Vec<Extent> {
        self.used_by(self.sections.iter(), Some(self.table))
    }

    /// Likewise for these sections, with the section header table where the caller says.
    pub fn used_by<'s>(
        &self,
        sections: impl Iterator<Item = &'s Section>,
        table: Option<Extent>,
    ) -> Vec<Extent> {
        // Between the segments of an image nothing is free: loaders map whole pages.
        let image = self.segments.iter().map(|p| p.offset.saturating_add(p.file_size)).max();
        let mut extents = vec![(0, self.header.len() as u64), self.segment_table];
        extents.extend(table);
        extents.extend(image.map(|end| (0, end.min(self.len))));
        // Section 0 has counts where others have a size.
        extents.extend(
            sections
                .skip(1)
                .filter(|s| s.kind != elf::SHT_NOBITS && s.size > 0)
                .map(|s| (s.offset.min(self.len), s.offset.saturating_add(s.size).min(self.len))),
        );
        extents.retain(|e| e.0 < e.1);
        extents.sort_unstable();
        extents.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        extents
    }

    /// Appends the bytes of a section header table.
    pub fn encode(&self, sections: &[Section], out: &mut Vec<u8>) {
        sections.iter().for_each(|s| s.encode(self.is_64, self.endian, out));
    }
}

pub(super) const ALLOC: u64 = elf::SHF_ALLOC.0;
pub(super) const COMPRESSED: u64 = elf::SHF_COMPRESSED.0;

impl Section {
    /// Whether it has bytes in the file.
    pub fn has_bytes(&self) -> bool {
        self.kind != elf::SHT_NOBITS && self.kind != elf::SHT_NULL
    }

    fn decode<S: SectionHeader<Endian = Endianness>>(s: &S, e: Endianness) -> Section {
        Section {
            name: s.sh_name(e),
            kind: s.sh_type(e),
            flags: s.sh_flags(e),
            addr: s.sh_addr(e).into(),
            offset: s.sh_offset(e).into(),
            size: s.sh_size(e).into(),
            link: s.sh_link(e),
            info: s.sh_info(e),
            align: s.sh_addralign(e).into(),
            entsize: s.sh_entsize(e).into(),
        }
    }

    fn encode(&self, is_64: bool, e: Endianness, out: &mut Vec<u8>) {
        let (name, kind) = (U32::new(e, self.name), U32::new(e, self.kind));
        let (link, info) = (U32::new(e, self.link), U32::new(e, self.info));
        if is_64 {
            out.extend_from_slice(pod::bytes_of(&elf::SectionHeader64 {
                sh_name: name,
                sh_type: kind,
                sh_flags: U64::new(e, self.flags),
                sh_addr: U64::new(e, self.addr),
                sh_offset: U64::new(e, self.offset),
                sh_size: U64::new(e, self.size),
                sh_link: link,
                sh_info: info,
                sh_addralign: U64::new(e, self.align),
                sh_entsize: U64::new(e, self.entsize),
            }));
        } else {
            // What was read fits; what was placed was checked against 4 GiB.
            out.extend_from_slice(pod::bytes_of(&elf::SectionHeader32 {
                sh_name: name,
                sh_type: kind,
                sh_flags: U32::new_u64_truncate(e, self.flags),
                sh_addr: U32::new(e, self.addr as u32),
                sh_offset: U32::new(e, self.offset as u32),
                sh_size: U32::new(e, self.size as u32),
                sh_link: link,
                sh_info: info,
                sh_addralign: U32::new(e, self.align as u32),
                sh_entsize: U32::new(e, self.entsize as u32),
            }));
        }
    }
}

/// Reads exactly `size` bytes; the caller checked that the file has them.
pub(super) fn read_at(file: &File, offset: u64, size: u64) -> Result<Vec<u8>, Why> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(e) => Err(Why::io("read the file", e)),
    }
}
