//! Input made to cost far more than its size: memory stays in proportion, and there is an end.
//!
//! Each case is small, and was or would be gigabytes or hours to a reader that believes what files
//! say. Memory is counted by the allocator; that a test ends at all is what is said of time.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use btfd_core::btf::dump::{Format, dump};
use btfd_core::btf::types::{MAX_VLEN, info};
use btfd_core::btf::verify::verify;
use btfd_core::btf::{Btf, Endian, Kind};
use btfd_core::dedup::reintern;
use btfd_core::elf::Image;
use btfd_core::encode::{EncodeError, Encoded, Features, IdsWish, encode};
use common::{Elf, Scratch};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One after the other, so that each is counted alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Does the work; asserts that it took no more than so many MiB beside what there was.
fn within<T>(mib: usize, work: impl FnOnce() -> T) -> T {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let peak = (PEAK.load(Relaxed) - before) >> 20;
    assert!(peak <= mib, "{peak} MiB, expected at most {mib}");
    result
}

fn uleb(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A unit of DWARF 5 with these bytes of DIEs, whose abbreviations stand at an offset.
fn unit(abbreviations: usize, dies: &[u8]) -> Vec<u8> {
    let mut out = ((8 + dies.len()) as u32).to_le_bytes().to_vec();
    out.extend([5, 0, 1, 8]);
    out.extend((abbreviations as u32).to_le_bytes());
    out.extend(dies);
    out
}

/// An abbreviation: its code, tag, whether DIEs have children, and attributes with their forms.
fn abbreviation(code: usize, tag: usize, children: bool, attributes: &[(u8, u8)]) -> Vec<u8> {
    let mut out = [uleb(code), uleb(tag), vec![children.into()]].concat();
    out.extend(attributes.iter().flat_map(|&(name, form)| [name, form]));
    out.extend([0, 0]);
    out
}

/// A module of these debug sections and these symbols of functions.
fn module(sections: &[(&str, &[u8])], functions: &[u8], names: &[u8]) -> Vec<u8> {
    let mut elf = Elf::empty(true, false);
    let text = elf.add(".text", &[0x90; 64]);
    elf.sections[text].flags = 6;
    let symtab = elf.add(".symtab", functions);
    elf.sections[symtab].kind = 2;
    elf.sections[symtab].link = symtab as u32 + 1;
    let strtab = elf.add(".strtab", names);
    elf.sections[strtab].kind = 3;
    for (name, data) in sections {
        elf.add(name, data);
    }
    elf.build()
}

fn symbol(name: usize) -> Vec<u8> {
    let mut out = (name as u32).to_le_bytes().to_vec();
    out.extend([2, 0, 1, 0]);
    out.extend([0; 16]);
    out
}

/// Encodes a file with everything that pahole's users switch on.
fn encoded(bytes: &[u8]) -> Result<Encoded, EncodeError> {
    let scratch = Scratch::new();
    let path = scratch.file("bomb.ko", bytes);
    let mut features = Features::default();
    for name in ["var", "float", "decl_tag", "type_tag", "enum64", "consistent_func"] {
        assert!(features.enable(name));
    }
    encode(&Image::open_path(&path)?, None, &features, 1, &IdsWish::default())
}

fn refused(result: Result<Encoded, EncodeError>, why: &str) {
    match result {
        Ok(made) => panic!("{} types", made.btf.types.len()),
        Err(error) => assert!(error.to_string().contains(why), "{error}"),
    }
}

const CU: usize = 0x11;

#[test]
fn units_that_share_an_abbreviation_table() {
    // With codes that leave out a million others.
    let mut table = abbreviation(1, CU, false, &[]);
    table.extend(abbreviation(1 << 20, CU, false, &[]));
    table.extend((2..2000).flat_map(|code| abbreviation(code, 0x24, false, &[])));
    table.push(0);
    let info: Vec<u8> = (0..20_000).flat_map(|_| unit(0, &[1])).collect();
    let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbol(0), b"\0");
    within(100, || encoded(&file)).unwrap();
}

#[test]
fn units_that_begin_everywhere_in_one_table() {
    let one = abbreviation(1, CU, false, &[]);
    let table = [one.repeat(20_000), vec![0]].concat();
    let info: Vec<u8> = (0..20_000).flat_map(|n| unit(n * one.len(), &[1])).collect();
    let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbol(0), b"\0");
    refused(within(100, || encoded(&file)), "malformed DWARF");
}

