//! Which thing of one graph is which of the other.

use super::DiffError;
use super::compare::Pair;
use super::index::{Class, Side};
use super::members::{View, composite};
use super::report::{Change, Fate};
use super::things;
use crate::btf::Kind;
use crate::btf::layers::{members, payload};
use crate::btf::text::{declared, type_text};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Elements by which a nameless type is told to people.
const TOLD: usize = 3;

/// A class and a name; of nameless types the first element's.
type Key<'a> = (Class, &'a [u8]);

/// Everything that is different, sorted.
pub(super) fn compare<'a>(
    old: Side<'a>,
    new: Side<'a>,
    same_base: bool,
) -> Result<Vec<Change>, DiffError> {
    let mut work = Work {
        pair: Pair::new(old, new, same_base),
        own: Pair::new(new, new, true),
        views: [View::new(old.layers), View::new(new.layers)],
        reached: [None, None],
        changes: Vec::new(),
    };
    let mut groups: BTreeMap<Key<'a>, [Vec<u32>; 2]> = BTreeMap::new();
    let mut nameless: BTreeMap<Key<'a>, [Vec<u32>; 2]> = BTreeMap::new();
    for (which, side) in [old, new].into_iter().enumerate() {
        for id in side.layers.first_id()..side.layers.next_id() {
            let Some(class) = side.layers.get(id).and_then(|ty| ty.kind()).and_then(Class::of)
            else {
                continue;
            };
            let name = side.name(id);
            if !name.is_empty() {
                groups.entry((class, name)).or_default()[which].push(id);
            }
        }
        for id in loose(side) {
            let Some(ty) = side.layers.get(id) else { continue };
            let Some(class) = ty.kind().and_then(Class::of) else { continue };
            let first = ty.elements().next().map_or(&[][..], |e| side.layers.string(e[0]));
            nameless.entry((class, first)).or_default()[which].push(id);
        }
    }
    for (&key, [olds, news]) in &groups {
        work.named(key, olds.clone(), news.clone())?;
    }
    work.nameless(nameless)?;
    if !same_base {
        work.base(&groups)?;
    }
    let mut changes = work.changes;
    changes.sort_by(|a, b| {
        (a.class, &a.name, a.fate, a.in_base).cmp(&(b.class, &b.name, b.fate, b.in_base))
    });
    Ok(changes)
}

/// Nameless structs, unions and enums of a layer that no named thing of it holds.
fn loose(side: Side<'_>) -> Vec<u32> {
    let own = side.layers.first_id()..side.layers.next_id();
    let nameless = |id: u32| {
        side.layers.get(id).is_some_and(|ty| {
            let class = ty.kind().and_then(Class::of);
            ty.name() == 0 && class.is_some_and(Class::has_body)
        })
    };
    let mut held = HashSet::new();
    let mut mark = |from: u32| {
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            let Some(ty) = side.layers.get(id) else { continue };
            ty.for_each_id(|to| {
                if side.owns(to) && named(side, to).is_none() && held.insert(to) {
                    open.push(to);
                }
            });
        }
    };
    own.clone().filter(|&id| named(side, id).is_some()).for_each(&mut mark);
    // One that holds another.
    let rest: Vec<u32> = own.filter(|&id| nameless(id)).collect();
    rest.iter().copied().for_each(&mut mark);
    rest.into_iter().filter(|id| !held.contains(id)).collect()
}

/// Class and name of a definition that has one.
fn named(side: Side<'_>, id: u32) -> Option<Key<'_>> {
    let class = side.layers.get(id)?.kind().and_then(Class::of)?;
    let name = side.name(id);
    (!name.is_empty()).then_some((class, name))
}

/// Things of the layers below that a layer refers to, and what those embed; definitions by name.
fn reached<'a>(side: Side<'a>) -> BTreeSet<Key<'a>> {
    let mut keys = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut open: Vec<u32> = Vec::new();
    for id in side.layers.first_id()..side.layers.next_id() {
        if let Some(ty) = side.layers.get(id) {
            ty.for_each_id(|to| open.push(to));
        }
    }
    while let Some(id) = open.pop() {
        if id == 0 || side.owns(id) || !seen.insert(id) {
            continue;
        }
        let Some(ty) = side.layers.get(id) else { continue };
        let key = named(side, id);
        keys.extend(key);
        match side.layers.kind(id) {
            // By value only: what a pointer in the base leads to is not this module's business.
            Kind::Struct | Kind::Union => {
                open.extend(members(ty).filter_map(|m| embedded(side, m.ty)));
            }
            Kind::Typedef => open.extend(embedded(side, ty.size_or_type())),
            _ => ty.for_each_id(|to| open.push(to)),
        }
    }
    keys
}

