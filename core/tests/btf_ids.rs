//! `.BTF_ids` of files made in code: ids, sets, and the way back to the words of the linker.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use btfd_core::btf::types::info;
use btfd_core::btf::{Btf, Endian, Kind, Types};
use btfd_core::elf::Image;
use btfd_core::elf::btf_ids::{BtfIds, Earlier, IdsError, Pristine, Resolved};
use common::{ALL, Elf, Scratch};

/// A section in the making, little or big end first.
#[derive(Clone)]
struct Section {
    words: Vec<u32>,
    symbols: Vec<(String, usize, usize)>,
}

impl Section {
    fn new() -> Section {
        Section { words: vec![], symbols: vec![] }
    }

    fn id(&mut self, kind: &str, name: &str) -> &mut Section {
        let symbol = format!("__BTF_ID__{kind}__{name}__{}", 100 + self.words.len());
        self.symbols.push((symbol, self.words.len() * 4, 4));
        self.words.push(0);
        self
    }

    fn set(&mut self, name: &str, members: &[&str]) -> &mut Section {
        let at = self.words.len() * 4;
        self.symbols.push((format!("__BTF_ID__set__{name}"), at, 4 + members.len() * 4));
        self.words.push(0);
        for member in members {
            self.id("func", member);
        }
        self
    }

    fn set8(&mut self, name: &str, flags: u32, members: &[(&str, u32)]) -> &mut Section {
        let at = self.words.len() * 4;
        self.symbols.push((format!("__BTF_ID__set8__{name}"), at, 8 + members.len() * 8));
        self.words.extend([0, flags]);
        for (member, flags) in members {
            self.id("func", member);
            self.words.push(*flags);
        }
        self
    }

    /// An ELF file with this section, and with these others.
    fn build(&self, (is_64, big): (bool, bool), others: &[(&str, &[u8])]) -> Vec<u8> {
        let mut elf = Elf::empty(is_64, big);
        let put = |w: u32| if big { w.to_be_bytes() } else { w.to_le_bytes() };
        let half = |w: u16| if big { w.to_be_bytes() } else { w.to_le_bytes() };
        let bytes: Vec<u8> = self.words.iter().flat_map(|&w| put(w)).collect();
        let ids = elf.add(".BTF_ids", &bytes);
        let mut names = vec![0];
        let mut table = vec![0; if is_64 { 24 } else { 16 }];
        for (name, at, size) in &self.symbols {
            table.extend(put(names.len() as u32));
            let wide = |n: usize| match (is_64, big) {
                (true, false) => (n as u64).to_le_bytes().to_vec(),
                (true, true) => (n as u64).to_be_bytes().to_vec(),
                (false, _) => put(n as u32).to_vec(),
            };
            if is_64 {
                table.extend([1, 0]);
                table.extend(half(ids as u16));
            }
            table.extend(wide(*at));
            table.extend(wide(*size));
            if !is_64 {
                table.extend([1, 0]);
                table.extend(half(ids as u16));
            }
            names.extend(name.as_bytes());
            names.push(0);
        }
        let symtab = elf.add(".symtab", &table);
        elf.sections[symtab].kind = 2;
        elf.sections[symtab].link = symtab as u32 + 1;
        let strtab = elf.add(".strtab", &names);
        elf.sections[strtab].kind = 3;
        let note: Vec<u8> = [put(4), put(3), put(3), *b"GNU\0", *b"abc\0"].concat();
        elf.add(".note.gnu.build-id", &note);
        for (name, data) in others {
            elf.add(name, data);
        }
        elf.build()
    }
}

const BUILD_ID: &str = "616263";

/// A layer: a prototype, then these types.
fn layer(big: bool, below: Option<&Btf>, list: &[(Kind, &str)]) -> Btf {
    let endian = if big { Endian::Big } else { Endian::Little };
    let mut btf = Btf::empty(endian, below);
    let proto = btf.first_id;
    let mut types = Types::new();
    types.push(&[0, info(Kind::FuncProto, 0, false), 0]);
    for &(kind, name) in list {
        let at = btf.next_string();
        btf.strings.extend_from_slice(name.as_bytes());
        btf.strings.push(0);
        types.push(&[at, info(kind, 0, false), if kind == Kind::Func { proto } else { 0 }]);
    }
    btf.types = types;
    btf
}

