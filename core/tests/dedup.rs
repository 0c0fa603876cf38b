//! What deduplication promises whatever the input: random layers and crafted ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;

use btfd_core::btf::types::info;
use btfd_core::btf::{Btf, Endian, Kind, Types};
use btfd_core::dedup::{Base, DedupError, Stats, dedup, reintern};

fn fold(layers: &[Btf]) -> Result<Btf, DedupError> {
    counted(layers).map(|(top, _)| top)
}

fn counted(layers: &[Btf]) -> Result<(Btf, Stats), DedupError> {
    let (top, lower) = layers.split_last().expect("a layer");
    let base = match lower {
        [] => None,
        lower => Some(Base::from_layers(lower.to_vec())?),
    };
    let mut top = top.clone();
    reintern(base.as_ref(), &mut top)?;
    let stats = dedup(base.as_ref(), &mut top)?;
    Ok((top, stats))
}

#[test]
fn random_layers_keep_the_invariants() {
    let mut folded = 0;
    for seed in 0..3_000 {
        let layers = random::layers(seed, 6);
        let (top, lower) = layers.split_last().expect("a layer");
        let mut whole: Option<Btf> = None;
        for layer in lower {
            match &mut whole {
                Some(whole) => whole.append_layer(layer),
                None => whole = Some(layer.clone()),
            }
        }
        let base = whole.map(|whole| Base::new(whole).expect("known kinds"));
        let before = base.as_ref().map(|base| base.btf().clone());
        let parsed = Btf::parse(&top.to_bytes(), before.as_ref()).expect("generated BTF parses");
        assert_eq!(&parsed, top, "seed {seed}: bytes round trip");

        let mut once = top.clone();
        reintern(base.as_ref(), &mut once).expect("layers continue");
        let strings = once.strings.clone();
        let stats = match dedup(base.as_ref(), &mut once) {
            Ok(stats) => stats,
            Err(e) => {
                let errno = e.errno_name();
                assert!(errno == "ELOOP" || errno == "EINVAL", "seed {seed}: {e}");
                continue;
            }
        };
        folded += 1;
        assert_eq!(once.strings, strings, "seed {seed}: strings stay");
        assert_eq!(base.as_ref().map(|base| base.btf().clone()), before, "seed {seed}: base");
        assert_eq!(stats.types_in as usize, top.types.len());
        assert_eq!(stats.types_out as usize, once.types.len());
        assert!(once.types.len() <= top.types.len(), "seed {seed}: grew");
        let read = Btf::parse(&once.to_bytes(), before.as_ref());
        assert_eq!(read.as_ref(), Ok(&once), "seed {seed}: every id and name is valid");
        for kind in [Kind::Var, Kind::Datasec] {
            let count = |btf: &Btf| btf.types.iter().filter(|t| t.kind() == Some(kind)).count();
            assert_eq!(count(&once), count(top), "seed {seed}: {} are never merged", kind.name());
        }
        // The same base again, and a base of the same layers built anew.
        assert_eq!(fold(&layers).as_ref(), Ok(&once), "seed {seed}: deterministic");
    }
    assert!(folded > 1_500, "only {folded} of 3000 could be folded");
}

#[test]
fn one_base_serves_many_threads() {
    let layers = (0..).map(|seed| random::layers(seed, 6)).find(|layers| layers.len() == 2);
    let layers = layers.expect("a base and a split");
    let expected = fold(&layers);
    let base = Base::new(layers[0].clone()).expect("known kinds");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut split = layers[1].clone();
                let result =
                    reintern(Some(&base), &mut split).and_then(|()| dedup(Some(&base), &mut split));
                assert_eq!(result.map(|_| split), expected);
            });
        }
    });
}

/// A stand-alone layer of these types.
fn alone(types: impl IntoIterator<Item = Vec<u32>>) -> Btf {
    let mut btf = Btf {
        endian: Endian::Little,
        first_id: 1,
        first_string: 0,
        types: Types::new(),
        strings: b"\0a\0b\0c\0".to_vec(),
    };
    for words in types {
        btf.types.push(&words);
    }
    btf
}

fn ptr(to: u32) -> Vec<u32> {
    vec![0, info(Kind::Ptr, 0, false), to]
}

fn composite(name: u32, size: u32, members: &[u32]) -> Vec<u32> {
    let mut words = vec![name, info(Kind::Struct, members.len() as u32, false), size];
    for (i, &id) in members.iter().enumerate() {
        words.extend([3, id, i as u32 * 64]);
    }
    words
}

/// Pairs of types that a comparison may visit for each type of the input. Real modules take 3 to 5.
const STEPS: u64 = 100;

