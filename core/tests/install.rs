//! What `elf::install` makes of a file, and what it refuses.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use btfd_core::elf::install::{
    Edit, InstallError, Outcome, Stamp, Way, Why, install, install_sections, write_detached,
};
use common::{ALL, Elf, MARKER, Scratch, Sec, contents, field, named, read};

fn put(path: &Path, btf: &[u8]) -> Result<Outcome, InstallError> {
    install(path, btf, &Stamp::of_path(path).unwrap())
}

fn put_by(path: &Path, btf: &[u8], way: Way) -> Result<Outcome, InstallError> {
    let edits = [Edit::Put { name: ".BTF", data: btf }, Edit::Remove { name: ".BTF.base" }];
    install_sections(path, &edits, &Stamp::of_path(path).unwrap(), way).map(|done| done.outcome)
}

/// Everything but the sections named keeps index, name and bytes.
fn assert_rest_same(before: &[u8], after: &[u8], changed: &[&str]) {
    let (before, after) = (read(before).unwrap(), read(after).unwrap());
    assert!(after.len() >= before.len());
    for (i, (b, a)) in before.iter().zip(&after).enumerate() {
        if changed.contains(&b.name.as_str()) {
            continue;
        }
        if b.name == ".shstrtab" {
            assert!(a.data.starts_with(&b.data), "section {i}");
        } else {
            assert_eq!(b, a, "section {i}");
        }
    }
}

#[test]
fn a_module_without_btf_gets_one_in_every_class_and_order_and_way() {
    for (is_64, big) in ALL {
        for way in [Way::Auto, Way::Copy] {
            let dir = Scratch::new();
            let old = Elf::module(is_64, big).build();
            let path = dir.file("a.ko", &old);
            let ino = fs::metadata(&path).unwrap().ino();
            assert_eq!(put_by(&path, b"first", way).unwrap(), Outcome::Written);
            let new = contents(&path);
            assert_rest_same(&old, &new, &[]);
            let sections = read(&new).unwrap();
            assert_eq!(sections.len(), read(&old).unwrap().len() + 1);
            let btf = sections.last().unwrap();
            assert_eq!((btf.name.as_str(), btf.kind, btf.flags, btf.align), (".BTF", 1, 0, 1));
            assert_eq!(btf.data, b"first");
            assert_eq!(fs::metadata(&path).unwrap().ino() == ino, way == Way::Auto);

            assert_eq!(put_by(&path, b"second, longer", way).unwrap(), Outcome::Written);
            let newer = contents(&path);
            assert_rest_same(&new, &newer, &[".BTF"]);
            assert_eq!(named(&newer, ".BTF"), [b"second, longer"]);
            assert_eq!(read(&newer).unwrap().len(), sections.len());
            assert_eq!(dir.names(), ["a.ko"]);
        }
    }
}

#[test]
fn the_same_bytes_write_nothing() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    put(&path, b"types").unwrap();
    let stamp = Stamp::of_path(&path).unwrap();
    // Not even a read-only file is in the way.
    let held = File::open(&path).unwrap();
    assert_eq!(put(&path, b"types").unwrap(), Outcome::Unchanged);
    assert_eq!(Stamp::of_path(&path).unwrap(), stamp);
    drop(held);
    assert_eq!(put(&path, b"typos").unwrap(), Outcome::Written);
    assert_ne!(Stamp::of_path(&path).unwrap(), stamp);
}

#[test]
fn an_empty_btf_is_a_section_without_bytes() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, true).build());
    put(&path, b"").unwrap();
    assert_eq!(named(&contents(&path), ".BTF"), [b""]);
    assert_eq!(put(&path, b"").unwrap(), Outcome::Unchanged);
}

#[test]
fn an_existing_section_keeps_its_index_and_duplicates_and_a_stale_base_go() {
    for (is_64, big) in ALL {
        let dir = Scratch::new();
        let mut elf = Elf::module(is_64, big);
        let first = elf.add(".BTF", b"stale");
        let base = elf.add(".BTF.base", b"base");
        elf.add(".note", b"between");
        let second = elf.add(".BTF", b"duplicate");
        let third = elf.add(".BTF", b"again");
        elf.add(".BTF.ext", b"not ours");
        let old = elf.build();
        let path = dir.file("a.ko", &old);
        put(&path, b"fresh").unwrap();
        let new = contents(&path);
        assert_rest_same(&old, &new, &[".BTF", ".BTF.base"]);
        let sections = read(&new).unwrap();
        assert_eq!(sections.len(), read(&old).unwrap().len());
        assert_eq!(sections[first].data, b"fresh");
        for i in [base, second, third] {
            let s = &sections[i];
            assert_eq!((s.name.as_str(), s.kind, s.size, s.flags), ("", 0, 0, 0));
        }
        assert_eq!(put(&path, b"fresh").unwrap(), Outcome::Unchanged);
    }
}