fn functions(names: &[&'static str]) -> Vec<(Kind, &'static str)> {
    names.iter().map(|name| (Kind::Func, *name)).collect()
}

fn open(path: &Path) -> (Image, BtfIds) {
    let image = Image::open_path(path).unwrap();
    let symbols = image.symbols().unwrap().unwrap();
    let ids = BtfIds::read(&image, &symbols).unwrap().unwrap();
    (image, ids)
}

fn words(big: bool, bytes: &[u8]) -> Vec<u32> {
    let word = |w: &[u8]| w.try_into().unwrap();
    bytes
        .chunks(4)
        .map(|w| if big { u32::from_be_bytes(word(w)) } else { u32::from_le_bytes(word(w)) })
        .collect()
}

/// What a file's section becomes over `layers`.
fn resolve(path: &Path, layers: &[&Btf]) -> Result<Resolved, IdsError> {
    let (image, ids) = open(path);
    let pristine = ids.pristine(&image, layers.first().copied(), None)?;
    ids.resolve(&pristine.words, layers)
}

fn pristine(path: &Path, base: &Btf, earlier: Option<&Earlier>) -> Result<Pristine, IdsError> {
    let (image, ids) = open(path);
    ids.pristine(&image, Some(base), earlier)
}

/// Sets in an order that sorting changes, names in both layers, one that nobody has.
fn rich() -> Section {
    let mut section = Section::new();
    section
        .id("struct", "both")
        .set8("kfuncs", 1, &[("kf_m", 0x10), ("base_fn", 0x20), ("nowhere", 0x40), ("kf_a", 0x80)])
        .set("plain", &["kf_m", "kf_a", "kf_a"])
        .id("typedef", "a__b")
        .id("union", "kf_a")
        .set8("empty", 0, &[])
        .set8("other", 0, &[("kf_z", 7), ("kf_b", 9)]);
    section
}

const BASE: &[(Kind, &str)] = &[(Kind::Func, "base_fn"), (Kind::Struct, "both"), (Kind::Func, "x")];
const SPLIT: &[(Kind, &str)] = &[
    (Kind::Struct, "both"),
    (Kind::Func, "kf_a"),
    (Kind::Func, "kf_b"),
    (Kind::Func, "kf_m"),
    (Kind::Func, "kf_z"),
    (Kind::Typedef, "a__b"),
    (Kind::Func, "kf_m"),
];

#[test]
fn ids_of_every_class_and_byte_order() {
    for (is_64, big) in ALL {
        let dir = Scratch::new();
        let path = dir.file("a.ko", &rich().build((is_64, big), &[]));
        let base = layer(big, None, BASE);
        let split = layer(big, Some(&base), SPLIT);
        let resolved = resolve(&path, &[&base, &split]).unwrap();
        // Base: proto 1, base_fn 2, both 3, x 4. Split: proto 5, both 6, kf_a 7, b 8, m 9, z 10.
        let expected = [
            vec![3],
            vec![4, 1, 0, 0x40, 2, 0x20, 7, 0x80, 9, 0x10],
            vec![3, 7, 7, 9],
            vec![11, 0],
            vec![0, 0],
            vec![2, 0, 8, 9, 10, 7],
        ];
        assert_eq!(words(big, &resolved.words), expected.concat());
        // Not of struct both: all structs that are wanted were found when its second one came.
        let warnings = [
            ".BTF_ids: function kf_m has the ids 9 and 12; 9 is taken",
            ".BTF_ids: there is no union kf_a in the BTF; its id stays 0",
            ".BTF_ids: there is no function nowhere in the BTF; its id stays 0",
        ];
        assert_eq!(resolved.warnings, warnings);
        let (_, ids) = open(&path);
        assert_eq!(ids.build_id(), Some(BUILD_ID));
        assert!(ids.is_fresh());
        let kfuncs: Vec<_> = ids.kfuncs(ids.bytes()).collect();
        let all: [(&[u8], u32); 4] =
            [(b"kf_m", 0x10), (b"base_fn", 0x20), (b"nowhere", 0x40), (b"kf_a", 0x80)];
        assert_eq!(kfuncs, all);
    }
}

#[test]
fn resolving_again_and_again_is_resolving_once() {
    for kind in ALL {
        let dir = Scratch::new();
        let base = layer(kind.1, None, BASE);
        let fresh = rich().build(kind, &[]);
        let linked = words(kind.1, open(&dir.file("0.ko", &fresh)).1.bytes());
        let mut now = rich();
        for round in 0..6 {
            // Every round another order of functions, as after a change of the source.
            let mut list = SPLIT[..6].to_vec();
            list.rotate_left(round);
            let split = layer(kind.1, Some(&base), &list);
            let btf = split.to_bytes();
            let once = resolve(&dir.file("once.ko", &fresh), &[&base, &split]).unwrap();
            // What is in the file now was resolved over the BTF of the round before.
            let before = if round == 0 { vec![] } else { list_before(kind.1, &base, round) };
            let others: &[(&str, &[u8])] = if round == 0 { &[] } else { &[(".BTF", &before)] };
            let path = dir.file(&format!("{round}.ko"), &now.build(kind, others));
            let back = pristine(&path, &base, None).unwrap();
            assert_eq!(words(kind.1, &back.words), linked);
            assert_eq!(back.fresh, round == 0);
            let again = resolve(&path, &[&base, &split]).unwrap();
            assert_eq!(again.words, once.words);
            now.words = words(kind.1, &again.words);
            // And over the same BTF nothing changes.
            let path = dir.file("same.ko", &now.build(kind, &[(".BTF", &btf)]));
            assert_eq!(resolve(&path, &[&base, &split]).unwrap(), once);
        }
    }
}

fn list_before(big: bool, base: &Btf, round: usize) -> Vec<u8> {
    let mut list = SPLIT[..6].to_vec();
    list.rotate_left(round - 1);
    layer(big, Some(base), &list).to_bytes()
}

/// A file whose only set was resolved over `base`, with its BTF; the words of the linker.
fn resolved_over(
    base: &Btf,
    list: &[(Kind, &str)],
    members: &[(&str, u32)],
) -> (Section, Vec<u8>, Vec<u8>) {
    let mut section = Section::new();
    section.set8("set", 1, members);
    let dir = Scratch::new();
    let split = layer(false, Some(base), list);
    let path = dir.file("a.ko", &section.build((true, false), &[]));
    let linked = open(&path).1.bytes().to_vec();
    section.words = words(false, &resolve(&path, &[base, &split]).unwrap().words);
    (section, split.to_bytes(), linked)
}

const OWN: &[(&str, u32)] = &[("d", 1), ("a", 2), ("c", 3), ("b", 4)];

#[test]
fn another_base_does_not_matter_where_all_functions_are_the_modules_own() {
    let dir = Scratch::new();
    let old = layer(false, None, &functions(&["f", "g"]));
    let new = layer(false, None, &functions(&["f", "g", "h", "i"]));
    let (section, btf, linked) = resolved_over(&old, &functions(&["a", "b", "c", "d"]), OWN);
    let path = dir.file("a.ko", &section.build((true, false), &[(".BTF", &btf)]));
    for base in [&old, &new] {
        assert_eq!(
            pristine(&path, base, None).unwrap(),
            Pristine { words: linked.clone(), fresh: false }
        );
    }
    // As a distilled base: what it says counts, not the base of today.
    let others: &[(&str, &[u8])] = &[(".BTF", &btf), (".BTF.base", &old.to_bytes())];
    let path = dir.file("b.ko", &section.build((true, false), others));
    assert_eq!(pristine(&path, &new, None).unwrap().words, linked);
}

#[test]
fn what_cannot_be_known_is_refused() {
    let dir = Scratch::new();
    let old = layer(false, None, &functions(&["f", "a"]));
    let new = layer(false, None, &functions(&["f", "g", "a"]));
    let (section, btf, linked) = resolved_over(&old, &functions(&["b", "c", "d"]), OWN);
    let lost = |others: &[(&str, &[u8])], base: &Btf| {
        let path = dir.file("a.ko", &section.build((true, false), others));
        let Err(error) = pristine(&path, base, None) else { panic!("{others:?}") };
        error.to_string()
    };
    // One function is in the base.
    let path = dir.file("good.ko", &section.build((true, false), &[(".BTF", &btf)]));
    assert_eq!(pristine(&path, &old, None).unwrap().words, linked);
    assert!(lost(&[(".BTF", &btf)], &new).contains("nor this base"));
    assert!(lost(&[], &old).contains("set set cannot be told apart: the file has no .BTF"));
    assert!(lost(&[(".BTF", b"rubbish")], &old).contains("nor this base"));
    // BTF that was made later than the ids.
    let later = layer(false, Some(&old), &functions(&["d", "x", "c", "b"])).to_bytes();
    assert!(lost(&[(".BTF", &later)], &old).contains("nor this base"));

    // Words kept from the same link help, those of another do not.
    let kept = Earlier { build_id: BUILD_ID, words: &linked };
    let path = dir.file("a.ko", &section.build((true, false), &[]));
    assert_eq!(pristine(&path, &old, Some(&kept)).unwrap().words, linked);
    assert!(pristine(&path, &old, Some(&Earlier { build_id: "00", ..kept })).is_err());
    let mut other = linked.clone();
    other[12] ^= 64;
    assert!(pristine(&path, &old, Some(&Earlier { words: &other, ..kept })).is_err());
    assert!(pristine(&path, &old, Some(&Earlier { words: &other[4..], ..kept })).is_err());
}

#[test]
fn kept_words_heal_what_the_kernels_tool_does_on_its_second_run() {
    let dir = Scratch::new();
    let base = layer(false, None, &functions(&["f"]));
    let (mut section, btf, linked) = resolved_over(&base, &functions(&["a", "b", "c", "d"]), OWN);
    // It writes ids at the symbols and sorts what is there: flags go round once more.
    let ids = [("d", 7), ("a", 4), ("c", 6), ("b", 5)];
    let mut pairs: Vec<(u32, u32)> = (0..4).map(|i| (ids[i].1, section.words[3 + 2 * i])).collect();
    pairs.sort();
    let spoilt: Vec<u32> = pairs.iter().flat_map(|&(id, flags)| [id, flags]).collect();
    assert_ne!(spoilt, section.words[2..]);
    section.words.splice(2.., spoilt);
    let path = dir.file("a.ko", &section.build((true, false), &[(".BTF", &btf)]));
    let kept = Earlier { build_id: BUILD_ID, words: &linked };
    assert_eq!(pristine(&path, &base, Some(&kept)).unwrap().words, linked);
    // A link in between has its own words, and they count.
    let mut fresh = section.clone();
    fresh.words = vec![0, 1, 0, 11, 0, 12, 0, 13, 0, 14];
    let path = dir.file("b.ko", &fresh.build((true, false), &[]));
    assert_eq!(words(false, &pristine(&path, &base, Some(&kept)).unwrap().words), fresh.words);
}

#[test]
fn equal_flags_need_no_btf() {
    let dir = Scratch::new();
    let base = layer(false, None, &functions(&["a"]));
    let (section, _, linked) =
        resolved_over(&base, &functions(&["b"]), &[("b", 5), ("a", 5), ("c", 5)]);
    let path = dir.file("a.ko", &section.build((true, false), &[]));
    assert_eq!(pristine(&path, &base, None).unwrap().words, linked);
}

#[test]
fn strange_sections_are_refused_with_the_symbol() {
    let dir = Scratch::new();
    let base = layer(false, None, &functions(&["a"]));
    let symbols: &[(&str, usize, usize)] = &[
        ("__BTF_ID__func__a__1", 20, 4),
        ("__BTF_ID__func__a__1", 2, 4),
        ("__BTF_ID__func__a", 0, 4),
        ("__BTF_ID__func___1", 0, 4),
        ("__BTF_ID__enum__a__1", 0, 4),
        ("__BTF_ID__set__s", 0, 24),
        ("__BTF_ID__set__s", 0, 0),
        ("__BTF_ID__set8__s", 0, 4),
        ("__BTF_ID__set8__s", usize::MAX, 8),
    ];
    for &(name, at, size) in symbols {
        let section = Section { words: vec![0; 5], symbols: vec![(name.into(), at, size)] };
        let path = dir.file("a.ko", &section.build((true, false), &[]));
        let error = resolve(&path, &[&base]).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    let two = vec![("__BTF_ID__set__s".into(), 0, 12), ("__BTF_ID__set__t".into(), 8, 12)];
    let path =
        dir.file("a.ko", &Section { words: vec![0; 5], symbols: two }.build((true, false), &[]));
    let error = resolve(&path, &[&base]).unwrap_err().to_string();
    assert_eq!(error, ".BTF_ids: set s reaches into set t");
}

#[test]
fn without_symbols_only_zeros_pass() {
    let dir = Scratch::new();
    let base = layer(false, None, &[]);
    let stripped = |words: Vec<u32>| {
        let bytes = Section { words, symbols: vec![] }.build((true, false), &[]);
        resolve(&dir.file("a.ko", &bytes), &[&base])
    };
    assert_eq!(stripped(vec![0, 0]).unwrap().warnings.len(), 1);
    assert!(stripped(vec![0, 7]).unwrap_err().to_string().contains("stripped"));
}