/// Folds what would take for ever without care. Steps are counted, for time depends on the machine.
fn cheap(layer: Btf) -> Result<Btf, DedupError> {
    let types = layer.types.len() as u64;
    let (top, stats) = counted(&[layer])?;
    let limit = STEPS * types.max(1000);
    assert!(stats.steps <= limit, "{} steps for {types} types", stats.steps);
    Ok(top)
}

#[test]
fn deep_chains_do_not_overflow_the_stack() {
    let deep = 300_000;
    // Pointers, each to the next, the last one to an int.
    let mut types: Vec<_> = (1..deep).map(|i| ptr(i + 1)).collect();
    types.push(vec![1, info(Kind::Int, 0, false), 4, 32]);
    assert_eq!(cheap(alone(types)).map(|btf| btf.types.len()), Ok(deep as usize));
    // Two copies of nested structs, compared to the bottom.
    let copy = |first: u32| {
        (0..deep).map(move |i| match deep - 1 - i {
            0 => composite(1, i, &[]),
            _ => composite(1, i, &[first + i + 1]),
        })
    };
    let twice = alone(copy(1).chain(copy(1 + deep)));
    assert_eq!(cheap(twice).map(|btf| btf.types.len()), Ok(deep as usize));
}

#[test]
fn equal_structs_in_a_row_are_given_up() {
    // Every struct looks like every other, and differs only at the far end.
    let n = 50_000;
    let row = (1..=n).map(|i| composite(1, 8, if i < n { vec![i + 1] } else { vec![] }.as_slice()));
    assert!(matches!(cheap(alone(row)), Err(DedupError::TooHard { .. })));
}

/// Twice the same unit: a struct whose two members have types that are copies of each other.
///
/// The struct comes first, else the copies would be folded before it is compared.
fn copies(make: impl Fn(u32) -> (Vec<Vec<u32>>, u32, u32)) -> Btf {
    let mut types = Vec::new();
    for unit in 0..2 {
        let (others, x, y) = make(types.len() as u32 + 2);
        // In the first unit both members have one type.
        types.push(composite(1, 16, &[x, if unit == 0 { x } else { y }]));
        types.extend(others);
    }
    alone(types)
}

#[test]
fn equal_reference_cycles_are_an_error() {
    // typedef a ...; twice: each refers to itself.
    let layer = copies(|at| {
        let typedef = |to| vec![1, info(Kind::Typedef, 0, false), to];
        (vec![typedef(at), typedef(at + 1)], at, at + 1)
    });
    assert!(matches!(cheap(layer), Err(DedupError::EqualLoops { .. })));
    // A cycle of pointers is one without any fallback.
    let layer = alone([ptr(2), ptr(3), ptr(1)]);
    assert_eq!(cheap(layer), Err(DedupError::Loop { id: 1 }));
}

#[test]
fn branching_copies_do_not_explode() {
    // Two chains of nameless structs, each with k members that are all the next struct of the
    // other chain and this one in turn: k to the power of the depth ways to the bottom.
    for (branches, levels) in [(3u32, 16u32), (6, 11), (40, 15)] {
        let layer = copies(|at| {
            let mut unit = Vec::new();
            for level in 0..levels {
                for side in 0..2 {
                    let next = |i: u32| at + 2 * (level + 1) + (i + side) % 2;
                    let members: Vec<u32> = (0..branches).map(next).collect();
                    unit.push(composite(0, level, if level + 1 < levels { &members } else { &[] }));
                }
            }
            (unit, at, at + 1)
        });
        assert!(cheap(layer).is_ok(), "{branches} branches, {levels} levels");
    }
}

#[test]
fn many_nameless_enums_are_cheap() {
    let n = 50_000;
    let one = |i: u32| vec![0, info(Kind::Enum, 1, false), 4, 1, i];
    let layer = alone((0..n).chain(0..n).map(one));
    assert_eq!(cheap(layer).map(|btf| btf.types.len()), Ok(n as usize));
}

#[test]
fn duplicates_in_the_base_are_cheap() {
    // Whoever made the base did not deduplicate it: ints and structs, each many times over.
    let n = 100_000u32;
    let int = || vec![1, info(Kind::Int, 0, false), 4, 32];
    let make = |i: u32| if i.is_multiple_of(2) { int() } else { composite(3, 8, &[1]) };
    let base = alone((0..n).map(make));
    let mut split = Btf::empty(Endian::Little, Some(&base));
    for i in 0..n {
        split.types.push(&make(i));
    }
    let (top, stats) = counted(&[base, split]).expect("folds");
    assert!(top.types.is_empty());
    assert!(stats.steps <= STEPS * u64::from(n), "{} steps", stats.steps);
}
