//! From section edits to the bytes that have to be written, and where. Pure: touches no file.
//!
//! New contents, a new name table where a name is missing, and a new section header table make
//! one *blob*. It goes where the file, as its readers see it now, uses nothing: into the first gap
//! between the extents in use that is large enough, else behind the last one. So whatever part of
//! it is on disk, the old file stands; and the room of the last but one install serves the next.

use object::elf;
use object::{Endianness, pod};

use super::view::{ALLOC, COMPRESSED, Extent, Section, View};
use super::{Edit, Why};

/// The largest alignment of a section that moves: a page.
const MAX_ALIGN: u64 = 4096;
/// Alignment of the blob and of each part of it.
const BLOB_ALIGN: u64 = 8;

/// Section headers after the edits, and the new contents that they wait for.
#[derive(Debug)]
pub(super) struct Change<'a> {
    sections: Vec<Section>,
    /// New contents by section index; an offset is set when a place is known.
    contents: Vec<(usize, &'a [u8])>,
    /// A name table that replaces the old one.
    names: Option<Vec<u8>>,
}

/// What to write: the blob, then the flip, then a cut at `end`. The file shows its old contents
/// until the flip.
#[derive(Debug)]
pub(super) struct Plan<'c> {
    /// Where the blob starts.
    pub at: u64,
    /// Where in the ELF header the flip goes.
    pub flip_at: u64,
    /// The ELF header from there on.
    pub flip: Vec<u8>,
    /// How many bytes of the old file are needed in a copy.
    pub keep: u64,
    /// Size of the file afterwards.
    pub end: u64,
    /// What the blob is made of, with offsets in the file.
    parts: Vec<(u64, &'c [u8])>,
    table_at: u64,
    sections: Vec<Section>,
}

impl<'a> Change<'a> {
    /// Applies `edits` to the headers; refuses what cannot move.
    pub fn new(view: &View, edits: &[Edit<'a>]) -> Result<Change<'a>, Why> {
        let mut change =
            Change { sections: view.sections.clone(), contents: Vec::new(), names: None };
        for (i, edit) in edits.iter().enumerate() {
            let name = edit.name();
            if name.is_empty()
                || name.contains('\0')
                || edits[..i].iter().any(|other| other.name() == name)
            {
                let what = format!("section name {name:?}, expected each name once, without NUL");
                return Err(Why::Elf { offset: None, what });
            }
            let found = view.find(name);
            for &index in &found {
                movable(view, index, name)?;
            }
            let (first, others) = match found.split_first() {
                Some((&first, others)) => (Some(first), others),
                None => (None, &[][..]),
            };
            match *edit {
                Edit::Put { data, .. } => change.put(view, first, name, data)?,
                Edit::Replace { data, .. } => change.replace(first, others, name, data)?,
                Edit::Remove { .. } => found.iter().for_each(|&i| change.clear(i)),
            }
            if matches!(edit, Edit::Put { .. }) {
                others.iter().for_each(|&i| change.clear(i));
            }
        }
        Ok(change)
    }

    fn clear(&mut self, index: usize) {
        self.sections[index] = Section::default();
    }

    fn put(
        &mut self,
        view: &View,
        found: Option<usize>,
        name: &str,
        data: &'a [u8],
    ) -> Result<(), Why> {
        let index = match found {
            Some(index) => index,
            None => {
                let name = self.name(view, name)?;
                self.sections.push(Section { name, ..Section::default() });
                self.sections.len() - 1
            }
        };
        self.sections[index] = Section {
            name: self.sections[index].name,
            kind: elf::SHT_PROGBITS,
            size: data.len() as u64,
            align: 1,
            ..Section::default()
        };
        self.contents.push((index, data));
        Ok(())
    }

    fn replace(
        &mut self,
        found: Option<usize>,
        others: &[usize],
        name: &str,
        data: &'a [u8],
    ) -> Result<(), Why> {
        let wrong = |what: String| Err(Why::Elf { offset: None, what });
        let (Some(index), []) = (found, others) else {
            let n = others.len() + usize::from(found.is_some());
            return wrong(format!("{n} sections {name}, expected exactly one to replace"));
        };
        let s = &mut self.sections[index];
        if s.align > MAX_ALIGN || !s.align.max(1).is_power_of_two() {
            let align = s.align;
            return wrong(format!(
                "section {name} [{index}] is aligned to {align}, expected a power of two up to {MAX_ALIGN}"
            ));
        }
        if !s.has_bytes() || s.flags.0 & COMPRESSED != 0 {
            return wrong(format!("section {name} [{index}] has no plain bytes to replace"));
        }
        s.size = data.len() as u64;
        self.contents.push((index, data));
        Ok(())
    }

    /// The offset of a section name, which is appended where the table does not have it.
    fn name(&mut self, view: &View, name: &str) -> Result<u32, Why> {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let table = self.names.as_deref().unwrap_or(&view.names);
        if let Some(at) = memchr::memmem::find(table, &text) {
            // Bounded by the size limit on name tables.
            return Ok(at as u32);
        }
        movable(view, view.names_index, ".shstrtab").or_else(|e| match e {
            Why::Loaded { .. } => Err(e),
            _ => Ok(()),
        })?;
        let table = self.names.get_or_insert_with(|| view.names.clone());
        if table.last() != Some(&0) {
            table.push(0);
        }
        let at = table.len() as u32;
        table.extend_from_slice(&text);
        self.sections[view.names_index].size = table.len() as u64;
        Ok(at)
    }

    /// For the file as it is, which shows its old contents until the flip.
    pub fn in_place(&self, view: &View) -> Result<Plan<'_>, Why> {
        self.plan(view, &view.in_use())
    }

    /// For a copy, which nobody sees before it is whole: what only the old view uses is free.
    pub fn in_copy(&self, view: &View) -> Result<Plan<'_>, Why> {
        self.plan(view, &self.kept(view))
    }

