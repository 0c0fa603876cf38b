//! Types told apart by identity against the exact engine that sees everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;

use btfd_core::btf::types::{info, map_ids};
use btfd_core::btf::{Btf, Kind, Types};
use btfd_core::dedup::{Base, dedup, dedup_and_tell, reintern};
use btfd_core::encode::{Bridge, Given, Kept};
use btfd_core::identity::{Assigned, Identities, Key, Merge, Name, Rebase, Sketch, new_ids};
use std::sync::Arc;

/// What came out, and how many types the engine did not see.
struct Folded {
    types: Types,
    spared: usize,
    gave_up: bool,
}

/// The units of a layer, each with ids of its own.
fn split(top: &Btf, ends: &[usize]) -> Vec<Types> {
    let mut start = 0;
    ends.iter()
        .map(|&end| {
            let mut unit = Types::new();
            for index in start..end {
                let at = unit.push(top.types.get(index).0);
                let before = top.first_id + start as u32;
                map_ids(unit.get_mut(at), |id| if id == 0 { 0 } else { id - before + 1 });
            }
            start = end;
            unit
        })
        .collect()
}

/// What is left of units, before the exact engine.
struct Left {
    btf: Btf,
    /// Of each type, whether it was doubtful.
    doubtful: Vec<bool>,
    /// Which types of the base stand for the rest, where nothing was doubtful.
    used: Option<Vec<u32>>,
    gave_up: bool,
}

fn left(base: Option<&Base>, top: &Btf, ends: &[usize]) -> Left {
    let key = Key::of_process();
    let lower = base.map(Base::btf);
    let name = |offset: u32| Name::Text(top.string(lower, offset));
    let units = split(top, ends);
    let mut merge = Merge::new(base.map(Base::known));
    let sketches: Vec<Sketch> = units.iter().map(|types| Sketch::of(types, key, name)).collect();
    let take_in = |sketch| merge.add(sketch, &Identities::of(sketch, key));
    let classes: Vec<Vec<u32>> = sketches.iter().map(take_in).collect();
    merge.settle(|unit, index| {
        let (sketch, classes) = (&sketches[unit as usize], &classes[unit as usize]);
        let class = |id: &u32| classes.get((*id as usize).wrapping_sub(1)).copied();
        sketch.links(index as usize).iter().filter_map(class)
    });
    let mut btf = Btf { types: Types::new(), ..top.clone() };
    let mut doubtful = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let Assigned { ids, kept } =
            merge.assign(number as u32, unit.len(), &classes[number], btf.next_id());
        for index in kept {
            let at = btf.types.push(unit.get(index as usize).0);
            map_ids(btf.types.get_mut(at), |id| ids[id as usize]);
            let class = classes[number].get(index as usize).copied();
            doubtful.push(class.is_some_and(|class| merge.is_doubtful(class)));
        }
    }
    Left { btf, doubtful, used: merge.used(), gave_up: merge.gave_up() }
}

fn fast(base: Option<&Base>, top: &Btf, ends: &[usize]) -> Option<Folded> {
    let Left { mut btf, gave_up, .. } = left(base, top, ends);
    let spared = top.types.len() - btf.types.len();
    dedup(base, &mut btf).ok()?;
    Some(Folded { types: btf.types, spared, gave_up })
}

#[test]
fn the_answer_is_that_of_the_exact_engine() {
    let (mut compared, mut spared, mut gave_up) = (0, 0, 0);
    for seed in 0..rounds() {
        let (layers, ends) = random::units(seed, 8);
        let (top, lower) = layers.split_last().expect("a layer");
        let base = match lower {
            [] => None,
            lower => Some(Base::from_layers(lower.to_vec()).expect("known kinds")),
        };
        let mut top = top.clone();
        reintern(base.as_ref(), &mut top).expect("layers continue");
        let mut exact = top.clone();
        if dedup(base.as_ref(), &mut exact).is_err() {
            continue;
        }
        let fast = fast(base.as_ref(), &top, &ends);
        let fast = fast.unwrap_or_else(|| panic!("seed {seed}: only one way fails"));
        assert_eq!(fast.types, exact.types, "seed {seed}");
        compared += 1;
        spared += usize::from(fast.spared > 0);
        gave_up += usize::from(fast.gave_up);
    }
    // Wild input is mostly for the exact engine; enough has to be left.
    println!("{compared} compared, {spared} with types spared, {gave_up} given up");
    assert!(spared * 5 > compared, "{spared} of {compared} had anything to spare");
}

