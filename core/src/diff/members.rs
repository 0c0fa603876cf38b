//! Two versions of a struct or union, member by member.
//!
//! Members are matched by name; what C reaches without naming it (members of nameless structs and
//! unions) counts as a member of the struct around. Those left over that have one type and one
//! place, or one type and one neighbour, are the same member under another name.

use super::compare::Pair;
use super::report::{Detail, Value, What};
use super::{DiffError, number};
use crate::btf::layers::{Layers, payload};
use crate::btf::text::type_text;
use crate::btf::{Kind, Type};
use crate::layout::{Placed, Sizes, nameless};
use std::collections::{BTreeMap, HashMap};

/// Nameless structs within each other; real C stays below 10.
const DEEPEST: u32 = 64;
/// Members of one struct with all that it reaches, beyond which nothing is explained any more.
const MOST: usize = 1 << 16;

/// A member under the name that reaches it.
struct Leaf {
    name: String,
    at: Placed,
}

/// One side of the comparison.
pub(super) struct View<'a> {
    sizes: Sizes<'a>,
}

impl<'a> View<'a> {
    pub fn new(layers: Layers<'a>) -> View<'a> {
        View { sizes: Sizes::new(layers) }
    }

    pub fn size(&self, id: u32) -> u64 {
        self.sizes.size(id)
    }

    fn layers(&self) -> Layers<'a> {
        self.sizes.layers
    }

    /// The members of `id`, those of its nameless parts in their place.
    fn leaves(
        &self,
        id: u32,
        start: u64,
        depth: u32,
        out: &mut Vec<Leaf>,
    ) -> Result<(), DiffError> {
        let Some(ty) = self.layers().get(id) else { return Ok(()) };
        if depth > DEEPEST || out.len() > MOST {
            return Err(DiffError::Deep { id });
        }
        for mut at in self.sizes.members(ty) {
            at.offset = at.offset.saturating_add(start);
            match (at.name, self.part(at.ty)) {
                (0, Some(inner)) => self.leaves(inner, at.offset, depth + 1, out)?,
                (0, None) => {
                    out.push(Leaf { name: format!("({})", type_text(self.layers(), at.ty)), at });
                }
                (name, _) => {
                    out.push(Leaf { name: self.layers().text(name).into_owned(), at });
                }
            }
        }
        Ok(())
    }

    /// The nameless struct or union that a type is, no array of them.
    fn part(&self, id: u32) -> Option<u32> {
        let inner = nameless(self.layers(), id)?;
        let array = (self.size(id), self.size(inner));
        (array.0 == array.1).then_some(inner)
    }

    /// Holes by the name of the member before them, bits; those of nameless parts too.
    fn holes(
        &self,
        ty: Type<'a>,
        rename: &HashMap<String, String>,
        depth: u32,
        out: &mut BTreeMap<String, u64>,
    ) -> Result<(), DiffError> {
        let total = ty.elements().len();
        let gaps = self.sizes.gaps(ty);
        let mut gaps = gaps.iter().filter(|gap| gap.after < total).peekable();
        for (index, m) in self.sizes.members(ty).enumerate() {
            let inner = if m.name == 0 { self.part(m.ty) } else { None };
            if let Some(inner) = inner.and_then(|id| self.layers().get(id)) {
                if depth > DEEPEST || out.len() > MOST {
                    return Err(DiffError::Deep { id: m.ty });
                }
                self.holes(inner, rename, depth + 1, out)?;
            }
            if let Some(gap) = gaps.next_if(|gap| gap.after == index + 1) {
                let name = self.last_name(m, 0);
                let name = rename.get(&name).cloned().unwrap_or(name);
                *out.entry(name).or_default() += gap.bits;
            } else if index == 0
                && let Some(gap) = gaps.next_if(|gap| gap.after == 0)
            {
                *out.entry(String::new()).or_default() += gap.bits;
            }
        }
        Ok(())
    }

    /// The name of a member, or of the last one of a nameless part.
    fn last_name(&self, m: Placed, depth: u32) -> String {
        if m.name == 0
            && depth < DEEPEST
            && let Some(ty) = self.part(m.ty).and_then(|id| self.layers().get(id))
            && let Some(last) = self.sizes.members(ty).last()
        {
            return self.last_name(last, depth + 1);
        }
        self.layers().text(m.name).into_owned()
    }

    fn member(&self, m: &Placed) -> Option<Value> {
        let mut ty = type_text(self.layers(), m.ty);
        if m.width > 0 {
            ty = format!("{ty}:{}", m.width);
        }
        Some(Value::Member { ty, offset: m.offset, bits: m.bits })
    }
}

/// Where a nested body stands: what its members' names begin with, and bits from a cache line.
struct Inside<'s> {
    prefix: &'s str,
    starts: [u64; 2],
    depth: u32,
}

