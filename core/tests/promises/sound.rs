//! Whether deduplication kept the types.
//!
//! Every type of a layer gets a variable, which no deduplication merges or moves. Afterwards the
//! variables lead to what became of each type, and both graphs, followed from there, must say the
//! same. Where they may differ is what libbpf does too: forward declarations and enums without
//! values stand for any type of their name, so where such are about, types of that name are not told
//! apart; and of two arrays in copies of one type only the lengths are compared.

use btfd_core::btf::types::info;
use btfd_core::btf::{Btf, Kind, Type};
use btfd_core::dedup::{Base, dedup, reintern};
use std::collections::HashSet;

/// Names that forward declarations and enums without values have.
type Vague<'a> = HashSet<&'a [u8]>;

#[derive(Clone, Copy)]
struct Stack<'a> {
    base: Option<&'a Btf>,
    top: &'a Btf,
}

impl<'a> Stack<'a> {
    fn ty(self, id: u32) -> Type<'a> {
        match (id, self.base) {
            (0, _) => Type::VOID,
            (id, Some(base)) if id < self.top.first_id => base.types.get(id as usize - 1),
            (id, _) => self.top.types.get((id - self.top.first_id) as usize),
        }
    }

    fn text(self, offset: u32) -> &'a [u8] {
        self.top.string(self.base, offset)
    }
}

/// Deduplicates `top` and asserts that nothing it said was lost. Input that cannot be deduplicated
/// says nothing.
pub fn dedup_is_sound(top: &Btf, base: Option<&Btf>) {
    let mut rooted = top.clone();
    let roots = top.first_id..top.next_id();
    let is_root = |ty: Type<'_>| !matches!(ty.kind(), Some(Kind::Var | Kind::Datasec));
    let roots: Vec<u32> =
        roots.filter(|id| is_root(top.types.get((id - top.first_id) as usize))).collect();
    for &id in &roots {
        // No name: there may be no string, and none is needed.
        rooted.types.push(&[0, info(Kind::Var, 0, false), id, 0]);
    }
    let before = rooted.clone();
    let index = base.map(|base| Base::new(base.clone()).expect("known kinds"));
    reintern(index.as_ref(), &mut rooted).expect("layers continue");
    if dedup(index.as_ref(), &mut rooted).is_err() {
        return;
    }
    let vars = |btf: &Btf| {
        let all = btf.types.iter().filter(|t| t.kind() == Some(Kind::Var));
        all.map(|t| t.size_or_type()).collect::<Vec<u32>>()
    };
    let (old, new) = (vars(&before), vars(&rooted));
    assert_eq!(old.len(), new.len(), "variables are never merged");
    let pairs = old.into_iter().zip(new).collect();
    follow(Stack { base, top: &before }, Stack { base, top: &rooted }, pairs);
}

/// Asserts that the types of `old` are the first of `new`, one by one; both stand on `base`.
pub fn same_types(old: &Btf, new: &Btf, base: &Btf) {
    assert!(old.first_id == new.first_id && old.next_id() <= new.next_id());
    let base = Some(base);
    let pairs = (old.first_id..old.next_id()).map(|id| (id, id)).collect();
    follow(Stack { base, top: old }, Stack { base, top: new }, pairs);
}

/// Follows both graphs from pairs of types that have to say the same.
fn follow(old: Stack<'_>, new: Stack<'_>, pairs: Vec<(u32, u32)>) {
    let all = (1..old.top.next_id()).map(|id| old.ty(id));
    let declares = |t: &Type<'_>| match t.kind() {
        Some(Kind::Enum | Kind::Enum64) => t.vlen() == 0,
        kind => kind == Some(Kind::Fwd),
    };
    let vague: Vague<'_> = all.filter(declares).map(|t| old.text(t.name())).collect();
    let mut seen: HashSet<(u32, u32)> = pairs.iter().copied().collect();
    let mut todo = pairs;
    while let Some((x, y)) = todo.pop() {
        for pair in agree(old, new, &vague, x, y) {
            if seen.insert(pair) {
                todo.push(pair);
            }
        }
    }
}

/// Asserts that two types say the same by themselves; what they refer to is returned.
fn agree(old: Stack<'_>, new: Stack<'_>, vague: &Vague<'_>, x: u32, y: u32) -> Vec<(u32, u32)> {
    let (a, b) = (old.ty(x), new.ty(y));
    let lost = || -> ! { panic!("[{x}] {:x?} became [{y}] {:x?}", a.0, b.0) };
    let (kind, other) = (a.kind().expect("known"), b.kind().expect("known"));
    if old.text(a.name()) != new.text(b.name()) {
        lost();
    }
    let declares = |kind: Kind| kind == Kind::Fwd || kind.is_composite() || kind.is_enum();
    if declares(kind) && declares(other) && vague.contains(old.text(a.name())) {
        if kind.is_enum() != other.is_enum() {
            lost();
        }
        return Vec::new();
    }
    if kind != other || a.info() != b.info() || a.0.len() != b.0.len() {
        lost();
    }
    let shape = kind.shape();
    let mut pairs = Vec::new();
    match shape.refers && kind != Kind::Fwd {
        true => pairs.push((a.size_or_type(), b.size_or_type())),
        false if a.size_or_type() != b.size_or_type() => lost(),
        false => {}
    }
    let (fixed, elements) = a.payload().split_at(shape.fixed);
    let (other_fixed, other_elements) = b.payload().split_at(shape.fixed);
    for (at, (&m, &n)) in fixed.iter().zip(other_fixed).enumerate() {
        match shape.fixed_ids.contains(&at) {
            true if kind == Kind::Array => {}
            true => pairs.push((m, n)),
            false if m != n => lost(),
            false => {}
        }
    }
    if shape.elem == 0 {
        return pairs;
    }
    for (m, n) in elements.chunks_exact(shape.elem).zip(other_elements.chunks_exact(shape.elem)) {
        for at in 0..shape.elem {
            if shape.elem_name == Some(at) {
                if old.text(m[at]) != new.text(n[at]) {
                    lost();
                }
            } else if shape.elem_id == Some(at) {
                pairs.push((m[at], n[at]));
            } else if m[at] != n[at] {
                lost();
            }
        }
    }
    pairs
}