#[test]
fn names_that_share_the_end_of_a_long_one() {
    // 20,000 structs whose names are each one byte shorter than the last.
    let named = abbreviation(2, 0x13, false, &[(0x03, 0x0e), (0x0b, 0x0b)]);
    let table = [abbreviation(1, CU, true, &[]), named, vec![0]].concat();
    let count = 20_000;
    let structs = |at: usize| [&[2][..], &(at as u32).to_le_bytes(), &[4]].concat();
    let dies = [vec![1], (0..count).flat_map(structs).collect(), vec![0]].concat();
    let info = unit(0, &dies);
    for (len, why) in [(90_000, "malformed DWARF"), (8000, "names take")] {
        let mut strings: Vec<u8> = (0..90_000).map(|n| b'a' + (n % 23) as u8).collect();
        (len..strings.len()).step_by(len).for_each(|end| strings[end] = 0);
        *strings.last_mut().unwrap() = 0;
        let sections: [(&str, &[u8]); 3] =
            [(".debug_info", &info), (".debug_abbrev", &table), (".debug_str", &strings)];
        let result = within(400, || encoded(&module(&sections, &symbol(0), b"\0")));
        refused(result, why);
    }
}

#[test]
fn names_far_outside_their_section() {
    let named = abbreviation(2, 0x13, false, &[(0x03, 0x0e), (0x0b, 0x0b)]);
    let table = [abbreviation(1, CU, true, &[]), named, vec![0]].concat();
    for at in [u32::MAX, u32::MAX - 1, 1 << 31, 1] {
        let info = unit(0, &[&[1, 2][..], &at.to_le_bytes(), &[4, 0]].concat());
        let sections: [(&str, &[u8]); 3] =
            [(".debug_info", &info), (".debug_abbrev", &table), (".debug_str", b"\0")];
        let result = within(100, || encoded(&module(&sections, &symbol(0), b"\0")));
        refused(result, "malformed DWARF");
    }
}

#[test]
fn bitfield_in_storage_beyond_all_memory() {
    let int = abbreviation(2, 0x24, false, &[(0x03, 0x08), (0x0b, 0x0b), (0x3e, 0x0b)]);
    let outer = abbreviation(3, 0x13, true, &[(0x03, 0x08), (0x0b, 0x0b)]);
    // Its storage, DW_AT_byte_size, takes eight bytes.
    let fields = [(0x49, 0x13), (0x0b, 0x07), (0x0c, 0x0b), (0x0d, 0x0b), (0x38, 0x0b)];
    let member = abbreviation(4, 0x0d, false, &fields);
    let table = [abbreviation(1, CU, true, &[]), int, outer, member, vec![0]].concat();
    for storage in [1u64 << 61, u64::MAX] {
        let bits = [&[4][..], &13u32.to_le_bytes(), &storage.to_le_bytes(), &[1, 3, 0]].concat();
        let dies = [&[1, 2, b'i', 0, 4, 5, 3, b's', 0, 4][..], &bits, &[0, 0]].concat();
        let info = unit(0, &dies);
        let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbol(0), b"\0");
        refused(within(100, || encoded(&file)), "a bitfield at bit");
    }
}

#[test]
fn references_that_look_like_ids() {
    // Above 2 GiB, words that will become type ids mean something else than offsets of DIEs.
    let pointer = abbreviation(2, 0x0f, false, &[(0x49, 0x13)]);
    let array = abbreviation(3, 0x01, false, &[(0x49, 0x13)]);
    let table = [abbreviation(1, CU, true, &[]), pointer, array, vec![0]].concat();
    for to in [u32::MAX, u32::MAX - 12, 1 << 31, 1 << 31 | 1, 1 << 31 | 2, 0xb800_0002] {
        let dies = [&[1, 2][..], &to.to_le_bytes(), &[3], &to.to_le_bytes(), &[0]].concat();
        let info = unit(0, &dies);
        let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbol(0), b"\0");
        let made = within(100, || encoded(&file)).unwrap();
        let pointers: Vec<u32> = made.btf.types.iter().map(|ty| ty.size_or_type()).collect();
        assert_eq!(pointers[0], 0, "{to:#x} is nowhere, which is void");
        assert_eq!(made.btf.types.get(1).payload()[0], 0);
    }
}

#[test]
fn symbols_that_share_the_end_of_a_long_name() {
    let count = 50_000;
    let names = [vec![b'f'; 2 * count], vec![0]].concat();
    let symbols: Vec<u8> = (0..count).flat_map(symbol).collect();
    let table = [abbreviation(1, CU, false, &[]), vec![0]].concat();
    let info = unit(0, &[1]);
    let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbols, &names);
    refused(within(100, || encoded(&file)), "a symbol's name is longer");
}