/// `top` over another base with the same strings in front of its own.
fn onto(base: &Base, old: &Btf, top: &Btf, id: impl Fn(u32) -> u32) -> Btf {
    let mut moved = Btf { first_id: base.btf().next_id(), ..top.clone() };
    for index in 0..moved.types.len() {
        map_ids(moved.types.get_mut(index), |own| match own.checked_sub(old.next_id()) {
            Some(own) => base.btf().next_id() + own,
            None => id(own),
        });
    }
    moved
}

/// Makes of a base what a kernel has: each type once, and `count` of them. `top` refers to types of its own only.
fn tidy(base: &mut Btf, count: usize, top: &mut Btf) -> bool {
    if dedup(None, base).is_err() {
        return false;
    }
    while base.types.len() < count {
        let bits = base.types.len() as u32;
        base.types.push(&[1, info(Kind::Int, 0, false), 4, bits]);
    }
    let (before, after) = (top.first_id, base.next_id());
    top.first_id = after;
    for index in 0..top.types.len() {
        map_ids(top.types.get_mut(index), |id| if id == 0 { 0 } else { id - before + after });
    }
    true
}

/// The base in another order and with a change, which has the same strings. `left` is of a module.
fn changed(old: &Base, left: &Btf, seed: u64) -> Btf {
    let mut btf = old.btf().clone();
    let count = btf.types.len() as u32;
    let order: Vec<u32> = (0..count).map(|id| (id + seed as u32) % count + 1).collect();
    btfd_core::btf::permute::permute(&mut btf, &[&[0], &order[..]].concat()).expect("an order");
    let place = seed as usize / 7;
    let any = btf.types.get(place % count as usize).0.to_vec();
    // One of the module's, if it stands on the base alone.
    let own = left.types.get(place % left.types.len().max(1));
    let mut below = true;
    own.for_each_id(|id| below &= id < left.first_id);
    own.for_each_name(|name| below &= name < left.first_string);
    match seed % 7 {
        0 => {}
        1 => {
            btf.types.push(&any);
        }
        2 => {
            if let [_, info, size, ..] = btf.types.get_mut(place % count as usize)
                && *info >> 24 & 0x1f == 4
            {
                *size ^= 4;
            }
        }
        3 => {
            // It is gone from its name.
            let name = btf.types.get((place + 1) % count as usize).name();
            let ty = btf.types.get_mut(place % count as usize);
            if ty[0] != 0 && name != 0 {
                ty[0] = name;
            }
        }
        4 | 5 if own.name() < left.first_string => {
            // Something else of a name, defined or declared.
            let kinds = [Kind::Struct, Kind::Union, Kind::Fwd, Kind::Typedef];
            btf.types.push(&[own.name(), info(kinds[place % 4], 0, place % 8 > 3), 0]);
        }
        _ if below => {
            let at = btf.types.push(own.0);
            map_ids(btf.types.get_mut(at), |id| if id == 0 { 0 } else { order[id as usize - 1] });
        }
        _ => {}
    }
    btf
}

