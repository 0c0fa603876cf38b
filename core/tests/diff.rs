//! Comparison of graphs: what must come out empty, and edits that must be found exactly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod random;

use btfd_core::btf::types::info;
use btfd_core::btf::{Btf, Endian, Kind, Types, permute::permute};
use btfd_core::diff::{Change, DiffError, Fate, Graph, Index, What, diff};
use random::{Rng, layers};

fn whole(layers: &[Btf]) -> Btf {
    let mut all = layers[0].clone();
    layers[1..].iter().for_each(|layer| all.append_layer(layer));
    all
}

fn alone(old: &Btf, new: &Btf) -> Result<Vec<Change>, DiffError> {
    diff(Graph { btf: old, base: None }, Graph { btf: new, base: None }, true)
}

/// Ids of a layer in another order, without void.
fn shuffled(rng: &mut Rng, btf: &Btf) -> Vec<u32> {
    let mut ids: Vec<u32> = (btf.first_id..btf.next_id()).collect();
    for i in (1..ids.len()).rev() {
        ids.swap(i, rng.below(i + 1));
    }
    ids
}

#[test]
fn nothing_changed_however_it_is_numbered_or_split() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 0..3000 {
        let rng = &mut Rng::new(seed ^ 0xd1ff);
        let layers = layers(seed, 3);
        let all = whole(&layers);
        let Ok(same) = alone(&all, &all) else {
            refused += 1; // nameless types in a circle
            continue;
        };
        assert_eq!(same, [], "seed {seed}: against itself");
        let mut other = all.clone();
        let map: Vec<u32> = std::iter::once(0).chain(shuffled(rng, &all)).collect();
        permute(&mut other, &map).unwrap();
        assert_eq!(alone(&all, &other).unwrap(), [], "seed {seed}: renumbered");
        if let Some((top, lower)) = layers.split_last().filter(|(_, lower)| !lower.is_empty()) {
            let lower = whole(lower);
            let index = Index::new(&lower, None);
            let base = Some((&lower, &index));
            let mut other = top.clone();
            permute(&mut other, &shuffled(rng, top)).unwrap();
            let (old, new) = (Graph { btf: top, base }, Graph { btf: &other, base });
            assert_eq!(diff(old, new, true).unwrap(), [], "seed {seed}: split, renumbered");
            assert_eq!(diff(old, new, false).unwrap(), [], "seed {seed}: as of two bases");

            // Everything moved into the base: nothing is left, nothing changed.
            let index = Index::new(&all, None);
            let empty = Btf::empty(Endian::Little, Some(&all));
            let moved = Graph { btf: &empty, base: Some((&all, &index)) };
            let gone = diff(old, moved, false).unwrap();
            let gone: Vec<_> = gone.iter().filter(|c| !c.name.starts_with('{')).collect();
            assert!(gone.is_empty(), "seed {seed}: moved to the base: {gone:?}");
            let back = diff(moved, old, false).unwrap();
            let back: Vec<_> = back.iter().filter(|c| !c.name.starts_with('{')).collect();
            assert!(back.is_empty(), "seed {seed}: moved from the base: {back:?}");
        }
        compared += 1;
    }
    assert!(compared > 2000 && refused < 900, "{compared} compared, {refused} refused");
}

#[test]
fn both_directions_agree_and_every_change_has_a_reason() {
    for seed in 0..3000 {
        let (a, b) = (whole(&layers(seed, 3)), whole(&layers(seed ^ 1, 3)));
        let (Ok(there), Ok(back)) = (alone(&a, &b), alone(&b, &a)) else { continue };
        let count = |changes: &[Change], fate| changes.iter().filter(|c| c.fate == fate).count();
        assert_eq!(count(&there, Fate::Added), count(&back, Fate::Removed), "seed {seed}");
        assert_eq!(count(&there, Fate::Removed), count(&back, Fate::Added), "seed {seed}");
        assert_eq!(count(&there, Fate::Changed), count(&back, Fate::Changed), "seed {seed}");
        for change in there.iter().filter(|c| c.fate == Fate::Changed) {
            assert!(!change.details.is_empty(), "seed {seed}: {change:?}");
        }
    }
}

/// A type of a made-up program. References are indexes into its ints and structs.
#[derive(Clone, Debug)]
enum Thing {
    /// Members: name, which type, by pointer or not.
    Struct(String, Vec<(String, usize, bool)>),
    Enum(String, Vec<(String, u32)>),
    /// Parameters: name, which type.
    Func(String, Vec<(String, usize)>),
}

const INTS: [(&str, u32); 3] = [("u8", 1), ("u32", 4), ("u64", 8)];

