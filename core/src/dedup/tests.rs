//! The rules, each on the smallest layers that show it.

use super::table::{Growth, Lists};
use super::*;
use crate::btf::types::info;
use crate::btf::{Endian, Kind, Types};

const INT: &[u32] = &[1, info(Kind::Int, 0, false), 4, 32];
/// Name `b`, without values.
const ENUM_FWD: &[u32] = &[3, info(Kind::Enum, 0, false), 4];

fn enumeration(value: u32) -> [u32; 5] {
    [3, info(Kind::Enum, 1, false), 4, 1, value]
}

fn fwd(name: u32) -> [u32; 3] {
    [name, info(Kind::Fwd, 0, false), 0]
}

fn ptr(to: u32) -> [u32; 3] {
    [0, info(Kind::Ptr, 0, false), to]
}

/// One member, called `a`.
fn structure(name: u32, member: u32) -> [u32; 6] {
    [name, info(Kind::Struct, 1, false), 8, 1, member, 0]
}

fn layer(below: Option<&Btf>, types: &[&[u32]]) -> Btf {
    let mut btf = Btf::empty(Endian::Little, below);
    if below.is_none() {
        btf.strings = b"\0a\0b\0c\0".to_vec();
    }
    for words in types {
        btf.types.push(words);
    }
    btf
}

/// The words of each type after deduplication.
fn fold(base: Option<&[&[u32]]>, split: &[&[u32]]) -> Result<Vec<Vec<u32>>, DedupError> {
    let base = base.map(|types| Base::new(layer(None, types))).transpose()?;
    let mut split = layer(base.as_ref().map(Base::btf), split);
    dedup(base.as_ref(), &mut split)?;
    Ok(split.types.iter().map(|ty| ty.0.to_vec()).collect())
}

#[test]
fn growth_doubles_as_the_reference_table_does() {
    let mut growth = Growth::default();
    let mut lists = Lists::default();
    let mut grown_at = Vec::new();
    for id in 1..=98_304 {
        let before = growth.doublings;
        lists.insert(u64::from(id), growth.insert(id));
        if growth.doublings > before {
            grown_at.push(id);
        }
    }
    let expected = [1, 4, 7, 13, 25, 49, 97, 193, 385, 769, 1537, 3073, 6145, 12289, 24577, 49153];
    assert_eq!(grown_at, expected);
    assert_eq!(growth.capacity, 131_072);
    growth.insert(98_305);
    assert_eq!((growth.doublings, growth.capacity), (17, 262_144));
}

#[test]
fn order_of_candidates_turns_with_growth() {
    // Two full enums and fillers in the base; a forward takes the first candidate.
    let (first, second) = (enumeration(1), enumeration(2));
    let fillers: Vec<[u32; 4]> =
        (0..8).map(|n| [0, info(Kind::Int, 0, false), 100 + n, 32]).collect();
    let taken = |fillers: &[[u32; 4]]| {
        let mut base: Vec<&[u32]> = vec![&first, &second];
        base.extend(fillers.iter().map(|f| &f[..]));
        let var = [1, info(Kind::Var, 0, false), base.len() as u32 + 1, 0];
        fold(Some(&base), &[ENUM_FWD, &var]).map(|types| types[0][2])
    };
    // 2 and 3 entries: no growth since; from 4 on one more; from 7 on two.
    for (count, id) in [(0, 2), (1, 2), (2, 1), (4, 1), (5, 2), (8, 2)] {
        assert_eq!(taken(&fillers[..count]), Ok(id), "{count} fillers");
    }
}

#[test]
fn a_run_is_the_same_over_a_base_that_tries_candidates_in_its_order() {
    let (long, one, other) = ([3, INT[1], 8, 64], structure(5, 1), structure(5, 2));
    let filler = |n: u32| [0, INT[1], 100 + n, 32];
    let base = |structs: [&[u32]; 2], fillers: u32| {
        let fillers: Vec<_> = (0..fillers).map(filler).collect();
        let mut types: Vec<&[u32]> = vec![INT, &long, structs[0], structs[1]];
        types.extend(fillers.iter().map(|words| &words[..]));
        Base::new(layer(None, &types)).unwrap()
    };
    // Types of its own: copies of both structs, and some that enter the table.
    let asked = |base: &Base| {
        let own = [[0, INT[1], 50, 32], [0, INT[1], 51, 32], [0, INT[1], 52, 32]];
        let mut types: Vec<&[u32]> = vec![&one, &other];
        types.extend(own.iter().map(|words| &words[..]));
        let mut split = layer(Some(base.btf()), &types);
        dedup_and_tell(Some(base), &mut split).unwrap().1.asked
    };
    let reversed = |entries: u32| {
        let mut growth = Growth::default();
        (1..=entries).for_each(|id| _ = growth.insert(id));
        growth.reversed()
    };
    let old = base([&one, &other], 14);
    let told = asked(&old).unwrap();
    assert_eq!((told.rows.len(), told.inserted), (1, 3));
    let mut kept = 0;
    for fillers in 0..60 {
        let new = base([&one, &other], fillers);
        // A run whose table doubles does not tell what it asked.
        let keeps = asked(&new).is_some() && reversed(4 + fillers) == reversed(18);
        assert_eq!(new.keeps_order(&old, &told, Some), keeps, "{fillers} more types");
        let swapped = base([&other, &one], fillers);
        let swap = |id| Some(if let 3 | 4 = id { 7 - id } else { id });
        let keeps = asked(&swapped).is_some() && reversed(4 + fillers) != reversed(18);
        assert_eq!(swapped.keeps_order(&old, &told, swap), keeps, "{fillers} more types, swapped");
        kept += u32::from(keeps);
    }
    assert!((10..50).contains(&kept), "{kept}");
}