#[test]
fn sections_that_share_the_end_of_a_long_name() {
    let mut elf = Elf::empty(true, false);
    elf.add(&"n".repeat(200_000), b"");
    for _ in 0..20_000 {
        elf.add("", b"");
    }
    let mut bytes = elf.build();
    // All of them begin somewhere in the long name.
    let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    for n in 2..20_000 {
        let at = 200_000 - 10 * n as u32;
        bytes[table + n * 64..][..4].copy_from_slice(&at.max(1).to_le_bytes());
    }
    refused(within(100, || encoded(&bytes)), "no DWARF");
}

#[test]
fn sections_that_inflate_a_thousandfold() {
    let zeros = vec![0; 80 << 20];
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&zeros).unwrap();
    let data = zlib.finish().unwrap();
    let header = |kind: u32, size: u64| {
        [&kind.to_le_bytes()[..], &[0; 4], &size.to_le_bytes(), &1u64.to_le_bytes()].concat()
    };
    // True, a lie, and a lie that would be more than there is.
    for size in [zeros.len() as u64, 4096, 3 << 30, u64::MAX] {
        for kind in [1, 2, 3] {
            let mut elf = Elf::empty(true, false);
            let symtab = elf.add(".symtab", &symbol(0));
            elf.sections[symtab].kind = 2;
            elf.sections[symtab].link = symtab as u32 + 1;
            let strtab = elf.add(".strtab", b"\0");
            elf.sections[strtab].kind = 3;
            let info = elf.add(".debug_info", &[header(kind, size), data.clone()].concat());
            elf.sections[info].flags = 0x800;
            refused(within(160, || encoded(&elf.build())), "section .debug_info: ");
        }
    }
}

#[test]
fn relocations_of_one_place_many_times() {
    let table = [abbreviation(1, CU, false, &[]), vec![0]].concat();
    let info = unit(0, &[1]);
    let mut elf = Elf::empty(true, false);
    let symtab = elf.add(".symtab", &symbol(0));
    elf.sections[symtab].kind = 2;
    elf.sections[symtab].link = symtab as u32 + 1;
    let strtab = elf.add(".strtab", b"\0");
    elf.sections[strtab].kind = 3;
    let info = elf.add(".debug_info", &info);
    elf.add(".debug_abbrev", &table);
    let first = elf.add(".rela.debug_info", &[0; 24 * 10_000]);
    (elf.sections[first].kind, elf.sections[first].info) = (4, info as u32);
    for _ in 0..10_000 {
        let more = elf.add("", b"");
        (elf.sections[more].kind, elf.sections[more].info) = (4, info as u32);
    }
    let mut bytes = elf.build();
    let headers = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let place: Vec<u8> = bytes[headers + first * 64 + 24..][..16].to_vec();
    for n in first..first + 10_000 {
        bytes[headers + n * 64 + 24..][..16].copy_from_slice(&place);
    }
    refused(within(100, || encoded(&bytes)), "its relocations are larger than the file");
}

#[test]
fn nesting_without_end() {
    // Structs in structs and blocks in blocks, a byte each.
    for tag in [0x13, 0x0b, 0x2e, 0x15, 0x0f] {
        let deeper = abbreviation(2, tag, true, &[]);
        let table = [abbreviation(1, CU, true, &[]), deeper, vec![0]].concat();
        let dies = [vec![1], vec![2; 1 << 18]].concat();
        let info = unit(0, &dies);
        let file = module(&[(".debug_info", &info), (".debug_abbrev", &table)], &symbol(0), b"\0");
        within(400, || encoded(&file)).unwrap();
    }
}

#[test]
fn one_list_for_all_parameters() {
    let parameter = abbreviation(3, 0x05, false, &[(0x02, 0x17)]);
    let function = abbreviation(2, 0x2e, true, &[]);
    let table = [abbreviation(1, CU, true, &[]), function, parameter, vec![0]].concat();
    let one = [&[2][..], &[3, 12, 0, 0, 0], &[0]].concat();
    let dies = [vec![1], one.repeat(10_000), vec![0]].concat();
    // Base addresses, each an entry that says nothing yet.
    let list = [vec![0; 12], [&[6][..], &[0; 8]].concat().repeat(20_000)].concat();
    let info = unit(0, &dies);
    let sections: [(&str, &[u8]); 3] =
        [(".debug_info", &info), (".debug_abbrev", &table), (".debug_loclists", &list)];
    let result = within(100, || encoded(&module(&sections, &symbol(0), b"\0")));
    refused(result, "a location list that others had");
}