/// What a member holds by value: its type without arrays and qualifiers; none for a pointer.
fn embedded(side: Side<'_>, mut id: u32) -> Option<u32> {
    for _ in 0..200 {
        let ty = side.layers.get(id)?;
        id = match side.layers.kind(id) {
            Kind::Array => payload(ty, 0),
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => ty.size_or_type(),
            Kind::Ptr | Kind::FuncProto => return None,
            _ => return Some(id),
        };
    }
    None
}

struct Work<'a> {
    pair: Pair<'a>,
    /// The new graph against itself.
    own: Pair<'a>,
    views: [View<'a>; 2],
    reached: [Option<BTreeSet<Key<'a>>>; 2],
    changes: Vec<Change>,
}

impl<'a> Work<'a> {
    /// Everything of one class and name that one of the layers holds.
    fn named(
        &mut self,
        key: Key<'a>,
        mut olds: Vec<u32>,
        mut news: Vec<u32>,
    ) -> Result<(), DiffError> {
        self.drop_equal(&mut olds, &mut news)?;
        if olds.is_empty() && news.is_empty() {
            return Ok(());
        }
        // What stands on the other side of the split now did not change by that.
        let below = [self.pair.old, self.pair.new].map(|side| side.below(key.0, key.1));
        let below = below.map(Iterator::collect::<Vec<u32>>);
        let mut failed = None;
        olds.retain(|&a| !below[1].iter().any(|&b| alike(self.pair.equal(a, b), &mut failed)));
        news.retain(|&b| !below[0].iter().any(|&a| alike(self.pair.equal(a, b), &mut failed)));
        if let Some(error) = failed {
            return Err(error);
        }
        for (a, b) in self.pairs(&mut olds, &mut news) {
            self.changed(a, b)?;
        }
        for a in olds {
            let likely = self.best(&[a], &below[1]);
            match likely.filter(|_| key.0.has_body()) {
                Some((_, b)) => self.changed(a, b)?,
                None => self.lone(a, Fate::Removed)?,
            }
        }
        for b in news {
            let mut likely = self.best(&below[0], &[b]).filter(|_| key.0.has_body());
            if likely.is_none()
                && !matches!(key.0, Class::Func | Class::Var)
                && self.reached(0).contains(&key)
            {
                likely = below[0].first().map(|&a| (a, b));
            }
            match likely {
                Some((a, b)) => self.changed(a, b)?,
                None => self.lone(b, Fate::Added)?,
            }
        }
        Ok(())
    }

    /// Nameless types: equal ones first, then those of one first element, then enums that share one.
    fn nameless(&mut self, groups: BTreeMap<Key<'a>, [Vec<u32>; 2]>) -> Result<(), DiffError> {
        let (mut rest_old, mut rest_new) = (Vec::new(), Vec::new());
        for (_, [mut olds, mut news]) in groups {
            self.drop_equal(&mut olds, &mut news)?;
            for (a, b) in self.pairs(&mut olds, &mut news) {
                self.changed(a, b)?;
            }
            rest_old.extend(olds);
            rest_new.extend(news);
        }
        let mut homes: HashMap<&[u8], u32> = HashMap::new();
        for &a in &rest_old {
            let side = self.pair.old;
            if let Some(ty) = side.layers.get(a)
                && ty.kind().is_some_and(Kind::is_enum)
            {
                homes.extend(ty.elements().map(|e| (side.layers.string(e[0]), a)));
            }
        }
        let mut taken = HashSet::new();
        for b in rest_new {
            let side = self.pair.new;
            let ty = side.layers.get(b).filter(|ty| ty.kind().is_some_and(Kind::is_enum));
            let home = ty.and_then(|ty| {
                let mut names = ty.elements().map(|e| side.layers.string(e[0]));
                names.find_map(|name| homes.get(name).filter(|a| !taken.contains(*a)).copied())
            });
            match home {
                Some(a) => {
                    taken.insert(a);
                    self.changed(a, b)?;
                }
                None => self.lone(b, Fate::Added)?,
            }
        }
        for a in rest_old.into_iter().filter(|a| !taken.contains(a)) {
            self.lone(a, Fate::Removed)?;
        }
        Ok(())
    }

    /// Types of different bases that the layers refer to.
    fn base(&mut self, groups: &BTreeMap<Key<'a>, [Vec<u32>; 2]>) -> Result<(), DiffError> {
        let mut keys = self.reached(0).clone();
        keys.extend(self.reached(1));
        for key in keys {
            // Those of the layers themselves have been looked at.
            if groups.contains_key(&key) || matches!(key.0, Class::Func | Class::Var) {
                continue;
            }
            let mut olds: Vec<u32> = self.pair.old.below(key.0, key.1).collect();
            let mut news: Vec<u32> = self.pair.new.below(key.0, key.1).collect();
            if olds.is_empty() || news.is_empty() {
                continue;
            }
            self.drop_equal(&mut olds, &mut news)?;
            for (a, b) in self.pairs(&mut olds, &mut news) {
                self.changed(a, b)?;
            }
        }
        Ok(())
    }

    fn reached(&mut self, which: usize) -> &BTreeSet<Key<'a>> {
        let side = if which == 0 { self.pair.old } else { self.pair.new };
        self.reached[which].get_or_insert_with(|| reached(side))
    }

    /// Takes out pairs of equals.
    fn drop_equal(&mut self, olds: &mut Vec<u32>, news: &mut Vec<u32>) -> Result<(), DiffError> {
        let mut failed = None;
        olds.retain(|&a| {
            let twin = news.iter().position(|&b| alike(self.pair.equal(a, b), &mut failed));
            twin.map(|at| news.remove(at)).is_none()
        });
        failed.map_or(Ok(()), Err)
    }

    /// Takes out pairs of versions of one thing, the most alike first.
    fn pairs(&self, olds: &mut Vec<u32>, news: &mut Vec<u32>) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        while let Some(&first) = olds.first()
            && let Some(&other) = news.first()
        {
            let alone = olds.len() == 1 && news.len() == 1;
            let best = if alone { None } else { self.best(olds, news) };
            let (a, b) = best.unwrap_or((first, other));
            olds.retain(|&id| id != a);
            news.retain(|&id| id != b);
            found.push((a, b));
        }
        found.sort_unstable();
        found
    }

    /// The two that share most names of elements; none where all share less than half.
    fn best(&self, olds: &[u32], news: &[u32]) -> Option<(u32, u32)> {
        let [old, new] = [self.pair.old, self.pair.new].map(|side| {
            move |id: u32| -> BTreeSet<&'a [u8]> {
                let ty = side.layers.get(id);
                let body =
                    ty.filter(|ty| ty.kind().and_then(Class::of).is_some_and(Class::has_body));
                body.into_iter()
                    .flat_map(|ty| ty.elements().map(move |e| side.layers.string(e[0])))
                    .collect()
            }
        });
        let mut best = None;
        for &a in olds {
            let names = old(a);
            for &b in news {
                let other = new(b);
                let shared = names.intersection(&other).count();
                let most = names.len().max(other.len());
                if shared > 0 && shared * 2 >= most {
                    let score = (shared * 1000 / most, std::cmp::Reverse((a, b)));
                    best = best.max(Some(score));
                }
            }
        }
        best.map(|(_, std::cmp::Reverse(pair))| pair)
    }

    fn lone(&mut self, id: u32, fate: Fate) -> Result<(), DiffError> {
        let which = usize::from(fate == Fate::Added);
        let side = if which == 0 { self.pair.old } else { self.pair.new };
        let Some(key) = class_and_name(side, id) else { return Ok(()) };
        let mut change = Change {
            class: key.0,
            name: key.1,
            fate,
            in_base: !side.owns(id),
            shadows: which == 1 && self.shadows(id)?,
            size: [None, None],
            text: [None, None],
            details: Vec::new(),
        };
        change.size[which] = self.size(side, which, id);
        change.text[which] = text(side, key.0, id, &change.name);
        self.changes.push(change);
        Ok(())
    }

    fn changed(&mut self, a: u32, b: u32) -> Result<(), DiffError> {
        let (old, new) = (self.pair.old, self.pair.new);
        let (Some(x), Some(y)) = (old.layers.get(a), new.layers.get(b)) else { return Ok(()) };
        let Some((class, name)) = class_and_name(new, b) else { return Ok(()) };
        let mut details = Vec::new();
        match class {
            Class::Struct | Class::Union => {
                details = composite(&mut self.pair, &self.views, a, b)?;
            }
            Class::Enum => things::enumeration(&self.pair, x, y, &mut details),
            Class::Func => {
                let protos = (old.layers.get(x.size_or_type()), new.layers.get(y.size_or_type()));
                if let (Some(p), Some(q)) = protos {
                    things::prototype(&mut self.pair, p, q, &mut details)?;
                }
                things::linkage(x.vlen(), y.vlen(), &mut details);
            }
            Class::Var => {
                things::target(&mut self.pair, x, y, &mut details)?;
                things::linkage(payload(x, 0), payload(y, 0), &mut details);
                things::place(&self.pair, a, b, &mut details);
            }
            Class::Typedef => things::target(&mut self.pair, x, y, &mut details)?,
            Class::Int | Class::Float => things::number_type(x, y, &mut details),
        }
        things::tags(&self.pair, a, b, &mut details);
        if details.is_empty() {
            if self.pair.equal(a, b)? {
                return Ok(());
            }
            // Enumerators in another order, say.
            let what = super::What::Arranged;
            details.push(super::Detail { what, name: String::new(), old: None, new: None });
        }
        let size = [self.size(old, 0, a), self.size(new, 1, b)];
        let text = [text(old, class, a, &name), text(new, class, b, &name)];
        let shadows = self.shadows(b)?;
        self.changes.push(Change {
            class,
            fate: Fate::Changed,
            in_base: !new.owns(b),
            shadows,
            size,
            text,
            details,
            name,
        });
        Ok(())
    }

    /// Whether the base has something else under the name of a new type.
    fn shadows(&mut self, id: u32) -> Result<bool, DiffError> {
        let side = self.pair.new;
        let Some((class, name)) = named(side, id) else { return Ok(false) };
        if !side.owns(id) || !class.has_body() {
            return Ok(false);
        }
        let below: Vec<u32> = side.below(class, name).collect();
        for &other in &below {
            if self.own.equal(other, id)? {
                return Ok(false);
            }
        }
        Ok(!below.is_empty())
    }

    fn size(&self, side: Side<'a>, which: usize, id: u32) -> Option<u64> {
        let ty = side.layers.get(id)?;
        match ty.kind()? {
            Kind::Func => None,
            Kind::Var | Kind::Typedef => {
                Some(self.views[which].size(ty.size_or_type())).filter(|&size| size > 0)
            }
            _ => Some(ty.size_or_type().into()),
        }
    }
}

fn alike(result: Result<bool, DiffError>, failed: &mut Option<DiffError>) -> bool {
    result.unwrap_or_else(|error| {
        *failed = Some(error);
        false
    })
}

/// What a thing is called; a nameless one by its first elements.
fn class_and_name(side: Side<'_>, id: u32) -> Option<(Class, String)> {
    let ty = side.layers.get(id)?;
    let class = ty.kind().and_then(Class::of)?;
    if ty.name() != 0 {
        return Some((class, side.layers.text(ty.name()).into_owned()));
    }
    let names = ty.elements().take(TOLD).map(|e| side.layers.text(e[0]));
    let mut names: Vec<_> = names.collect();
    if ty.elements().len() > TOLD {
        names.push("…".into());
    }
    Some((class, format!("{{ {} }}", names.join(", "))))
}

fn text(side: Side<'_>, class: Class, id: u32, name: &str) -> Option<String> {
    let target = side.layers.get(id)?.size_or_type();
    match class {
        Class::Func | Class::Var => Some(declared(side.layers, target, name)),
        Class::Typedef => Some(type_text(side.layers, target)),
        _ => None,
    }
}