#[test]
fn an_equal_btf_beside_a_stale_base_or_a_duplicate_is_not_unchanged() {
    for extra in [".BTF.base", ".BTF"] {
        let dir = Scratch::new();
        let mut elf = Elf::module(true, false);
        elf.add(".BTF", b"same");
        elf.add(extra, b"same");
        let path = dir.file("a.ko", &elf.build());
        assert_eq!(put(&path, b"same").unwrap(), Outcome::Written);
        assert_eq!(named(&contents(&path), ".BTF"), [b"same"]);
        assert!(named(&contents(&path), ".BTF.base").is_empty());
    }
}

#[test]
fn a_name_that_the_table_has_is_used_again() {
    let dir = Scratch::new();
    let mut elf = Elf::module(true, false);
    elf.add(".rodata.BTF", b"its tail is our name");
    let old = elf.build();
    let path = dir.file("a.ko", &old);
    put(&path, b"types").unwrap();
    let (old, new) = (read(&old).unwrap(), read(&contents(&path)).unwrap());
    assert_eq!(new.last().unwrap().name, ".BTF");
    assert_eq!(new[old.len() - 1], old[old.len() - 1], "the name table");
}

#[test]
fn several_sections_change_in_one_step() {
    for way in [Way::Auto, Way::Copy] {
        let dir = Scratch::new();
        let old = Elf::module(true, true).build();
        let path = dir.file("a.ko", &old);
        let ids = [7u8; 24];
        let edits = [
            Edit::Put { name: ".BTF", data: b"types" },
            Edit::Put { name: ".BTF.base", data: b"distilled" },
            Edit::Replace { name: ".BTF_ids", data: &ids },
        ];
        let stamp = Stamp::of_path(&path).unwrap();
        let done = install_sections(&path, &edits, &stamp, way).unwrap();
        assert_eq!(done.outcome, Outcome::Written);
        assert_eq!(done.stamp, Stamp::of_path(&path).unwrap());
        let new = contents(&path);
        assert_rest_same(&old, &new, &[".BTF_ids"]);
        let (was, is) = (&read(&old).unwrap()[4], &read(&new).unwrap()[4]);
        assert_eq!((was.kind, was.flags, was.align), (is.kind, is.flags, is.align));
        assert_eq!(is.offset % 4, 0);
        assert_eq!(named(&new, ".BTF_ids"), [ids]);
        assert_eq!(named(&new, ".BTF"), [b"types"]);
        assert_eq!(named(&new, ".BTF.base"), [b"distilled"]);
        let again = install_sections(&path, &edits, &done.stamp, way).unwrap();
        assert_eq!(
            again,
            btfd_core::elf::install::Installed { outcome: Outcome::Unchanged, ..done }
        );
    }
}

#[test]
fn a_section_to_replace_must_be_there_once() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    let stamp = Stamp::of_path(&path).unwrap();
    let edit = |edits: &[Edit]| install_sections(&path, edits, &stamp, Way::Auto).unwrap_err();
    let error = edit(&[Edit::Replace { name: ".nothing", data: b"" }]).to_string();
    assert!(error.ends_with("0 sections .nothing, expected exactly one to replace"), "{error}");
    let twice = Edit::Put { name: ".BTF", data: b"" };
    assert!(edit(&[twice, twice]).to_string().contains("each name once"));
    assert!(
        edit(&[Edit::Replace { name: ".shstrtab", data: b"" }]).to_string().contains("name table")
    );
    assert_eq!(Stamp::of_path(&path).unwrap(), stamp);
}

