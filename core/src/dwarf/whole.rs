//! Types that are read in one go: a DIE and all its children, up to the end of their list.
//!
//! Of structs, unions, enums, arrays and prototypes nearly all have nothing but quick DIEs
//! ([`super::quick`]) below them. Then nothing has to be opened, kept and closed: members, values and
//! parameters are summed as they are read. Where a child turns out to be something else, what there
//! is so far is forgotten, and the long way reads the type again from its start; so this costs at most
//! what the quick children before it do. Cost: some 170 instructions a member, half of them for its
//! sums.

use super::abbreviations::What;
use super::bytes::Cursor;
use super::cu::Texts;
use super::emit::{Head, Member, Sink};
use super::quick::{Named, Quick, Quicks, Window, next};
use super::walk::{MAX_DIMENSIONS, Walk};
use crate::btf::kind::Kind;
use crate::btf::types::{MAX_VLEN, info};
use crate::identity::Heading;

/// Goes over the members of a struct or union; tells its info word and where they end.
#[inline(always)]
fn members<'d>(
    quicks: &Quicks,
    within: u64,
    mut at: Cursor<'d>,
    texts: Texts<'d>,
    kind: Kind,
    mut take: impl FnMut(&Member, Named<'d>),
) -> Option<(u32, Cursor<'d>)> {
    let (mut count, mut notes) = (0, 0);
    loop {
        let (quick, mut window) = next(quicks, at)?;
        if quick.what != What::Member {
            break;
        }
        let (member, name) = quick.member(&mut window, texts, within, kind == Kind::Union)?;
        (count, notes) = (count + 1, notes | member.notes);
        take(&member, name);
        at = window.at;
        at.advance(quick.size);
    }
    if notes & Member::FAR != 0 || count > MAX_VLEN {
        return None;
    }
    Some((info(kind, count, notes & Member::BITS != 0), end(at)?))
}