/// What changed between two definitions.
pub(super) fn composite<'a>(
    pair: &mut Pair<'a>,
    views: &[View<'a>; 2],
    a: u32,
    b: u32,
) -> Result<Vec<Detail>, DiffError> {
    let mut out = Vec::new();
    let (Some(x), Some(y)) = (pair.old.layers.get(a), pair.new.layers.get(b)) else {
        return Ok(out);
    };
    if x.size_or_type() != y.size_or_type() {
        out.push(number(What::Size, "", x.size_or_type(), y.size_or_type()));
    }
    let [gone, come] = [(&views[0], x), (&views[1], y)].map(|(view, ty)| {
        let total = ty.elements().len();
        view.sizes.gaps(ty).last().filter(|gap| gap.after == total).map_or(0, |gap| gap.bits)
    });
    let top = Inside { prefix: "", starts: [0, 0], depth: 0 };
    body(pair, views, a, b, &top, &mut out)?;
    if gone != come {
        out.push(number(What::Padding, "", gone, come));
    }
    if out.is_empty() && !pair.equal(a, b)? && pair.old.tags(a) == pair.new.tags(b) {
        out.push(Detail { what: What::Arranged, name: String::new(), old: None, new: None });
    }
    Ok(out)
}

fn body<'a>(
    pair: &mut Pair<'a>,
    views: &[View<'a>; 2],
    a: u32,
    b: u32,
    inside: &Inside<'_>,
    out: &mut Vec<Detail>,
) -> Result<(), DiffError> {
    let [old, new] = views;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    old.leaves(a, 0, inside.depth, &mut before)?;
    new.leaves(b, 0, inside.depth, &mut after)?;
    let partner = matched(pair, &before, &after)?;
    let path = |name: &str| format!("{}{name}", inside.prefix);

    let mut kept = vec![false; before.len()];
    partner.iter().flatten().for_each(|&i| kept[i] = true);
    for (m, _) in before.iter().zip(&kept).filter(|(_, kept)| !**kept) {
        let (what, name) = (What::MemberRemoved, path(&m.name));
        out.push(Detail { what, name, old: old.member(&m.at), new: None });
    }
    let mut rename = HashMap::new();
    for (n, partner) in after.iter().zip(&partner) {
        let name = path(&n.name);
        let Some(m) = partner.map(|i| &before[i]) else {
            let (what, new) = (What::MemberAdded, new.member(&n.at));
            out.push(Detail { what, name: name.clone(), old: None, new });
            crossing(false, n.at.crosses(inside.starts[1]), n, n, inside, out);
            continue;
        };
        if m.name != n.name {
            let (was, is) = (path(&m.name), name.clone());
            let (old, new) = (Some(Value::Text(was.clone())), Some(Value::Text(is.clone())));
            out.push(Detail { what: What::MemberRenamed, name: is, old, new });
            rename.insert(m.name.clone(), n.name.clone());
        }
        let mut differs = |what, name: &str| {
            let (old, new) = (old.member(&m.at), new.member(&n.at));
            out.push(Detail { what, name: name.into(), old, new });
        };
        let same = pair.same(m.at.ty, n.at.ty)? && (m.at.width == 0) == (n.at.width == 0);
        let inner = if same { None } else { parts(pair, m.at.ty, n.at.ty) };
        if !same && inner.is_none() {
            differs(What::MemberRetyped, &name);
        } else if m.at.bits != n.at.bits {
            differs(What::MemberResized, &name);
        }
        if m.at.offset != n.at.offset {
            differs(What::MemberMoved, &name);
        }
        if let Some((x, y, dots)) = inner {
            let prefix = format!("{name}{dots}.");
            let starts = [(0, m), (1, n)]
                .map(|(side, leaf)| inside.starts[side].saturating_add(leaf.at.offset));
            let below = Inside { prefix: &prefix, starts, depth: inside.depth + 1 };
            let said = out.len();
            body(pair, views, x, y, &below, out)?;
            if out.len() == said {
                out.push(Detail { what: What::Arranged, name: name.clone(), old: None, new: None });
            }
        }
        let was = m.at.crosses(inside.starts[0]);
        crossing(was, n.at.crosses(inside.starts[1]), m, n, inside, out);
    }
    holes(views, a, b, &rename, inside, out)
}