#[test]
fn a_kernel_image_gets_a_section_outside_its_segments_and_a_loaded_one_is_refused() {
    for (is_64, big) in ALL {
        for kind in [2, 3] {
            let dir = Scratch::new();
            let mut elf = Elf::module(is_64, big);
            elf.kind = kind;
            elf.sections[1].addr = 0x10000;
            elf.segments.push((1, 0x10000));
            let old = elf.build();
            let path = dir.file("vmlinux", &old);
            put(&path, b"types").unwrap();
            put(&path, b"other types").unwrap();
            let new = contents(&path);
            assert_rest_same(&old, &new, &[]);
            assert_eq!(named(&new, ".BTF"), [b"other types"]);
            let text = read(&old).unwrap()[1].offset as usize;
            let head = field(is_64, "e_shoff");
            assert_eq!(new[..head], old[..head]);
            let body = if is_64 { 64 } else { 52 };
            assert_eq!(new[body..text + 777], old[body..text + 777]);

            let btf = elf.add(".BTF", b"loaded");
            elf.sections[btf].flags = 2;
            elf.sections[btf].addr = 0x20000;
            elf.segments.push((btf, 0x20000));
            let path = dir.file("vmlinux", &elf.build());
            let before = contents(&path);
            assert_eq!(put(&path, b"loaded").unwrap(), Outcome::Unchanged);
            let error = put(&path, b"types").unwrap_err();
            assert!(matches!(error.why, Why::Loaded { .. }), "{error}");
            assert!(error.hint().is_some());
            assert_eq!(contents(&path), before);
        }
    }
}

#[test]
fn tens_of_thousands_of_sections() {
    for (is_64, n) in [(true, 70_000), (false, 70_000), (true, 0xfefe), (true, 0xfeff)] {
        let dir = Scratch::new();
        let mut elf = Elf::module(is_64, false);
        let one =
            Sec { name: ".s".into(), kind: 1, align: 1, data: b"x".to_vec(), ..Sec::default() };
        elf.sections.resize(n - 1, one);
        let old = elf.build();
        let path = dir.file("a.ko", &old);
        for btf in [&b"types"[..], b"more types"] {
            put(&path, btf).unwrap();
            let new = read(&contents(&path)).unwrap();
            assert_eq!(new.len(), n + 1);
            assert_eq!((new[n].name.as_str(), new[n].data.as_slice()), (".BTF", btf));
        }
        assert_rest_same(&old, &contents(&path), &[]);
    }
}

#[test]
fn a_thousand_installs_do_not_make_the_file_grow() {
    for (name, size) in [("small", 100usize), ("large", 300_000)] {
        for way in [Way::Auto, Way::Copy] {
            let dir = Scratch::new();
            let path = dir.file(name, &Elf::module(true, false).build());
            let mut largest = 0;
            for round in 0..1000u32 {
                let btf = vec![round as u8; size + (round as usize * 7) % 64];
                put_by(&path, &btf, way).unwrap();
                largest = largest.max(fs::metadata(&path).unwrap().len());
            }
            let bytes = contents(&path);
            assert_eq!(named(&bytes, ".BTF")[0].len(), size + (999 * 7) % 64);
            // Two tails at most lie dead, or what the bound for copying allows.
            let fair = 8_000 + size as u64 + (64 << 10).max(size as u64 / 8);
            assert!(largest <= fair, "{name} {way:?}: {largest} > {fair}");
        }
    }
}

#[test]
fn dead_bytes_behind_the_last_section_are_used_or_cut() {
    let dir = Scratch::new();
    let mut bytes = Elf::module(true, false).build();
    let len = bytes.len();
    bytes.resize(len + 5_000, 0xee);
    let path = dir.file("a.ko", &bytes);
    put(&path, b"types").unwrap();
    assert!(fs::metadata(&path).unwrap().len() < len as u64 + 2_000);
    assert_eq!(named(&contents(&path), ".BTF"), [b"types"]);
}