    /// Extents of the old file that the new one still uses.
    fn kept(&self, view: &View) -> Vec<Extent> {
        let moved = |i: usize| {
            self.contents.iter().any(|c| c.0 == i) || self.names.is_some() && i == view.names_index
        };
        let kept = self.sections.iter().enumerate().filter(|(i, _)| !moved(*i)).map(|(_, s)| s);
        view.used_by(kept, None)
    }

    fn plan(&self, view: &View, busy: &[Extent]) -> Result<Plan<'_>, Why> {
        let mut sections = self.sections.clone();
        // Names first: they stay when the rest is replaced, and should not divide what gets free.
        let names = self.names.iter().map(|n| (view.names_index, n.as_slice()));
        let parts: Vec<(usize, &[u8])> = names.chain(self.contents.iter().copied()).collect();

        // The blob starts at a multiple of every alignment in it, so its inside can be laid out
        // before its place is known.
        let mut align = BLOB_ALIGN;
        let mut size = 0u64;
        for &(index, data) in &parts {
            let own = sections[index].align.clamp(BLOB_ALIGN, MAX_ALIGN);
            align = align.max(own);
            size = size.next_multiple_of(own);
            sections[index].offset = size;
            size += data.len() as u64;
        }
        let table_in_blob = size.next_multiple_of(BLOB_ALIGN);
        let size = table_in_blob + sections.len() as u64 * if view.is_64 { 64 } else { 40 };

        let limit = if view.is_64 { i64::MAX as u64 } else { u64::from(u32::MAX) };
        let fits = |at: &u64| at.checked_add(size).is_some_and(|end| end <= limit);
        let Some(at) = place(busy, align, size).filter(fits) else {
            let what = format!("{size} more bytes do not fit this ELF class's offsets");
            return Err(Why::Elf { offset: Some(view.len), what });
        };
        if view.extended || sections.len() >= usize::from(elf::SHN_LORESERVE) {
            sections[0].size = sections.len() as u64;
        }
        for &(index, _) in &parts {
            sections[index].offset += at;
        }
        let parts = parts.iter().map(|&(index, data)| (sections[index].offset, data)).collect();
        let table_at = at + table_in_blob;
        let (flip_at, flip) = flip(view, table_at, sections.len());
        let kept = self.kept(view).last().map_or(0, |e| e.1);
        let (keep, end) = (kept.min(view.len), kept.max(at + size));
        Ok(Plan { at, flip_at, flip, keep, end, parts, table_at, sections })
    }
}

impl Plan<'_> {
    /// The blob's bytes.
    pub fn blob(&self, view: &View) -> Vec<u8> {
        let start = self.at;
        let mut blob =
            Vec::with_capacity((self.table_at - start) as usize + 64 * self.sections.len());
        for &(at, data) in &self.parts {
            blob.resize((at - start) as usize, 0);
            blob.extend_from_slice(data);
        }
        blob.resize((self.table_at - start) as usize, 0);
        view.encode(&self.sections, &mut blob);
        blob
    }
}

/// Refuses a section that others rely on staying where it is.
fn movable(view: &View, index: usize, name: &str) -> Result<(), Why> {
    let s = &view.sections[index];
    if view.is_loaded(s) {
        return Err(Why::Loaded { name: name.into(), index });
    }
    let refuse = |what: String| Err(Why::Elf { offset: Some(s.offset), what });
    if index == view.names_index {
        return refuse(format!("section {name} [{index}] is the section name table"));
    }
    let relocates =
        |r: &Section| [elf::SHT_REL, elf::SHT_RELA].contains(&r.kind) && r.info as usize == index;
    match view.sections.iter().position(relocates) {
        Some(r) => refuse(format!("relocations [{r}] apply to section {name} [{index}]")),
        None => Ok(()),
    }
}

/// The first place of `size` free bytes.
fn place(busy: &[Extent], align: u64, size: u64) -> Option<u64> {
    let mut free = 0u64;
    for &(start, end) in busy {
        let at = free.checked_next_multiple_of(align)?;
        if at.checked_add(size)? <= start {
            return Some(at);
        }
        free = end;
    }
    free.checked_next_multiple_of(align)
}