#[test]
fn what_was_left_over_one_base_is_left_over_another() {
    let (mut told, mut untold, mut settled, mut unsettled) = (0, 0, 0, 0);
    let (mut answered, mut unanswered) = (0, 0);
    // Few of these modules are without doubts.
    for seed in 0..rounds() * 10 {
        let (layers, ends) = random::units(seed, 8);
        let [lower @ .., top] = &layers[..] else { continue };
        if lower.is_empty() {
            continue;
        }
        let mut below = Base::from_layers(lower.to_vec()).expect("known kinds").btf().clone();
        let mut top = top.clone();
        // The table doubles behind 384 types.
        let count = 384 - seed as usize % 64;
        if seed % 5 > 0 && !tidy(&mut below, count, &mut top) {
            continue;
        }
        let old = Base::new(below).expect("known kinds");
        reintern(Some(&old), &mut top).expect("layers continue");
        let Left { btf: before, doubtful, used: Some(used), .. } = left(Some(&old), &top, &ends)
        else {
            continue;
        };
        if before.types.is_empty() {
            continue;
        }
        let Ok(new) = Base::new(changed(&old, &before, seed)) else { continue };
        let (old, new) = (Arc::new(old), Arc::new(new));
        let Some(ids) = new_ids(old.known(), new.known(), new.btf()) else { continue };
        let rebase = Rebase::new(old.known(), new.known(), &ids);
        let id = |id: u32| rebase.id(id).unwrap_or(0);
        let of_units = onto(&new, old.btf(), &top, |_| 0);
        let Left { btf: after, .. } = left(Some(&new), &of_units, &ends);
        let fold = |mut btf: Btf| dedup(Some(&new), &mut btf).is_ok().then_some(btf.types);

        let moved = onto(&new, old.btf(), &before, id);
        let all = used.iter().all(|&id| rebase.id(id).is_some());
        if all && rebase.leaves(&moved, &doubtful, new.btf()) {
            told += 1;
            assert_eq!(fold(moved), fold(after.clone()), "seed {seed}");
        } else {
            untold += 1;
        }

        let Some(kept) = kept(&old, &before, doubtful, used) else { continue };
        let bridge = Bridge::new(old, new.clone()).expect("identities tell its types apart");
        if !kept.is_settled() {
            *(if kept.is_told_at_once(&bridge) { &mut answered } else { &mut unanswered }) += 1;
        }
        match kept.over(&bridge) {
            Ok(Some(btf)) => {
                settled += usize::from(kept.is_settled());
                assert_eq!(btf.strings, top.strings, "seed {seed}");
                assert_eq!(Some(btf.types), fold(after), "seed {seed}, {:?}", kept.is_settled());
            }
            Ok(None) => unsettled += usize::from(kept.is_settled()),
            Err(_) => assert_eq!(fold(after), None, "seed {seed}"),
        }
    }
    println!("{told} told, {untold} left to the DWARF; {settled} settled, {unsettled} not");
    println!("{answered} told without the engine, {unanswered} not");
    assert!(answered > unanswered / 16 && unanswered > 0, "{answered} answered, {unanswered} not");
    assert!(told > untold / 4 && untold > 0, "{told} told, {untold} not");
    assert!(settled > unsettled / 4 && unsettled > 0, "{settled} settled, {unsettled} not");
}

/// What is kept of a module, as its bytes say; `None` where the engine fails.
fn kept(base: &Base, left: &Btf, doubtful: Vec<bool>, used: Vec<u32>) -> Option<Kept> {
    // As if names had been met in the order in which they stand.
    let mut met: Vec<u32> = Vec::new();
    let mut at = 0;
    while at < left.strings.len() {
        met.push(left.first_string + at as u32);
        at += btfd_core::btf::strings::at(&left.strings, at as u32).len() + 1;
    }
    left.types.iter().for_each(|ty| ty.for_each_name(|name| met.push(name)));
    let given = Given::of(left, doubtful, base, used, &met).expect("it is complete");
    let mut result = left.clone();
    let (stats, told) = dedup_and_tell(Some(base), &mut result).ok()?;
    Kept::from_bytes(&given.decided(base, &result, stats, told).to_bytes())
}

/// `BTFD_ROUNDS` more than a quick run does.
fn rounds() -> u64 {
    std::env::var("BTFD_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000)
}

#[test]
fn what_refers_to_something_without_identity_has_none() {
    let mut types = Types::new();
    types.push(&[0, info(Kind::FuncProto, 0, false), 0]);
    types.push(&[1, info(Kind::Func, 0, false), 1]);
    // A struct of a function, and one that comes after it.
    types.push(&[2, info(Kind::Struct, 1, false), 8, 3, 2, 0]);
    types.push(&[3, info(Kind::Struct, 0, false), 8]);
    let names = [&b""[..], b"function", b"of_it", b"after_it"];
    let name = |number: u32| Name::Text(names[number as usize]);
    let key = Key::of_process();
    let identities = Identities::of(&Sketch::of(&types, key, name), key);
    let has_one = identities.own.iter().map(|own| !own.is_none());
    assert_eq!(has_one.collect::<Vec<_>>(), [true, false, false, false]);
}
