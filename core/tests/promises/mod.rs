//! What must hold whatever the bytes: no panic, and results that stand up to a second look.
//!
//! Fuzzing calls these with bytes that it finds out about, tests with random and crafted ones.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sound;

pub use sound::{dedup_is_sound, same_types};

use crate::common;
use crate::random;
use crate::scripts::dwarf;
use btfd_core::btf::distill::distill;
use btfd_core::btf::dump::{Format, dump};
use btfd_core::btf::find::find;
use btfd_core::btf::permute::{permute, sort_by_name};
use btfd_core::btf::relocate::relocate;
use btfd_core::btf::verify::{verify, verify_distilled};
use btfd_core::btf::{Btf, Endian};
use btfd_core::dedup::{Base, dedup, reintern};
use btfd_core::dwarf::Debug;
use btfd_core::elf::btf_ids::BtfIds;
use btfd_core::elf::install::{Edit, Outcome, Stamp, Way, install_sections};
use btfd_core::elf::{Image, Symbols};
use btfd_core::encode::{
    Encoded, Features, IdsWish, encode, encode_and_keep, encode_exactly, resolve_ids,
};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A file without a name.
pub fn opened(bytes: &[u8]) -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("input", flags).unwrap());
    file.write_all(bytes).unwrap();
    file
}

/// All features, or none.
pub fn features(all: bool) -> Features {
    let mut features = Features::default();
    if all {
        for name in [
            "encode_force",
            "var",
            "float",
            "decl_tag",
            "type_tag",
            "enum64",
            "consistent_func",
            "decl_tag_kfuncs",
            "global_var",
            "attributes",
            "layout",
        ] {
            assert!(features.enable(name));
        }
    }
    features
}

/// A small base of each byte order, made of what [`dwarf::module`] writes.
pub fn base(endian: Endian) -> &'static Base {
    static BASES: OnceLock<[Base; 2]> = OnceLock::new();
    let bases = BASES.get_or_init(|| {
        [false, true].map(|big| {
            let image = Image::open(opened(&dwarf::base(big))).unwrap();
            let made = encode(&image, None, &features(true), 1, &IdsWish::default());
            let made = made.unwrap_or_else(|error| panic!("the base: {error}"));
            assert!(made.btf.types.len() > 30, "{} types", made.btf.types.len());
            Base::new(made.btf).unwrap()
        })
    });
    &bases[usize::from(endian == Endian::Big)]
}

/// ELF and what is installed into it.
pub fn elf(bytes: &[u8]) {
    let Ok(image) = Image::open(opened(bytes)) else {
        return refuses(bytes);
    };
    for section in &image.sections {
        let _ = image.read(section);
    }
    if let Ok(Some(symbols)) = image.symbols() {
        for symbol in symbols.iter() {
            symbols.name(symbol);
        }
        let _ = Debug::load(&image, &symbols);
        ids(&image, &symbols);
    }
    installed(bytes);
}

fn ids(image: &Image, symbols: &Symbols) {
    let base = base(image.endian).btf();
    let Ok(Some(ids)) = BtfIds::read(image, symbols) else { return };
    let Ok(pristine) = ids.pristine(image, Some(base), None) else { return };
    assert_eq!(pristine.words.len(), ids.bytes().len());
    let Ok(resolved) = ids.resolve(&pristine.words, &[base]) else { return };
    assert_eq!(resolved.words.len(), ids.bytes().len());
    let again = ids.resolve(&pristine.words, &[base]).map(|r| r.words);
    assert_eq!(again.ok().as_ref(), Some(&resolved.words));
    let _ = resolve_ids(image, Some(base), &Btf::empty(image.endian, Some(base)), None);
}

/// A file that is on disk for a moment.
struct OnDisk(PathBuf);