#[test]
fn layouts_are_not_worked_out_again() {
    // A chain of qualifiers, and variables of the type at its end; then structs within structs, and
    // functions that take one on the stack.
    let chain = abbreviation(2, 0x26, false, &[(0x49, 0x13)]);
    let variable = abbreviation(3, 0x34, false, &[(0x03, 0x08), (0x49, 0x13), (0x02, 0x18)]);
    let outer = abbreviation(4, 0x13, true, &[(0x03, 0x08), (0x0b, 0x0b)]);
    let member = abbreviation(5, 0x0d, false, &[(0x49, 0x13), (0x38, 0x0b)]);
    let function = abbreviation(6, 0x2e, true, &[(0x03, 0x08)]);
    let parameter = abbreviation(7, 0x05, false, &[(0x03, 0x08), (0x49, 0x13)]);
    let table =
        [abbreviation(1, CU, true, &[]), chain, variable, outer, member, function, parameter];
    let table = [table.concat(), vec![0]].concat();
    let mut dies = vec![1];
    let mut last = 0u32;
    let offset = |dies: &[u8]| dies.len() as u32 + 12;
    let define = |dies: &mut Vec<u8>, code: u8, ty: u32| {
        let at = offset(dies);
        dies.extend([code, b'a', 0]);
        dies.extend(ty.to_le_bytes());
        at
    };
    for _ in 0..3_000 {
        let at = offset(&dies);
        dies.push(2);
        dies.extend(last.to_le_bytes());
        last = at;
    }
    for _ in 0..3_000 {
        define(&mut dies, 3, last);
        dies.extend([9, 0x03, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
    let mut inner = last;
    for size in 0..=255 {
        let at = offset(&dies);
        dies.extend([4, b's', 0, size]);
        for _ in 0..8 {
            dies.push(5);
            dies.extend(inner.to_le_bytes());
            dies.push(0);
        }
        dies.push(0);
        inner = at;
    }
    for _ in 0..3_000 {
        dies.extend([6, b'f', 0]);
        for _ in 0..8 {
            define(&mut dies, 7, inner);
        }
        dies.push(0);
    }
    dies.push(0);
    let info = unit(0, &dies);
    let sections: [(&str, &[u8]); 2] = [(".debug_info", &info), (".debug_abbrev", &table)];
    let result = within(400, || encoded(&module(&sections, &symbol(1), b"\0f\0")));
    assert!(result.is_ok() || result.is_err());
}

fn layer(strings: &[u8]) -> Btf {
    let mut btf = Btf::empty(Endian::Little, None);
    btf.strings = strings.to_vec();
    btf
}

#[test]
fn counts_that_btf_does_not_have() {
    for kind in (1..20).filter_map(Kind::from_u32) {
        for vlen in [MAX_VLEN, 0xffff, 1 << 20] {
            let mut btf = layer(b"\0a\0");
            btf.types.push(&[1, info(kind, vlen, false), 4]);
            let bytes = btf.to_bytes();
            within(1, || {
                let _ = Btf::parse(&bytes, None);
                let _ = Btf::parse_alone(&bytes);
                assert!(!verify(&bytes, None).is_empty());
            });
        }
    }
    // Sections that are larger than the blob.
    let mut bytes = layer(b"\0").to_bytes();
    for at in [4, 8, 12, 16, 20] {
        let old: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        bytes[at..at + 4].copy_from_slice(&[0xfc, 0xff, 0xff, 0xff]);
        within(1, || assert!(Btf::parse(&bytes, None).is_err()));
        bytes[at..at + 4].copy_from_slice(&old);
    }
}

#[test]
fn types_that_share_the_end_of_a_long_name() {
    let count = 50_000;
    for len in [count, 5000, 1000] {
        let mut strings: Vec<u8> = (0..=count).map(|n| b'a' + (n % 23) as u8).collect();
        (0..=count).step_by(len).for_each(|end| strings[end] = 0);
        *strings.last_mut().unwrap() = 0;
        let mut btf = layer(&strings);
        for n in 0..count as u32 {
            btf.types.push(&[n, info(Kind::Fwd, 0, false), 0]);
        }
        let bytes = btf.to_bytes();
        within(500, || {
            let Ok(mut btf) = Btf::parse(&bytes, None) else { return };
            assert!(!verify(&bytes, None).is_empty());
            for format in [Format::Raw, Format::Json, Format::C] {
                let _ = dump(&btf, None, format);
            }
            let _ = reintern(None, &mut btf);
        });
    }
}