#[test]
fn other_hard_links_keep_the_old_bytes() {
    let dir = Scratch::new();
    let old = Elf::module(true, false).build();
    let path = dir.file("a.ko", &old);
    fs::hard_link(&path, dir.0.join("b.ko")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let label = rustix::fs::setxattr(&path, "user.note", b"kept", rustix::fs::XattrFlags::empty());
    put(&path, b"types").unwrap();
    assert_eq!(contents(&dir.0.join("b.ko")), old);
    assert_eq!(named(&contents(&path), ".BTF"), [b"types"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o4751);
    if label.is_ok() {
        let mut value = [0u8; 16];
        assert_eq!(rustix::fs::getxattr(&path, "user.note", &mut value[..]).unwrap(), 4);
        assert_eq!(&value[..4], b"kept");
    }
    assert_eq!(dir.names(), ["a.ko", "b.ko"]);
}

#[test]
fn a_symbolic_link_stays_one() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    let link = dir.0.join("link.ko");
    symlink("a.ko", &link).unwrap();
    for way in [Way::Auto, Way::Copy] {
        put_by(&link, format!("{way:?}").as_bytes(), way).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(named(&contents(&path), ".BTF"), [format!("{way:?}").as_bytes()]);
    }
    assert_eq!(dir.names(), ["a.ko", "link.ko"]);
}

#[test]
fn a_path_needs_not_be_text() {
    let dir = Scratch::new();
    let name = std::ffi::OsString::from_vec(b"b\xffd\n.ko".to_vec());
    let path = dir.0.join(name);
    fs::write(&path, Elf::module(true, false).build()).unwrap();
    assert_eq!(put(&path, b"types").unwrap(), Outcome::Written);
    assert_eq!(put_by(&path, b"again", Way::Copy).unwrap(), Outcome::Written);
    fs::write(&path, b"no ELF").unwrap();
    let error = put(&path, b"types").unwrap_err().to_string();
    assert!(error.contains("b\u{fffd}d\u{fffd}.ko: offset 0x0: starts with"), "{error}");
}

#[test]
fn an_open_file_is_busy_and_stays_as_it_is() {
    let dir = Scratch::new();
    let old = Elf::module(true, false).build();
    let path = dir.file("a.ko", &old);
    let held = File::open(&path).unwrap();
    let error = put(&path, b"types").unwrap_err();
    assert!(error.is_busy() && error.hint().is_some(), "{error}");
    assert_eq!(contents(&path), old);
    // A copy can do without: who reads the old file goes on reading it.
    assert_eq!(put_by(&path, b"types", Way::Copy).unwrap(), Outcome::Written);
    assert_eq!(held.metadata().unwrap().len(), old.len() as u64);
    drop(held);
    assert_eq!(put(&path, b"other").unwrap(), Outcome::Written);
}

#[test]
fn another_file_under_the_name_is_never_written() {
    for way in [Way::Auto, Way::Copy] {
        let dir = Scratch::new();
        let old = Elf::module(true, false).build();
        let path = dir.file("a.ko", &old);
        let stamp = Stamp::of_path(&path).unwrap();
        let edits = [Edit::Put { name: ".BTF", data: b"types" }];
        let refused = || {
            let error = install_sections(&path, &edits, &stamp, way).unwrap_err();
            assert!(error.is_superseded() && error.hint().is_some(), "{error}");
        };
        let newer = dir.file("newer", &old);
        fs::rename(&newer, &path).unwrap();
        refused();
        assert_eq!(contents(&path), old);
        fs::remove_file(&path).unwrap();
        refused();
        assert!(dir.names().is_empty());
    }
}

#[test]
fn what_is_no_unsigned_whole_elf_file_is_refused() {
    for (is_64, big) in ALL {
        let whole = Elf::module(is_64, big).build();
        let dir = Scratch::new();
        let refused = |bytes: &[u8], expected: &str| {
            let path = dir.file("a.ko", bytes);
            let stamp = Stamp::of_path(&path).unwrap();
            let error = install(&path, b"types", &stamp).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
            assert_eq!(contents(&path), bytes);
            assert_eq!(Stamp::of_path(&path).unwrap(), stamp);
        };
        refused(b"", "starts with []");
        refused(b"#!/bin/sh\n", "expected 7f 45 4c 46");
        refused(&whole[..40], "too short for an ELF header");
        let n = whole.len();
        refused(&whole[..n - 1], "section header table of");
        refused(&whole[..n / 2], "section header 0 of");
        let mut signed = whole.clone();
        signed.extend_from_slice(b"pkcs7");
        signed.extend_from_slice(MARKER);
        refused(&signed, "module signature appended");

        let mut early = Elf::module(is_64, big);
        early.sections[2].align = 1;
        let patched = |at: usize, byte: u8, len: usize| {
            let mut bytes = whole.clone();
            bytes[at..at + len].fill(byte);
            bytes
        };
        refused(&patched(4, 3, 1), "ELF class");
        refused(&patched(5, 3, 1), "byte order 3");
        refused(&patched(16, 0, 2), "ELF type 0");
        let word = if is_64 { 8 } else { 4 };
        refused(&patched(field(is_64, "e_shoff"), 0, word), "no section header table");
        refused(&patched(field(is_64, "e_shoff"), 0xff, 4), "beyond");
        refused(&patched(field(is_64, "e_shentsize"), 1, 2), "section headers of 257 bytes");
        refused(&patched(field(is_64, "e_shnum"), 0, 2), "0 sections");
        refused(&patched(field(is_64, "e_shstrndx"), 0, 2), "holds no section names");
        refused(&patched(field(is_64, "e_shstrndx"), 0xff, 2), "holds no section names");
    }
}

#[test]
fn a_section_that_reaches_beyond_the_file_is_refused() {
    let dir = Scratch::new();
    let elf = Elf::module(true, false);
    let mut bytes = elf.build();
    let at = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    // sh_size of .data
    bytes[at + 2 * 64 + 32..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let path = dir.file("a.ko", &bytes);
    let error = put(&path, b"types").unwrap_err().to_string();
    assert!(error.contains("section [2] of 18446744073709551615 bytes reaches beyond"), "{error}");
}

#[test]
fn relocated_btf_is_refused() {
    let dir = Scratch::new();
    let mut elf = Elf::module(true, false);
    let btf = elf.add(".BTF", b"types");
    let rela = elf.add(".rela.BTF", &[0; 24]);
    elf.sections[rela].kind = 4;
    elf.sections[rela].info = btf as u32;
    let path = dir.file("a.ko", &elf.build());
    let error = put(&path, b"other").unwrap_err().to_string();
    assert!(error.contains("relocations [8] apply to section .BTF [7]"), "{error}");
}

#[test]
fn a_directory_and_a_device_are_refused() {
    let dir = Scratch::new();
    let error = put(&dir.0, b"types").unwrap_err();
    assert!(error.to_string().ends_with("is a directory, expected a regular file"), "{error}");
    let error = put(Path::new("/dev/null"), b"types").unwrap_err();
    assert!(matches!(error.why, Why::NotRegular(_)), "{error}");
}

#[test]
fn hostile_headers_never_panic() {
    for (is_64, big) in [ALL[0], ALL[3]] {
        let dir = Scratch::new();
        let mut elf = Elf::module(is_64, big);
        elf.add(".BTF", b"stale");
        elf.kind = 3;
        elf.sections[1].addr = 64;
        elf.segments.push((1, 64));
        let whole = elf.build();
        let table = whole.len() - (elf.sections.len() + 1) * if is_64 { 64 } else { 40 };
        let header = if is_64 { 64 + 56 } else { 52 + 32 };
        for at in (0..header).chain(table..whole.len()) {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let path = dir.file("a.ko", &bytes);
                let readable = read(&bytes).is_ok();
                if put(&path, b"types").is_ok() && readable {
                    assert_eq!(named(&contents(&path), ".BTF"), [b"types"], "{at} {byte:#x}");
                }
            }
        }
        for len in 0..whole.len() {
            let path = dir.file("a.ko", &whole[..len]);
            assert!(put(&path, b"types").is_err());
        }
    }
}

#[test]
fn a_detached_file_is_replaced_whole() {
    let dir = Scratch::new();
    let path = dir.0.join("a.ko.BTF.1");
    write_detached(&path, b"types").unwrap();
    let plain = dir.file("plain", b"");
    assert_eq!(fs::metadata(&path).unwrap().mode(), fs::metadata(plain).unwrap().mode());
    let reader = contents(&path);
    write_detached(&path, b"x").unwrap();
    assert_eq!((reader.as_slice(), contents(&path).as_slice()), (&b"types"[..], &b"x"[..]));

    symlink("a.ko.BTF.1", dir.0.join("link")).unwrap();
    write_detached(&dir.0.join("link"), b"through").unwrap();
    assert_eq!(contents(&path), b"through");
    write_detached(Path::new("/dev/null"), b"types").unwrap();

    let error = write_detached(&dir.0, b"types").unwrap_err().to_string();
    assert!(error.ends_with("is a directory, expected a regular file"), "{error}");
    let error = write_detached(&dir.0.join("no/where"), b"types").unwrap_err().to_string();
    assert!(error.contains("cannot create a file in the directory: No such file"), "{error}");
    let error = write_detached(&path.join("x"), b"types").unwrap_err().to_string();
    assert!(error.contains("Not a directory"), "{error}");
    assert_eq!(dir.names(), ["a.ko.BTF.1", "link", "plain"]);
}
