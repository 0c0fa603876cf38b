//! Two versions of an enum, function, variable, typedef, int or float.

use super::compare::{Pair, value};
use super::index::Tag;
use super::report::{Detail, Value, What};
use super::{DiffError, number};
use crate::btf::Type;
use crate::btf::layers::{Layers, payload};
use crate::btf::text::type_text;
use std::collections::HashMap;

fn text(what: What, name: &str, old: Option<String>, new: Option<String>) -> Detail {
    let (old, new) = (old.map(Value::Text), new.map(Value::Text));
    Detail { what, name: name.into(), old, new }
}

/// Size, sign and enumerators.
pub(super) fn enumeration(pair: &Pair<'_>, x: Type<'_>, y: Type<'_>, out: &mut Vec<Detail>) {
    if x.size_or_type() != y.size_or_type() {
        out.push(number(What::Size, "", x.size_or_type(), y.size_or_type()));
    }
    if x.kflag() != y.kflag() {
        out.push(number(What::Sign, "", x.kflag(), y.kflag()));
    }
    let list = |layers: Layers<'_>, ty: Type<'_>| -> Vec<(String, i128)> {
        ty.elements().map(|e| (layers.text(e[0]).into_owned(), value(ty, e))).collect()
    };
    let (old, new) = (list(pair.old.layers, x), list(pair.new.layers, y));
    let before: HashMap<&str, i128> = old.iter().map(|(name, n)| (&**name, *n)).collect();
    let after: HashMap<&str, i128> = new.iter().map(|(name, n)| (&**name, *n)).collect();
    let mut gone: Vec<_> = old.iter().filter(|(name, _)| !after.contains_key(&**name)).collect();
    let mut come = Vec::new();
    for (name, n) in &new {
        match before.get(&**name) {
            Some(m) if m != n => out.push(number(What::ValueChanged, name, *m, *n)),
            Some(_) => {}
            None => match gone.iter().position(|(_, m)| m == n) {
                Some(at) => {
                    let was = gone.remove(at).0.clone();
                    out.push(text(What::ValueRenamed, name, Some(was), Some(name.clone())));
                }
                None => come.push((name, n)),
            },
        }
    }
    for (name, n) in gone {
        let (what, old) = (What::ValueRemoved, Some(Value::Number(*n)));
        out.push(Detail { what, name: name.clone(), old, new: None });
    }
    for (name, n) in come {
        let (what, new) = (What::ValueAdded, Some(Value::Number(*n)));
        out.push(Detail { what, name: name.clone(), old: None, new });
    }
}

/// Return type and parameters.
pub(super) fn prototype(
    pair: &mut Pair<'_>,
    x: Type<'_>,
    y: Type<'_>,
    out: &mut Vec<Detail>,
) -> Result<(), DiffError> {
    let (old, new) = (pair.old.layers, pair.new.layers);
    if !pair.same(x.size_or_type(), y.size_or_type())? {
        let was = type_text(old, x.size_or_type());
        let is = type_text(new, y.size_or_type());
        out.push(text(What::Returns, "", Some(was), Some(is)));
    }
    let list = |layers: Layers<'_>, ty: Type<'_>| -> Vec<(String, u32)> {
        let count = ty.elements().len();
        let name = |i: usize, p: &[u32]| match (p[0], p[1]) {
            (0, 0) if i + 1 == count => "...".to_owned(),
            (0, _) => format!("#{}", i + 1),
            _ => layers.text(p[0]).into_owned(),
        };
        ty.elements().enumerate().map(|(i, p)| (name(i, p), p[1])).collect()
    };
    let (before, after) = (list(old, x), list(new, y));
    let mut free = vec![true; before.len()];
    let mut partner = vec![None; after.len()];
    for (j, (name, _)) in after.iter().enumerate() {
        let found = before.iter().zip(&free).position(|((n, _), free)| *free && n == name);
        if let Some(i) = found {
            (partner[j], free[i]) = (Some(i), false);
        }
    }
    // Left over and of one type: in the same position, or behind the same neighbour.
    for j in 0..after.len() {
        let behind = match j.checked_sub(1) {
            None => Some(0),
            Some(previous) => partner[previous].map(|i: usize| i + 1),
        };
        for i in [Some(j), behind].into_iter().flatten() {
            if partner[j].is_none()
                && free.get(i) == Some(&true)
                && pair.same(before[i].1, after[j].1)?
            {
                (partner[j], free[i]) = (Some(i), false);
            }
        }
    }
    for ((name, id), _) in before.iter().zip(&free).filter(|(_, free)| **free) {
        out.push(text(What::ParamRemoved, name, Some(type_text(old, *id)), None));
    }
    // Where it would stand if those before it had only been left out or put in.
    let mut next = 0;
    for (j, (name, id)) in after.iter().enumerate() {
        let Some(i) = partner[j] else {
            out.push(text(What::ParamAdded, name, None, Some(type_text(new, *id))));
            continue;
        };
        if before[i].0 != *name {
            let (was, is) = (before[i].0.clone(), name.clone());
            out.push(text(What::ParamRenamed, name, Some(was), Some(is)));
        }
        if !pair.same(before[i].1, *id)? {
            let (was, is) = (type_text(old, before[i].1), type_text(new, *id));
            out.push(text(What::ParamRetyped, name, Some(was), Some(is)));
        }
        if i < next {
            out.push(number(What::ParamMoved, name, i as u64, j as u64));
        }
        next = next.max(i + 1);
    }
    Ok(())
}