impl OnDisk {
    fn new(bytes: &[u8]) -> OnDisk {
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id());
        let path = dir.join(format!("btfd-promise-{}-{thread}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        OnDisk(path)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What cannot be read cannot be written to, and stays.
fn refuses(bytes: &[u8]) {
    let file = OnDisk::new(bytes);
    let stamp = Stamp::of_path(&file.0).unwrap();
    let edits = [Edit::Put { name: ".BTF", data: b"new" }];
    if install_sections(&file.0, &edits, &stamp, Way::Auto).is_err() {
        assert!(std::fs::read(&file.0).unwrap() == bytes, "a refused file was changed");
    }
}

/// After an install the file has the new section, and all others as before.
fn installed(bytes: &[u8]) {
    let file = OnDisk::new(bytes);
    let before = common::read(bytes);
    for (round, data) in [&b"some bytes of BTF"[..], &[7; 300], b""].into_iter().enumerate() {
        let stamp = Stamp::of_path(&file.0).unwrap();
        let edits = [Edit::Put { name: ".BTF", data }, Edit::Remove { name: ".BTF.base" }];
        let way = if round == 1 { Way::Copy } else { Way::Auto };
        match install_sections(&file.0, &edits, &stamp, way) {
            Err(_) => {
                if round == 0 {
                    assert!(std::fs::read(&file.0).unwrap() == bytes, "a refused file was changed");
                }
                return;
            }
            Ok(done) => {
                assert_eq!(done.stamp, Stamp::of_path(&file.0).unwrap());
                let now = std::fs::read(&file.0).unwrap();
                let (Ok(before), Ok(after)) = (&before, common::read(&now)) else { continue };
                let ours = |s: &&common::Seen| s.name == ".BTF" || s.name == ".BTF.base";
                let live = |s: &&common::Seen| s.kind != 0;
                let new: Vec<_> = after.iter().filter(live).filter(ours).collect();
                assert_eq!(new.len(), 1);
                assert_eq!(new[0].data, data);
                for (i, old) in before.iter().enumerate() {
                    let is_table = after[i].size != old.size;
                    // A section may claim the ELF header, which is what an install changes.
                    let is_table = is_table || old.offset < 64;
                    if !ours(&old) && old.kind != 0 && old.kind != 8 && !is_table {
                        assert_eq!(after[i].data, old.data, "section {i}");
                    }
                }
                assert!(done.outcome == Outcome::Written || round != 0 || !new.is_empty());
            }
        }
    }
}

/// A whole file, encoded over a small base.
pub fn encoded(bytes: &[u8]) {
    let Ok(image) = Image::open(opened(bytes)) else { return };
    let base = base(image.endian);
    let over = made(&image, Some(base), &features(true));
    if bytes.len().is_multiple_of(4) {
        made(&image, None, &features(false));
        let distilled = Features { distilled_base: true, ..features(true) };
        made(&image, Some(base), &distilled);
    }
    if bytes.len().is_multiple_of(8) {
        let wish = IdsWish { resolve: true, earlier: None };
        let threads = encode(&image, Some(base), &features(true), 3, &wish).ok();
        assert_eq!(threads.map(|made| made.to_bytes()), over, "threads decide the bytes");
    }
    told_by_identity(&image, base);
}

/// Whether types are told by their identity or the exact engine sees them all decides nothing.
fn told_by_identity(image: &Image, base: &Base) {
    let wish = IdsWish { resolve: true, earlier: None };
    let features = features(true);
    for below in [Some(base), None] {
        let exactly = encode_exactly(image, below, &features, 1, &wish).ok();
        let told = match below {
            Some(base) => encode_and_keep(image, base, &features, 1, &wish).ok(),
            None => encode(image, None, &features, 1, &wish).ok(),
        };
        let [told, exactly] = [told, exactly].map(|made| made.map(|made| made.to_bytes()));
        assert_eq!(told, exactly, "over a base: {}", below.is_some());
    }
}

fn made(image: &Image, base: Option<&Base>, features: &Features) -> Option<Vec<u8>> {
    let wish = IdsWish { resolve: true, earlier: None };
    let made: Encoded = match encode(image, base, features, 1, &wish) {
        Ok(made) => made,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 100_000, "{} bytes of message", text.len());
            return None;
        }
    };
    let bytes = made.to_bytes();
    let lower = made.base.as_ref().or(base.map(Base::btf));
    let read = Btf::parse(&bytes, lower).expect("what is encoded can be read");
    assert_eq!(read, made.btf);
    let _ = verify(&bytes, lower);
    for format in [Format::Raw, Format::C, Format::Json] {
        let _ = dump(&read, lower, format);
    }
    if let (Some(below), Some(base)) = (&made.base, base) {
        let _ = verify_distilled(&bytes, &below.to_bytes(), Some(base.btf()));
        if let Ok(onto) = relocate(&made.btf, below, base.btf()) {
            assert_eq!(Btf::parse(&onto.to_bytes(), Some(base.btf())).as_ref(), Ok(&onto));
        }
    }
    Some(bytes)
}

/// What a file has of its own.
pub fn alone(bytes: &[u8]) -> Option<Vec<u8>> {
    let image = Image::open(opened(bytes)).ok()?;
    made(&image, None, &features(true))
}

/// Bytes that may be BTF: a length, a base of that length, and a layer on top.
pub fn btf(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
    let (lower, upper) = rest.split_at(len);
    let Ok(lower) = checked(lower, None) else { return };
    if upper.is_empty() {
        return layer(&lower, None);
    }
    if let Ok(upper) = checked(upper, Some(&lower)) {
        layer(&upper, Some(&lower));
    }
}

/// Layers that hold together, as a script says.
pub fn graph(script: &[u8]) {
    let layers = random::layers_from(&mut random::Rng::scripted(script), 4);
    let (top, lower) = layers.split_last().expect("a layer");
    let mut whole: Option<Btf> = None;
    for layer in lower {
        match &mut whole {
            Some(whole) => whole.append_layer(layer),
            None => whole = Some(layer.clone()),
        }
    }
    layer(top, whole.as_ref());
    dedup_is_sound(top, whole.as_ref());
    if let Some(base) = &whole {
        there_and_back(top, base);
    }
}

/// What stands on the distilled part of a base stands on the base again as before: its own types
/// come first, and what it took along says what it said in the base.
fn there_and_back(top: &Btf, base: &Btf) {
    let Ok(made) = distill(top, base) else { return };
    let Ok(onto) = relocate(&made.split, &made.base, base) else { return };
    same_types(top, &onto, base);
}

/// Reads what the kernel would take, and perhaps more.
fn checked(bytes: &[u8], base: Option<&Btf>) -> Result<Btf, ()> {
    let problems = verify(bytes, base);
    let _ = Btf::parse_alone(bytes);
    match Btf::parse(bytes, base) {
        Ok(btf) => {
            let again = Btf::parse(&btf.to_bytes(), base);
            if btf.types.iter().all(|t| t.kind().is_some()) {
                assert_eq!(again.as_ref(), Ok(&btf), "bytes round trip");
            }
            Ok(btf)
        }
        Err(error) => {
            assert!(!problems.is_empty(), "verify would take it, reading does not: {error}");
            Err(())
        }
    }
}

/// Everything that is done with a layer.
fn layer(top: &Btf, base: Option<&Btf>) {
    let known = top.types.iter().all(|t| t.kind().is_some());
    for format in [Format::Raw, Format::C, Format::Json] {
        let _ = dump(top, base, format);
    }
    let layers: Vec<&Btf> = base.into_iter().chain([top]).collect();
    for name in [&b"a"[..], b"", b"list_head", b"void"] {
        if let Some(id) = find(&layers, name, None) {
            assert!(id < top.next_id());
        }
    }
    renumbered(top, base, known);
    if let Some(base) = base
        && let Ok(made) = distill(top, base)
    {
        let lower = Btf::parse(&made.base.to_bytes(), None).expect("a distilled base is read");
        assert_eq!(lower, made.base);
        let upper =
            Btf::parse(&made.split.to_bytes(), Some(&lower)).expect("so is what stands on it");
        assert_eq!(upper, made.split);
        let _ = verify_distilled(&made.split.to_bytes(), &made.base.to_bytes(), Some(base));
        if let Ok(onto) = relocate(&upper, &lower, base) {
            assert_eq!(Btf::parse(&onto.to_bytes(), Some(base)).as_ref(), Ok(&onto));
        }
    }
    let folded = || {
        let base = base.map(|base| Base::new(base.clone())).transpose().ok()?;
        let mut top = top.clone();
        reintern(base.as_ref(), &mut top).expect("layers continue");
        dedup(base.as_ref(), &mut top).ok().map(|_| top)
    };
    if let Some(once) = folded() {
        assert_eq!(
            Btf::parse(&once.to_bytes(), base).as_ref(),
            Ok(&once),
            "ids and names are valid"
        );
        assert_eq!(folded().as_ref(), Some(&once), "deterministic");
    }
}

/// Sorted and put back.
fn renumbered(top: &Btf, base: Option<&Btf>, known: bool) {
    let mut sorted = top.clone();
    sort_by_name(&mut sorted, base);
    assert_eq!(sorted.types.len(), top.types.len());
    if !known {
        return;
    }
    assert_eq!(Btf::parse(&sorted.to_bytes(), base).map(|_| ()), Ok(()), "sorted");
    // Backwards, twice.
    let (first, next) = (top.first_id, top.next_id());
    let mut map: Vec<u32> = (first..next).rev().collect();
    if first == 1 {
        map.insert(0, 0);
    }
    let mut there = top.clone();
    if permute(&mut there, &map).is_ok() {
        let back = permute(&mut there, &map);
        assert!(back.is_ok() && there == *top, "renumbered there and back");
    }
}