/// Words of the program in an order of its own, as C would lay it out without alignment.
fn build(things: &[Thing]) -> Btf {
    let mut btf = Btf::empty(Endian::Little, None);
    let mut strings = vec![0];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let mut types = Types::new();
    for (int, size) in INTS {
        types.push(&[name(int), info(Kind::Int, 0, false), size, size * 8]);
    }
    for target in 1..=INTS.len() as u32 {
        types.push(&[0, info(Kind::Ptr, 0, false), target]);
    }
    for thing in things {
        match thing {
            Thing::Struct(own, members) => {
                let (mut at, mut words) = (0, Vec::new());
                for (member, which, pointer) in members {
                    let id = *which as u32 + 1 + if *pointer { INTS.len() as u32 } else { 0 };
                    words.extend([name(member), id, at * 8]);
                    at += if *pointer { 8 } else { INTS[*which].1 };
                }
                let head = [name(own), info(Kind::Struct, members.len() as u32, false), at];
                types.push(&[&head[..], &words].concat());
            }
            Thing::Enum(own, values) => {
                let words: Vec<u32> = values.iter().flat_map(|(n, v)| [name(n), *v]).collect();
                let head = [name(own), info(Kind::Enum, values.len() as u32, false), 4];
                types.push(&[&head[..], &words].concat());
            }
            Thing::Func(own, params) => {
                let words: Vec<u32> =
                    params.iter().flat_map(|(n, t)| [name(n), *t as u32 + 1]).collect();
                let head = [0, info(Kind::FuncProto, params.len() as u32, false), 2];
                let proto = types.push(&[&head[..], &words].concat()) as u32 + 1;
                types.push(&[name(own), info(Kind::Func, 0, false), proto]);
            }
        }
    }
    btf.types = types;
    btf.strings = strings;
    btf
}

fn program(rng: &mut Rng) -> Vec<Thing> {
    (0..3 + rng.below(20))
        .map(|i| match rng.below(3) {
            0 => Thing::Struct(
                format!("s{i}"),
                (0..2 + rng.below(6))
                    .map(|j| (format!("m{j}"), rng.below(3), rng.percent(40)))
                    .collect(),
            ),
            1 => Thing::Enum(
                format!("e{i}"),
                (0..2 + rng.below(5)).map(|j| (format!("E{i}_{j}"), 10 * j as u32)).collect(),
            ),
            _ => Thing::Func(
                format!("f{i}"),
                (0..1 + rng.below(4)).map(|j| (format!("p{j}"), rng.below(3))).collect(),
            ),
        })
        .collect()
}

/// One edit, and what it must be told as; sorts that follow from it are left out here.
fn edit(rng: &mut Rng, thing: &mut Thing) -> (String, What, String) {
    match thing {
        Thing::Struct(own, members) => {
            let at = rng.below(members.len());
            let name = members[at].0.clone();
            let (what, name) = match rng.below(4) {
                0 => {
                    members.insert(at, ("fresh".into(), 2, false));
                    (What::MemberAdded, "fresh".into())
                }
                1 => {
                    members.remove(at);
                    (What::MemberRemoved, name)
                }
                2 => {
                    members[at].0 = "renamed".into();
                    (What::MemberRenamed, "renamed".into())
                }
                _ => {
                    members[at].1 = (members[at].1 + 1) % 3;
                    (What::MemberRetyped, name)
                }
            };
            (own.clone(), what, name)
        }
        Thing::Enum(own, values) => {
            let at = rng.below(values.len());
            let name = values[at].0.clone();
            let (what, name) = match rng.below(4) {
                0 => {
                    values.insert(at, ("FRESH".into(), 777));
                    (What::ValueAdded, "FRESH".into())
                }
                1 => {
                    values.remove(at);
                    (What::ValueRemoved, name)
                }
                2 => {
                    values[at].0 = "RENAMED".into();
                    (What::ValueRenamed, "RENAMED".into())
                }
                _ => {
                    values[at].1 += 1;
                    (What::ValueChanged, name)
                }
            };
            (own.clone(), what, name)
        }
        Thing::Func(own, params) => {
            let at = rng.below(params.len());
            let name = params[at].0.clone();
            let (what, name) = match rng.below(4) {
                0 => {
                    params.insert(at, ("fresh".into(), 2));
                    (What::ParamAdded, "fresh".into())
                }
                1 => {
                    params.remove(at);
                    (What::ParamRemoved, name)
                }
                2 => {
                    params[at].0 = "renamed".into();
                    (What::ParamRenamed, "renamed".into())
                }
                _ => {
                    params[at].1 = (params[at].1 + 1) % 3;
                    (What::ParamRetyped, name)
                }
            };
            (own.clone(), what, name)
        }
    }
}

/// What an edit of the first members does to those behind them.
fn follows(what: What) -> bool {
    use What::*;
    matches!(what, Size | MemberMoved | CrossingAdded | CrossingRemoved)
}

#[test]
fn one_edit_is_found_exactly() {
    for seed in 0..3000 {
        let rng = &mut Rng::new(seed);
        let before = program(rng);
        let mut after = before.clone();
        let which = rng.below(after.len());
        let (thing, what, name) = edit(rng, &mut after[which]);
        // Ids and order of the definitions change as well.
        let turn = rng.below(after.len());
        after.rotate_left(turn);
        let changes = alone(&build(&before), &build(&after)).unwrap();
        let said: Vec<_> = changes.iter().map(|c| (&c.name, c.fate)).collect();
        assert_eq!(said, [(&thing, Fate::Changed)], "seed {seed}: {what:?} {name}");
        let direct: Vec<_> = changes[0]
            .details
            .iter()
            .filter(|d| !follows(d.what))
            .map(|d| (d.what, d.name.clone()))
            .collect();
        assert_eq!(direct, [(what, name)], "seed {seed}: {:?}", before[which]);
    }
}