/// What a function is beside its prototype.
pub(super) fn linkage(x: u32, y: u32, out: &mut Vec<Detail>) {
    if x != y {
        out.push(number(What::Linkage, "", x, y));
    }
}

/// The type that a typedef or variable has.
pub(super) fn target(
    pair: &mut Pair<'_>,
    x: Type<'_>,
    y: Type<'_>,
    out: &mut Vec<Detail>,
) -> Result<(), DiffError> {
    let (a, b) = (x.size_or_type(), y.size_or_type());
    if !pair.same(a, b)? {
        let (was, is) = (type_text(pair.old.layers, a), type_text(pair.new.layers, b));
        out.push(text(What::Type, "", Some(was), Some(is)));
    }
    Ok(())
}

/// Where a variable lies.
pub(super) fn place(pair: &Pair<'_>, a: u32, b: u32, out: &mut Vec<Detail>) {
    let value = |place: Option<(&[u8], u32, u32)>| {
        place.map(|(section, offset, size)| Value::Place {
            section: String::from_utf8_lossy(section).into_owned(),
            offset,
            size,
        })
    };
    let (old, new) = (pair.old.place(a), pair.new.place(b));
    if old != new {
        let (old, new) = (value(old), value(new));
        out.push(Detail { what: What::Place, name: String::new(), old, new });
    }
}

/// Size and encoding of an int or float.
pub(super) fn number_type(x: Type<'_>, y: Type<'_>, out: &mut Vec<Detail>) {
    if x.size_or_type() != y.size_or_type() {
        out.push(number(What::Size, "", x.size_or_type(), y.size_or_type()));
    }
    if payload(x, 0) != payload(y, 0) {
        out.push(number(What::Encoding, "", payload(x, 0), payload(y, 0)));
    }
}

/// Declaration tags that came or went; each by its text, of a member or parameter as `NAME:text`.
pub(super) fn tags(pair: &Pair<'_>, a: u32, b: u32, out: &mut Vec<Detail>) {
    let (old, new) = (pair.old.tags(a), pair.new.tags(b));
    let name = |(component, _, text): &Tag<'_>| {
        let text = String::from_utf8_lossy(text);
        if component.is_empty() { text.into_owned() } else { format!("{component}:{text}") }
    };
    for tag in old.iter().filter(|tag| !new.contains(tag)) {
        out.push(Detail { what: What::TagRemoved, name: name(tag), old: None, new: None });
    }
    for tag in new.iter().filter(|tag| !old.contains(tag)) {
        out.push(Detail { what: What::TagAdded, name: name(tag), old: None, new: None });
    }
}
