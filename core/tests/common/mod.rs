//! ELF files made in code, an independent reader of them, and scratch directories.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};

pub const MARKER: &[u8] = b"~Module signature appended~\n";

/// The four kinds of ELF: (64 bit, big-endian).
pub const ALL: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];

#[derive(Clone, Debug, Default)]
pub struct Sec {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub addr: u64,
    pub align: u64,
    pub data: Vec<u8>,
    /// Size without bytes, for SHT_NOBITS.
    pub nobits: u64,
    pub link: u32,
    pub info: u32,
}

#[derive(Clone, Debug)]
pub struct Elf {
    pub is_64: bool,
    pub big: bool,
    pub kind: u16,
    pub machine: u16,
    pub sections: Vec<Sec>,
    /// (section whose bytes it covers, address)
    pub segments: Vec<(usize, u64)>,
}

impl Elf {
    /// A relocatable file for x86 with the null section only.
    pub fn empty(is_64: bool, big: bool) -> Elf {
        let sections = vec![Sec::default()];
        Elf { is_64, big, kind: 1, machine: 62, sections, segments: vec![] }
    }

    /// A small module without BTF: .text, .data, .bss, .BTF_ids, .symtab with reserved indices.
    pub fn module(is_64: bool, big: bool) -> Elf {
        let mut elf = Elf::empty(is_64, big);
        elf.add(".text", &[0x90; 777]);
        elf.sections[1].flags = 6;
        elf.add(".data", b"some data");
        elf.add(".bss", b"");
        elf.sections[3].kind = 8;
        elf.sections[3].nobits = 1 << 30;
        elf.add(".BTF_ids", &[0; 24]);
        elf.sections[4].align = 4;
        // Three symbols' worth of 0xff: all st_shndx are reserved ones.
        elf.add(".symtab", &[0xff; 72]);
        elf.add(".debug_str", &[b'x'; 5000]);
        elf
    }

    /// Adds a section and returns its index.
    pub fn add(&mut self, name: &str, data: &[u8]) -> usize {
        let (name, data) = (name.to_string(), data.to_vec());
        self.sections.push(Sec { name, kind: 1, align: 1, data, ..Sec::default() });
        self.sections.len() - 1
    }

    pub fn build(&self) -> Vec<u8> {
        let (ehdr, phdr, shdr) = if self.is_64 { (64, 56, 64) } else { (52, 32, 40) };
        let mut out = vec![0; ehdr + phdr * self.segments.len()];
        let mut names = vec![0u8];
        let mut headers = Vec::new();
        let mut all = self.sections.clone();
        all.push(Sec { name: ".shstrtab".into(), kind: 3, align: 1, ..Sec::default() });
        let shstrndx = all.len() - 1;
        let mut name_at = Vec::new();
        for s in &all {
            name_at.push(if s.name.is_empty() { 0 } else { names.len() as u32 });
            if !s.name.is_empty() {
                names.extend_from_slice(s.name.as_bytes());
                names.push(0);
            }
        }
        all[shstrndx].data = names;
        let mut placed = Vec::new();
        for (i, s) in all.iter().enumerate() {
            let at = out.len().next_multiple_of(s.align.max(1) as usize);
            if i > 0 {
                out.resize(at, 0);
                out.extend_from_slice(&s.data);
            }
            placed.push(at as u64);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        let table_at = out.len() as u64;
        for (i, s) in all.iter().enumerate() {
            let mut size = if s.kind == 8 { s.nobits } else { s.data.len() as u64 };
            let (mut link, mut offset) = (s.link, placed[i]);
            if i == 0 {
                size = if all.len() >= 0xff00 { all.len() as u64 } else { 0 };
                link = if shstrndx >= 0xff00 { shstrndx as u32 } else { 0 };
                offset = 0;
            }
            self.word32(&mut headers, name_at[i]);
            self.word32(&mut headers, s.kind);
            for w in [s.flags, s.addr, offset, size] {
                self.word(&mut headers, w);
            }
            self.word32(&mut headers, link);
            self.word32(&mut headers, s.info);
            self.word(&mut headers, s.align);
            self.word(&mut headers, 0);
        }
        assert_eq!(headers.len(), shdr * all.len());
        out.extend_from_slice(&headers);

        let mut head = vec![0x7f, b'E', b'L', b'F'];
        head.extend([if self.is_64 { 2 } else { 1 }, if self.big { 2 } else { 1 }, 1]);
        head.resize(16, 0);
        self.word16(&mut head, self.kind);
        self.word16(&mut head, self.machine);
        self.word32(&mut head, 1);
        self.word(&mut head, 0);
        self.word(&mut head, if self.segments.is_empty() { 0 } else { ehdr as u64 });
        self.word(&mut head, table_at);
        self.word32(&mut head, 0);
        let small = |n: usize, else_: u16| if n < 0xff00 { n as u16 } else { else_ };
        let shnum = small(all.len(), 0);
        let phnum = self.segments.len() as u16;
        for w in [ehdr as u16, phdr as u16, phnum, shdr as u16, shnum, small(shstrndx, 0xffff)] {
            self.word16(&mut head, w);
        }
        for &(index, addr) in &self.segments {
            let size = all[index].data.len() as u64;
            self.word32(&mut head, 1);
            if self.is_64 {
                self.word32(&mut head, 4);
            }
            for w in [placed[index], addr, addr, size, size] {
                self.word(&mut head, w);
            }
            if !self.is_64 {
                self.word32(&mut head, 4);
            }
            self.word(&mut head, 4096);
        }
        out[..head.len()].copy_from_slice(&head);
        out
    }

    fn word16(&self, out: &mut Vec<u8>, w: u16) {
        out.extend(if self.big { w.to_be_bytes() } else { w.to_le_bytes() });
    }

    fn word32(&self, out: &mut Vec<u8>, w: u32) {
        out.extend(if self.big { w.to_be_bytes() } else { w.to_le_bytes() });
    }

    fn word(&self, out: &mut Vec<u8>, w: u64) {
        if !self.is_64 {
            self.word32(out, u32::try_from(w).unwrap());
        } else {
            out.extend(if self.big { w.to_be_bytes() } else { w.to_le_bytes() });
        }
    }
}

/// A section as the `object` crate reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub align: u64,
    pub offset: u64,
    pub size: u64,
    pub data: Vec<u8>,
}