fn crossing(was: bool, is: bool, m: &Leaf, n: &Leaf, inside: &Inside<'_>, out: &mut Vec<Detail>) {
    // What no line has room for lies on two before and after.
    if m.at.bits.max(n.at.bits) > crate::layout::CACHE_LINE * 8 {
        return;
    }
    let line = |side: usize, leaf: &Leaf| {
        let bit = inside.starts[side].saturating_add(leaf.at.offset);
        Some(Value::Number(i128::from(bit / (crate::layout::CACHE_LINE * 8))))
    };
    let name = format!("{}{}", inside.prefix, n.name);
    match (was, is) {
        (false, true) => {
            out.push(Detail { what: What::CrossingAdded, name, old: None, new: line(1, n) });
        }
        (true, false) => {
            out.push(Detail { what: What::CrossingRemoved, name, old: line(0, m), new: None });
        }
        _ => {}
    }
}

fn holes(
    views: &[View<'_>; 2],
    a: u32,
    b: u32,
    rename: &HashMap<String, String>,
    inside: &Inside<'_>,
    out: &mut Vec<Detail>,
) -> Result<(), DiffError> {
    let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
    if let Some(ty) = views[0].layers().get(a) {
        views[0].holes(ty, rename, inside.depth, &mut was)?;
    }
    if let Some(ty) = views[1].layers().get(b) {
        views[1].holes(ty, &HashMap::new(), inside.depth, &mut is)?;
    }
    let bits = |n: &u64| Some(Value::Number((*n).into()));
    let path = |name: &str| format!("{}{name}", inside.prefix);
    for (name, n) in &is {
        let (what, old) = match was.get(name) {
            None => (What::HoleAdded, None),
            Some(m) if m != n => (What::HoleResized, bits(m)),
            Some(_) => continue,
        };
        out.push(Detail { what, name: path(name), old, new: bits(n) });
    }
    for (name, n) in was.iter().filter(|(name, _)| !is.contains_key(*name)) {
        out.push(Detail { what: What::HoleRemoved, name: path(name), old: bits(n), new: None });
    }
    Ok(())
}

/// Nameless bodies that two types are in the same way, and what stands between name and member.
fn parts(pair: &Pair<'_>, mut a: u32, mut b: u32) -> Option<(u32, u32, &'static str)> {
    let (old, new) = (pair.old.layers, pair.new.layers);
    let mut dots = "";
    for _ in 0..DEEPEST {
        let (x, y) = (old.get(a)?, new.get(b)?);
        let kind = x.kind()?;
        if Some(kind) != y.kind() {
            return None;
        }
        match kind {
            Kind::Struct | Kind::Union => {
                return (x.name() == 0 && y.name() == 0).then_some((a, b, dots));
            }
            Kind::Array if payload(x, 2) == payload(y, 2) => {
                dots = "[]";
                (a, b) = (payload(x, 0), payload(y, 0));
            }
            Kind::Const | Kind::Volatile | Kind::Restrict => {
                (a, b) = (x.size_or_type(), y.size_or_type());
            }
            _ => return None,
        }
    }
    None
}

/// For every new member the old one that it was.
fn matched(
    pair: &mut Pair<'_>,
    before: &[Leaf],
    after: &[Leaf],
) -> Result<Vec<Option<usize>>, DiffError> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, m) in before.iter().enumerate().rev() {
        by_name.entry(&m.name).or_default().push(i);
    }
    let mut partner: Vec<Option<usize>> =
        after.iter().map(|n| by_name.get_mut(&*n.name).and_then(Vec::pop)).collect();
    let mut free = vec![true; before.len()];
    partner.iter().flatten().for_each(|&i| free[i] = false);
    if !free.contains(&true) {
        return Ok(partner);
    }
    // Another name at the same place.
    let places: HashMap<u64, Vec<usize>> = before
        .iter()
        .enumerate()
        .filter(|&(i, _)| free[i])
        .fold(HashMap::new(), |mut map, (i, m)| {
            map.entry(m.at.offset).or_insert_with(Vec::new).push(i);
            map
        });
    for (j, n) in after.iter().enumerate() {
        if partner[j].is_some() {
            continue;
        }
        for &i in places.get(&n.at.offset).into_iter().flatten() {
            if free[i] && alike(pair, &before[i], n)? {
                (partner[j], free[i]) = (Some(i), false);
                break;
            }
        }
    }
    // Another name behind the same neighbour.
    for j in 0..after.len() {
        let next = match j.checked_sub(1) {
            None => 0,
            Some(previous) => match partner[previous] {
                Some(i) => i + 1,
                None => continue,
            },
        };
        if partner[j].is_none()
            && free.get(next) == Some(&true)
            && alike(pair, &before[next], &after[j])?
        {
            (partner[j], free[next]) = (Some(next), false);
        }
    }
    Ok(partner)
}

fn alike(pair: &mut Pair<'_>, m: &Leaf, n: &Leaf) -> Result<bool, DiffError> {
    Ok((m.at.bits, m.at.width) == (n.at.bits, n.at.width) && pair.same(m.at.ty, n.at.ty)?)
}