/// The part of the ELF header that names the section header table: from `e_shoff` to its end.
fn flip(view: &View, table_at: u64, count: usize) -> (u64, Vec<u8>) {
    let mut bytes = view.header.clone();
    let shnum = match u16::try_from(count) {
        Ok(n) if n < elf::SHN_LORESERVE && !view.extended => n,
        _ => 0,
    };
    let from = if view.is_64 {
        if let Ok((h, _)) = pod::from_bytes_mut::<elf::FileHeader64<Endianness>>(&mut bytes) {
            h.e_shoff.set(view.endian, table_at);
            h.e_shnum.set(view.endian, shnum);
        }
        std::mem::offset_of!(elf::FileHeader64<Endianness>, e_shoff)
    } else {
        if let Ok((h, _)) = pod::from_bytes_mut::<elf::FileHeader32<Endianness>>(&mut bytes) {
            h.e_shoff.set(view.endian, table_at as u32);
            h.e_shnum.set(view.endian, shnum);
        }
        std::mem::offset_of!(elf::FileHeader32<Endianness>, e_shoff)
    };
    (from as u64, bytes.split_off(from))
}

/// Whether the file says already what the edits want, but for the bytes: those are returned, as
/// (offset in the file, expected content).
pub(super) fn settled<'a>(view: &View, edits: &[Edit<'a>]) -> Option<Vec<(u64, &'a [u8])>> {
    let mut compare = Vec::new();
    for edit in edits {
        let (Edit::Put { name, data } | Edit::Replace { name, data }) = *edit else {
            if view.find(edit.name()).is_empty() {
                continue;
            }
            return None;
        };
        let &[index] = view.find(name).as_slice() else { return None };
        let s = &view.sections[index];
        let plain = s.has_bytes() && s.flags.0 & COMPRESSED == 0;
        // In a module nothing but its own sections may become part of what is loaded.
        let stray = matches!(edit, Edit::Put { .. }) && view.relocatable && s.flags.0 & ALLOC != 0;
        if !plain || stray || s.size != data.len() as u64 {
            return None;
        }
        compare.push((s.offset, data));
    }
    Some(compare)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::elf::install::common::{ALL, Elf, Scratch, named, read};

    /// The plan for `bytes`, made from a file, and its blob.
    fn with_plan(bytes: &[u8], btf: &[u8], check: impl FnOnce(Plan, Vec<u8>)) {
        let dir = Scratch::new();
        let file = File::open(dir.file("a.ko", bytes)).unwrap();
        let view = View::read(&file, bytes.len() as u64).unwrap();
        let edits = [Edit::Put { name: ".BTF", data: btf }];
        let change = Change::new(&view, &edits).unwrap();
        let plan = change.in_place(&view).unwrap();
        let blob = plan.blob(&view);
        check(plan, blob);
    }

    fn write(image: &mut Vec<u8>, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        image.resize(image.len().max(end), 0);
        image[at as usize..end].copy_from_slice(bytes);
    }

    #[test]
    fn whatever_part_of_the_blob_is_written_the_old_file_stands() {
        for (is_64, big) in ALL {
            let mut image = Elf::module(is_64, big).build();
            let mut into_gap = 0;
            for round in 0..6u8 {
                let btf = vec![round; 400 - usize::from(round)];
                with_plan(&image.clone(), &btf, |plan, blob| {
                    into_gap += usize::from(plan.at + (blob.len() as u64) < image.len() as u64);
                    let before = read(&image).unwrap();
                    for part in 0..=blob.len() {
                        // From the front, and from the back, as pages may reach a reader.
                        let mut torn = image.clone();
                        write(&mut torn, plan.at, &blob[..part]);
                        assert_eq!(read(&torn).unwrap(), before);
                        let mut torn = image.clone();
                        write(&mut torn, plan.at + part as u64, &blob[part..]);
                        assert_eq!(read(&torn).unwrap(), before);
                    }
                    write(&mut image, plan.at, &blob);
                    write(&mut image, plan.flip_at, &plan.flip);
                    assert_eq!(named(&image, ".BTF"), [btf.as_slice()]);
                    let flipped = read(&image).unwrap();
                    image.truncate(plan.end as usize);
                    assert_eq!(read(&image).unwrap(), flipped);
                });
            }
            assert!(into_gap > 0, "dead room is used again");
        }
    }

    #[test]
    fn the_first_gap_that_is_large_enough() {
        let busy = [(0, 64), (70, 100), (200, 300)];
        assert_eq!(place(&busy, 8, 6), Some(64));
        assert_eq!(place(&busy, 8, 7), Some(104));
        assert_eq!(place(&busy, 8, 96), Some(104));
        assert_eq!(place(&busy, 8, 97), Some(304));
        assert_eq!(place(&busy, 64, 73), Some(320));
        assert_eq!(place(&[], 8, 1), Some(0));
        assert_eq!(place(&[(0, u64::MAX)], 8, 1), None);
    }
}