/// All sections, by a reader that shares no code with the writer.
pub fn read(bytes: &[u8]) -> Result<Vec<Seen>, String> {
    match bytes.get(4) {
        Some(1) => sections::<elf::FileHeader32<Endianness>>(bytes),
        Some(2) => sections::<elf::FileHeader64<Endianness>>(bytes),
        _ => Err(format!("{} bytes are not ELF", bytes.len())),
    }
}

fn sections<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Vec<Seen>, String> {
    let text = |e: object::read::Error| e.to_string();
    let header = H::parse(bytes).map_err(text)?;
    let e = header.endian().map_err(text)?;
    let table = header.sections(e, bytes).map_err(text)?;
    let mut out = Vec::new();
    for (i, s) in table.iter().enumerate() {
        let name = table.section_name(e, s).map_err(text)?;
        out.push(Seen {
            name: String::from_utf8_lossy(name).into_owned(),
            kind: s.sh_type(e).0,
            flags: s.sh_flags(e).0,
            align: s.sh_addralign(e).into(),
            offset: s.sh_offset(e).into(),
            size: if i == 0 { 0 } else { s.sh_size(e).into() },
            data: if i == 0 { vec![] } else { s.data(e, bytes).map_err(text)?.to_vec() },
        });
    }
    Ok(out)
}

/// The content of every live section of this name, in order.
pub fn named(bytes: &[u8], name: &str) -> Vec<Vec<u8>> {
    let all = read(bytes).unwrap();
    all.into_iter().filter(|s| s.name == name && s.kind != 0).map(|s| s.data).collect()
}

/// Offset of the ELF header field of this name.
pub fn field(is_64: bool, name: &str) -> usize {
    match (name, is_64) {
        ("e_shoff", true) => 40,
        ("e_shoff", false) => 32,
        ("e_shentsize", true) => 58,
        ("e_shentsize", false) => 46,
        ("e_shnum", true) => 60,
        ("e_shnum", false) => 48,
        ("e_shstrndx", true) => 62,
        ("e_shstrndx", false) => 50,
        _ => panic!("{name}"),
    }
}

/// A directory of its own, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("btfd-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        // A new inode: ext4 waits for the disk when it sees an old one truncated and closed.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn contents(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
