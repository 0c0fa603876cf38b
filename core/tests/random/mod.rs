//! Random layers of BTF, biased to what makes deduplication hard.
//!
//! A *program* is a small graph of types. A *unit* emits part of it under new ids: some structs
//! as forwards, some enums without values, some types twice, a few changed. Layers are sequences of
//! units, so that most types have equal candidates, in the same layer and below.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use btfd_core::btf::types::info;
use btfd_core::btf::{Btf, Endian, Kind, Types};
use std::collections::VecDeque;

/// SplitMix64, after the numbers that a script gives.
pub struct Rng {
    state: u64,
    script: VecDeque<u8>,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed, script: VecDeque::new() }
    }

    /// Two bytes of `script` a number, so that who changes a byte changes one decision.
    pub fn scripted(script: &[u8]) -> Rng {
        Rng { state: 0, script: script.iter().copied().collect() }
    }

    pub fn next(&mut self) -> u64 {
        if let (Some(low), high) = (self.script.pop_front(), self.script.pop_front()) {
            return u64::from(low) | u64::from(high.unwrap_or(0)) << 8;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    pub fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const VOID: usize = usize::MAX;
const NAMES: [&str; 7] = ["", "a", "b", "c", "list_head", "u32", "xa"];

#[derive(Clone)]
struct Node {
    kind: Kind,
    name: &'static str,
    flag: bool,
    /// Size, linkage, number of elements, component: whatever the kind has.
    number: u32,
    /// Names of elements.
    names: Vec<&'static str>,
    targets: Vec<usize>,
}

/// How wild programs are.
struct Taste {
    nodes: usize,
    names: usize,
    /// Percent of references that may go anywhere, reference-only cycles included.
    wild: usize,
}

fn program(rng: &mut Rng, taste: &Taste) -> Vec<Node> {
    use Kind::*;
    let n = taste.nodes;
    let kinds: Vec<Kind> = (0..n)
        .map(|_| {
            rng.pick(&[
                Int, Int, Float, Ptr, Ptr, Ptr, Array, Struct, Struct, Struct, Struct, Union,
                Union, Enum, Enum, Enum64, Fwd, Typedef, Typedef, Volatile, Const, Restrict, Func,
                FuncProto, FuncProto, TypeTag, DeclTag, Var, Datasec,
            ])
        })
        .collect();
    let of = |wanted: &[Kind]| -> Vec<usize> {
        (0..n).filter(|&i| wanted.contains(&kinds[i])).collect()
    };
    let (protos, vars) = (of(&[FuncProto]), of(&[Var]));
    let ends = of(&[Int, Struct, Union, Enum, Enum64, Fwd, Float]);
    let mut data = of(&[
        Int, Float, Ptr, Array, Struct, Union, Enum, Enum64, Fwd, Typedef, Volatile, Const,
        Restrict, FuncProto, TypeTag,
    ]);
    if rng.percent(10) {
        // What no compiler makes: members that are variables or tags.
        data.extend(of(&[Var, Datasec, DeclTag, Func]));
    }
    let taggable = of(&[Struct, Union, Func, Var, Typedef]);
    (0..n)
        .map(|i| {
            let kind = kinds[i];
            let mut name = NAMES[rng.below(taste.names)];
            let mut node = Node {
                kind,
                name,
                flag: false,
                number: [4, 4, 4, 8][rng.below(4)],
                names: Vec::new(),
                targets: Vec::new(),
            };
            let target = |rng: &mut Rng| {
                if rng.percent(taste.wild) && !data.is_empty() {
                    rng.pick(&data)
                } else if rng.percent(12) || ends.is_empty() {
                    VOID
                } else if rng.percent(40) {
                    // Backwards: references without a cycle.
                    data.iter().rfind(|&&t| t < i).copied().unwrap_or(VOID)
                } else {
                    rng.pick(&ends)
                }
            };
            match kind {
                Struct | Union => {
                    for _ in 0..rng.below(5) {
                        node.names.push(NAMES[rng.below(taste.names)]);
                        let any = rng.percent(70) && !data.is_empty();
                        let t = if any { rng.pick(&data) } else { target(rng) };
                        node.targets.push(t);
                    }
                    node.flag = rng.percent(10);
                }
                FuncProto => {
                    name = "";
                    for i in 0..1 + rng.below(4) {
                        if i > 0 {
                            node.names.push(NAMES[rng.below(taste.names)]);
                        }
                        node.targets.push(target(rng));
                    }
                }
                Enum | Enum64 => {
                    for _ in 0..rng.below(3) {
                        node.names.push(NAMES[1 + rng.below(taste.names - 1)]);
                    }
                    node.flag = rng.percent(10);
                }
                Func => match protos.is_empty() {
                    false => node.targets.push(rng.pick(&protos)),
                    true => node.kind = Int,
                },
                Datasec => {
                    for _ in 0..rng.below(3) {
                        if !vars.is_empty() {
                            node.targets.push(rng.pick(&vars));
                        }
                    }
                }
                DeclTag => match taggable.is_empty() {
                    false => node.targets.push(rng.pick(&taggable)),
                    true => node.kind = Float,
                },
                Ptr | Const | Volatile | Restrict => {
                    name = "";
                    node.targets.push(target(rng));
                }
                Array => {
                    name = "";
                    node.targets.push(target(rng));
                    node.targets.push(of(&[Int]).first().copied().unwrap_or(VOID));
                }
                Typedef | TypeTag | Var => node.targets.push(target(rng)),
                Fwd => node.flag = rng.percent(30),
                _ => (),
            }
            node.name = name;
            node
        })
        .collect()
}

/// A layer under construction. Strings are put down as they come, so that some names stand there
/// twice or within others.
struct Layer {
    btf: Btf,
    lower_strings: Vec<u8>,
    sloppy: usize,
}

impl Layer {
    fn string(&mut self, rng: &mut Rng, text: &str) -> u32 {
        if text.is_empty() && !rng.percent(self.sloppy / 8) {
            return 0;
        }
        let mut needle = text.as_bytes().to_vec();
        needle.push(0);
        let find = |hay: &[u8], anywhere: bool| {
            (0..hay.len()).find(|&at| {
                hay[at..].starts_with(&needle) && (anywhere || at == 0 || hay[at - 1] == 0)
            })
        };
        if !rng.percent(self.sloppy) {
            if let Some(at) = find(&self.lower_strings, false) {
                return at as u32;
            }
            if let Some(at) = find(&self.btf.strings, rng.percent(self.sloppy)) {
                return self.btf.first_string + at as u32;
            }
        }
        let at = self.btf.first_string + self.btf.strings.len() as u32;
        self.btf.strings.extend_from_slice(&needle);
        at
    }
}

/// Ids by node, for direct references from upper layers.
type Emitted = Vec<(usize, u32)>;

fn unit(
    rng: &mut Rng,
    program: &[Node],
    layer: &mut Layer,
    below: Option<&Emitted>,
    emitted: &mut Emitted,
) {
    if program.is_empty() {
        return;
    }
    // Instances: a node, and how it is emitted.
    #[derive(Clone, Copy, PartialEq)]
    enum As {
        Itself,
        Forward,
        Changed(u32),
    }
    let mut instances: Vec<(usize, As)> = Vec::new();
    let mut first_of = vec![None; program.len()];
    let mut targets: Vec<Vec<Option<usize>>> = Vec::new();
    let forwards = [0, 10, 30, 60][rng.below(4)];
    let twice = [0, 0, 10, 30][rng.below(4)];
    let changes = [0, 0, 5][rng.below(3)];
    fn instance(
        rng: &mut Rng,
        node: &Node,
        index: usize,
        settings: (usize, usize, usize),
        instances: &mut Vec<(usize, As)>,
        first_of: &mut [Option<usize>],
    ) -> usize {
        let (forwards, twice, changes) = settings;
        if let Some(at) = first_of[index]
            && !(instances.len() < 60 && rng.percent(twice))
        {
            return at;
        }
        let can = node.kind.is_composite() || node.kind.is_enum();
        let how = if can && rng.percent(forwards) {
            As::Forward
        } else if rng.percent(changes) {
            As::Changed(1 + rng.below(2) as u32)
        } else {
            As::Itself
        };
        instances.push((index, how));
        first_of[index].get_or_insert(instances.len() - 1);
        instances.len() - 1
    }
    let settings = (forwards, twice, changes);
    for _ in 0..1 + rng.below(4) {
        let root = rng.below(program.len());
        instance(rng, &program[root], root, settings, &mut instances, &mut first_of);
    }
    let mut next = 0;
    while next < instances.len() {
        let (node, how) = instances[next];
        let list = match how {
            As::Forward => Vec::new(),
            _ => program[node]
                .targets
                .iter()
                .map(|&t| {
                    (t != VOID).then(|| {
                        instance(rng, &program[t], t, settings, &mut instances, &mut first_of)
                    })
                })
                .collect(),
        };
        targets.push(list);
        next += 1;
    }
    // Ids in any order.
    let mut order: Vec<usize> = (0..instances.len()).collect();
    if rng.percent(60) {
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
    }
    let start = layer.btf.next_id();
    let mut ids = vec![0; instances.len()];
    for (at, &which) in order.iter().enumerate() {
        ids[which] = start + at as u32;
    }
    for &which in &order {
        let (index, how) = instances[which];
        let node = &program[index];
        let id = |rng: &mut Rng, at: usize| -> u32 {
            let Some(target) = targets[which][at] else { return 0 };
            if let Some(below) = below
                && rng.percent(6)
                && let Some(&(_, id)) = below.iter().find(|(n, _)| *n == instances[target].0)
            {
                return id;
            }
            ids[target]
        };
        let name = layer.string(rng, node.name);
        let mut words = vec![name, 0, 0];
        let n = node.names.len() as u32;
        match (node.kind, how) {
            (Kind::Struct | Kind::Union, As::Forward) => {
                let union = (node.kind == Kind::Union) != rng.percent(3);
                words[1] = info(Kind::Fwd, 0, union);
            }
            (Kind::Enum | Kind::Enum64, As::Forward) => {
                let kind = rng.pick(&[Kind::Enum, Kind::Enum, Kind::Enum64]);
                words[1] = info(kind, 0, rng.percent(10));
                words[2] = rng.pick(&[4, 4, 8]);
            }
            (kind, how) => {
                let change = if let As::Changed(by) = how { by } else { 0 };
                words[1] = info(kind, 0, node.flag);
                match kind {
                    Kind::Int => {
                        words[2] = node.number + change;
                        words.push(32);
                    }
                    Kind::Float => words[2] = node.number + change,
                    Kind::Struct | Kind::Union => {
                        words[1] |= n;
                        words[2] = node.number + (change & 1);
                        for (i, name) in node.names.iter().enumerate() {
                            let name = layer.string(rng, name);
                            let id = id(rng, i);
                            words.extend([name, id, i as u32 * 32 + (change & 2)]);
                        }
                    }
                    Kind::Enum | Kind::Enum64 => {
                        words[1] |= n;
                        words[2] = node.number;
                        for (i, name) in node.names.iter().enumerate() {
                            words.push(layer.string(rng, name));
                            words.push(i as u32 + change);
                            words.extend((kind == Kind::Enum64).then_some(0));
                        }
                    }
                    Kind::FuncProto => {
                        words[1] |= n;
                        words[2] = id(rng, 0);
                        for (i, name) in node.names.iter().enumerate() {
                            let name = layer.string(rng, name);
                            words.extend([name, id(rng, i + 1)]);
                        }
                    }
                    Kind::Func => {
                        words[1] |= change;
                        words[2] = id(rng, 0);
                    }
                    Kind::Var => {
                        words[2] = id(rng, 0);
                        words.push(change);
                    }
                    Kind::DeclTag => {
                        words[2] = id(rng, 0);
                        words.push(change.wrapping_sub(1));
                    }
                    Kind::Array => {
                        words.extend([id(rng, 0), id(rng, 1), node.number + change]);
                    }
                    Kind::Datasec => {
                        words[1] |= node.targets.len() as u32;
                        for i in 0..node.targets.len() {
                            words.extend([id(rng, i), i as u32 * 4, 4]);
                        }
                    }
                    Kind::Fwd => (),
                    _ => words[2] = id(rng, 0),
                }
            }
        }
        layer.btf.types.push(&words);
        emitted.push((index, ids[which]));
    }
}

/// Layers, the lowest first; the last is the one to deduplicate. At most `size` units.
#[allow(dead_code)] // not every test uses all of this
pub fn layers(seed: u64, size: usize) -> Vec<Btf> {
    layers_from(&mut Rng::new(seed), size)
}

/// The same from a generator.
#[allow(dead_code)]
pub fn layers_from(rng: &mut Rng, size: usize) -> Vec<Btf> {
    grow(rng, size, true).0
}

/// The same where units refer to themselves only, with the ends of the units of the last layer.
#[allow(dead_code)]
pub fn units(seed: u64, size: usize) -> (Vec<Btf>, Vec<usize>) {
    grow(&mut Rng::new(seed), size, false)
}

fn grow(rng: &mut Rng, size: usize, across: bool) -> (Vec<Btf>, Vec<usize>) {
    let taste = Taste {
        nodes: 2 + rng.below(22),
        names: 2 + rng.below(NAMES.len() - 2),
        wild: [0, 0, 5, 50][rng.below(4)],
    };
    let program = program(rng, &taste);
    let sloppy = [0, 0, 5, 30][rng.below(4)];
    let mut layers: Vec<Btf> = Vec::new();
    let mut emitted = Emitted::new();
    let mut ends = Vec::new();
    for _ in 0..[1, 2, 2, 2, 3][rng.below(5)] {
        let mut lower_strings = Vec::new();
        for layer in &layers {
            lower_strings.extend_from_slice(&layer.strings);
        }
        let below = layers.last();
        let btf = Btf {
            endian: Endian::Little,
            first_id: below.map_or(1, Btf::next_id),
            first_string: below.map_or(0, Btf::next_string),
            types: Types::new(),
            strings: if below.is_some() { Vec::new() } else { vec![0] },
        };
        let mut layer = Layer { btf, lower_strings, sloppy };
        let mut own = Emitted::new();
        ends.clear();
        for _ in 0..1 + rng.below(size) {
            // Fillers move the growth of the candidate table.
            let fillers = rng.pick(&[1, 1, 4, 40]);
            for _ in 0..rng.below(fillers) {
                let id = layer.btf.next_id();
                layer.btf.types.push(&[0, info(Kind::Int, 0, false), 100 + id, 32]);
            }
            unit(rng, &program, &mut layer, across.then_some(&emitted), &mut own);
            ends.push(layer.btf.types.len());
        }
        emitted.extend(own);
        layers.push(layer.btf);
    }
    (layers, ends)
}