/// Passes over the end of a list.
#[inline(always)]
fn end(mut at: Cursor<'_>) -> Option<Cursor<'_>> {
    at.window::<1>().filter(|&&[code]| code == 0)?;
    at.advance(1);
    Some(at)
}

impl<'d> Walk<'_, 'd> {
    /// A struct or union.
    // Half of all DIEs: a loop that needs all registers.
    #[inline(never)]
    pub(super) fn whole_composite(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        mut window: Window<'d>,
    ) -> Option<Cursor<'d>> {
        let offset = (window.at.position() - self.out.start) as u32;
        let kind = if q.what == What::Union { Kind::Union } else { Kind::Struct };
        let texts = self.out.texts;
        let name = q.name(&mut window, texts)?;
        let size = q.number.read(window.die);
        let mut at = window.at;
        at.advance(q.size);
        if !q.has_children {
            let (declaration, name) = (q.declares, name.text);
            if declaration && name.is_none() {
                return None;
            }
            let place = self.out.place(offset);
            let head = Head { at: place, kind, name, size, ty: 0, declaration };
            self.out.composite(&head, &[]).ok()?;
            return Some(at);
        }
        if self.sorts_members {
            return None;
        }
        let behind = match &mut self.out.sink {
            Sink::Words(types) => {
                let index = types.push(&[name.text.0, 0, size]);
                let told = members(quicks, within, at, texts, kind, |member, _| {
                    let words = [member.name.0, member.ty, member.place];
                    words.into_iter().for_each(|word| types.word(word));
                });
                let Some((info, behind)) = told else {
                    types.truncate(index);
                    return None;
                };
                types.get_mut(index)[1] = info;
                behind
            }
            Sink::Sketch { key, sketch, places, .. } => {
                let mut adding = sketch.composite(key, name.name());
                let told = members(quicks, within, at, texts, kind, |member, name| {
                    adding.member(name.name(), member.ty, member.place);
                });
                let Some((info, behind)) = told else {
                    adding.forget();
                    return None;
                };
                adding.finish(Heading { info, name: name.text.0, size });
                places.push(offset);
                behind
            }
        };
        self.out.settle(offset);
        Some(behind)
    }

    /// An enum.
    #[inline(never)]
    pub(super) fn whole_enum(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        mut window: Window<'d>,
    ) -> Option<Cursor<'d>> {
        let offset = (window.at.position() - self.out.start) as u32;
        let texts = self.out.texts;
        let name = q.name(&mut window, texts)?;
        let (size, ty) = (q.number.read(window.die), q.ty(window.die, within));
        let mut at = window.at;
        at.advance(q.size);
        // Numbers that are read quickly have no sign, and fit.
        if let Sink::Sketch { key, sketch, places, .. } = &mut self.out.sink
            && let 1 | 2 | 4 = size
        {
            let mut adding = sketch.composite(key, name.name());
            let told = children(quicks, q, at, What::Enumerator, |q, window| {
                let (name, value) = q.value(window, texts)?;
                adding.value(name.name(), value);
                Some(())
            });
            let Some((count, behind)) = told.filter(|&(count, _)| count <= MAX_VLEN) else {
                adding.forget();
                return None;
            };
            adding.finish(Heading {
                info: info(Kind::Enum, count, false),
                name: name.text.0,
                size,
            });
            places.push(offset);
            self.out.settle(offset);
            return Some(behind);
        }
        let first = self.values.len();
        let values = &mut self.values;
        let told = children(quicks, q, at, What::Enumerator, |q, window| {
            let (name, value) = q.value(window, texts)?;
            values.push((name.text, value.into()));
            Some(())
        });
        let Some((_, behind)) = told else {
            self.values.truncate(first);
            return None;
        };
        let (at, name) = (self.out.place(offset), name.text);
        let head = Head { at, kind: Kind::Enum, name, size, ty, declaration: false };
        self.enumeration(&head, first).ok()?;
        Some(behind)
    }

    /// A prototype.
    #[inline(never)]
    pub(super) fn whole_prototype(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        window: Window<'d>,
    ) -> Option<Cursor<'d>> {
        let offset = (window.at.position() - self.out.start) as u32;
        let texts = self.out.texts;
        let ret = q.ty(window.die, within);
        let mut at = window.at;
        at.advance(q.size);
        let behind = match &mut self.out.sink {
            Sink::Words(types) => {
                let index = types.push(&[0, 0, ret]);
                let told = children(quicks, q, at, What::Parameter, |q, window| {
                    let (name, ty) = q.param(window, texts, within)?;
                    [name.text.0, ty].into_iter().for_each(|word| types.word(word));
                    Some(())
                });
                let Some((count, behind)) = told.filter(|&(count, _)| count <= MAX_VLEN) else {
                    types.truncate(index);
                    return None;
                };
                types.get_mut(index)[1] = info(Kind::FuncProto, count, false);
                behind
            }
            Sink::Sketch { key, sketch, places, .. } => {
                let mut adding = sketch.prototype(key, ret);
                let told = children(quicks, q, at, What::Parameter, |q, window| {
                    let (name, ty) = q.param(window, texts, within)?;
                    adding.param(name.name(), ty);
                    Some(())
                });
                let Some((count, behind)) = told.filter(|&(count, _)| count <= MAX_VLEN) else {
                    adding.forget();
                    return None;
                };
                let info = info(Kind::FuncProto, count, false);
                adding.finish(Heading { info, name: 0, size: 0 });
                places.push(offset);
                behind
            }
        };
        self.out.settle(offset);
        Some(behind)
    }

    /// An array.
    #[inline(never)]
    pub(super) fn whole_array(
        &mut self,
        quicks: &Quicks,
        within: u64,
        q: &Quick,
        window: Window<'d>,
    ) -> Option<Cursor<'d>> {
        let offset = (window.at.position() - self.out.start) as u32;
        let ty = q.ty(window.die, within);
        let (mut dimensions, mut nelems) = (0, 1u32);
        let mut at = window.at;
        at.advance(q.size);
        let (_, at) = children(quicks, q, at, What::Subrange, |q, window| {
            dimensions += 1;
            let count = q.number.read(window.die).wrapping_add(q.scale.into());
            nelems = nelems.wrapping_mul(count);
            (dimensions <= MAX_DIMENSIONS).then_some(())
        })?;
        let place = self.out.place(offset);
        self.out.array(place, ty, nelems);
        Some(at)
    }
}

/// Goes over the children of a DIE, which begin at `at` where it has some and are all the same; tells
/// how many they are and where they end.
#[inline(always)]
fn children<'d>(
    quicks: &Quicks,
    parent: &Quick,
    mut at: Cursor<'d>,
    what: What,
    mut take: impl FnMut(&Quick, &mut Window<'d>) -> Option<()>,
) -> Option<(u32, Cursor<'d>)> {
    if !parent.has_children {
        return Some((0, at));
    }
    let mut count = 0;
    while let (quick, mut window) = next(quicks, at)?
        && quick.what == what
    {
        take(quick, &mut window)?;
        count += 1;
        at = window.at;
        at.advance(quick.size);
    }
    Some((count, end(at)?))
}