#[test]
fn enum_forward_of_the_base_follows_the_full_one() {
    let full = enumeration(7);
    let var = [1, info(Kind::Var, 0, false), 1, 0];
    let types = fold(Some(&[ENUM_FWD]), &[&full, &var]).unwrap();
    assert_eq!(types, [full.to_vec(), vec![1, info(Kind::Var, 0, false), 2, 0]]);
}

#[test]
fn base_forward_is_bound_on_first_contact() {
    // Base: struct b { struct c *a; } with c only declared, twice under other names.
    let (c, to_c) = (fwd(5), ptr(1));
    let (b, a) = (structure(3, 2), structure(1, 2));
    let base: [&[u32]; 4] = [&c, &to_c, &b, &a];
    // The split knows c. The first struct is repeated, the second folds.
    let split: [&[u32]; 4] =
        [&[5, info(Kind::Struct, 0, false), 0], &ptr(5), &structure(3, 6), &structure(1, 6)];
    let types = fold(Some(&base), &split).unwrap();
    assert_eq!(types.len(), 3);
    assert_eq!(types[2], structure(3, 6));
}

#[test]
fn errors_say_which_types() {
    let unknown: &[u32] = &[0, 40 << 24, 0];
    let error = DedupError::UnknownKind { id: 2, kind: 40 };
    assert_eq!(fold(None, &[INT, unknown]), Err(error.clone()));
    assert_eq!(fold(Some(&[INT, unknown]), &[]), Err(error.clone()));
    assert_eq!(error.errno_name(), "EINVAL");

    let loop_error = fold(None, &[INT, &ptr(3), &ptr(2)]).unwrap_err();
    assert_eq!(loop_error, DedupError::Loop { id: 2 });
    assert_eq!(loop_error.errno_name(), "ELOOP");

    // Both structs have a variable as member.
    let var: &[u32] = &[1, info(Kind::Var, 0, false), 1, 0];
    let split: [&[u32]; 5] = [INT, var, var, &structure(3, 2), &structure(3, 3)];
    let error = DedupError::Incomparable { candidate: 3, canonical: 2, kind: "VAR" };
    assert_eq!(fold(None, &split), Err(error.clone()));
    // Nameless ones, where labels could have kept them apart.
    let split: [&[u32]; 5] = [INT, var, var, &structure(0, 2), &structure(0, 3)];
    assert_eq!(fold(None, &split), Err(error));
}

#[test]
fn a_base_that_repeats_its_types_costs_and_is_no_error() {
    // Every typedef leads to an end of its own, through pointers: each is compared with each.
    let chains = |first: u32, count: u32, size: u32| {
        let mut types = Vec::new();
        for _ in 0..count {
            let end = first + types.len() as u32;
            types.push(vec![1, info(Kind::Float, 0, false), size]);
            types.extend((0..99).map(|i| ptr(end + i).to_vec()));
            types.push(vec![3, info(Kind::Typedef, 0, false), end + 99]);
        }
        types
    };
    let (below, split) = (chains(1, 1_000, 4), chains(101_001, 150, 8));
    let base: Vec<&[u32]> = below.iter().map(Vec::as_slice).collect();
    let split: Vec<&[u32]> = split.iter().map(Vec::as_slice).collect();
    let types = fold(Some(&base), &split).unwrap();
    assert_eq!(types.len(), 101);
}

#[test]
fn layers_must_continue() {
    let base = Base::new(layer(None, &[INT])).unwrap();
    let mut alone = layer(None, &[INT]);
    let error = dedup(Some(&base), &mut alone).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the split layer begins at type id 1 and string offset 0, expected 2 and 7"
    );
    assert_eq!(alone, layer(None, &[INT]), "refused before anything is touched");
    let mut split = layer(Some(base.btf()), &[]);
    assert!(dedup(None, &mut split).is_err());
    assert!(Base::new(split.clone()).is_err());
    assert!(Base::from_layers(vec![]).is_err());
    let base = Base::from_layers(vec![layer(None, &[INT]), split]).unwrap();
    assert_eq!(base.btf().next_id(), 2);
}

#[test]
fn reintern_takes_names_from_the_base_and_drops_unused_ones() {
    let base = Base::new(layer(None, &[INT])).unwrap();
    let mut split = layer(Some(base.btf()), &[]);
    split.strings = b"unused\0xb\0a\0\0".to_vec();
    let at = |offset: u32| split.first_string + offset;
    let mut types = Types::new();
    // `b` inside `xb`, the base's `a`, an empty string, `xb` itself.
    for name in [at(8), at(10), at(12), at(7)] {
        types.push(&[name, info(Kind::Float, 0, false), 4]);
    }
    split.types = types;
    reintern(Some(&base), &mut split).unwrap();
    let names: Vec<u32> = split.types.iter().map(|ty| ty.name()).collect();
    assert_eq!(names, [3, 1, 0, 7]);
    assert_eq!(split.strings, b"xb\0");
}

#[test]
fn a_base_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Base>();
}
