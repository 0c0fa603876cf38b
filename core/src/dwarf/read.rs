//! The three ways to read a group: write all types down, sketch them, or write one down.

use super::cu::{Cu, Written};
use super::emit::{Emitter, IS_ID, Sink};
use super::offsets::OffsetMap;
use super::resolve;
use super::unit::Group;
use super::walk::{Open, Walk};
use super::{DwarfError, Known, Result};
use crate::btf::Types;
use crate::features::Features;
use crate::identity::{Key, Name, Sketch};
use crate::target::Target;

/// Reads one group, and writes all its types down.
///
/// `functions` are those that the symbol table has; `target` tells the calling convention.
pub fn read<'d>(
    group: &Group<'d>,
    functions: Known<'_>,
    target: Target,
    features: &Features,
) -> Result<Cu<'d>> {
    group.named(
        read_units(group, target, features, Sink::Words(Types::new()))
            .and_then(|out| resolve::written(out, functions, target)),
    )
}

/// Reads one group, and sketches its types; those that are wanted can be read again.
///
/// What cannot be sketched has everything written down, and the sketch is made of that.
pub fn sketch<'d>(
    group: &'d Group<'d>,
    functions: Known<'_>,
    target: Target,
    features: &'d Features,
    key: &Key,
) -> Result<(Cu<'d>, Sketch)> {
    let sink = Sink::sketch(key, group.len);
    let out = group.named(read_units(group, target, features, sink))?;
    if let Some(sketched) = resolve::sketched(out, group, features, functions, target) {
        return Ok(sketched);
    }
    let cu = read(group, functions, target, features)?;
    let texts = cu.texts;
    let sketch = match &cu.types {
        Written::Down(types) => Sketch::of(types, key, |name| Name::Text(texts.tail(name))),
        Written::Again(_) => Sketch::default(),
    };
    Ok((cu, sketch))
}

/// Reads types one by one; what a reader needs for that is kept from one to the next.
pub(super) struct One<'d> {
    walk: Walk<'d, 'd>,
}

impl<'d> One<'d> {
    pub fn of(group: &'d Group<'d>, features: &'d Features) -> One<'d> {
        let sink = Sink::Words(Types::new());
        One { walk: Walk::new(group, Target::NONE, features, sink, OffsetMap::none()) }
    }

    /// Reads the type whose DIE stands at an offset in the group; references are such offsets. Tells
    /// how many bytes that were.
    pub fn read(&mut self, offset: u32, words: &mut Vec<u32>) -> Result<usize> {
        let walk = &mut self.walk;
        let group = walk.group;
        let place = group.start + offset as usize;
        let Some(unit) = group.unit_of(place) else { return Ok(0) };
        walk.out.forget();
        walk.begin(unit);
        walk.stack.push(Open::Scope { top_level: false });
        let end = walk.entries(unit, unit.entries_from(place), 1).map_err(|e| e.of(unit));
        let end = group.named(end)?;
        if let Sink::Words(types) = &walk.out.sink
            && let Some(last) = types.len().checked_sub(1)
        {
            words.extend_from_slice(types.get(last).0);
        }
        Ok(end - place)
    }
}

fn read_units<'a, 'd>(
    group: &'a Group<'d>,
    target: Target,
    features: &'a Features,
    sink: Sink<'a>,
) -> Result<Emitter<'a, 'd>> {
    if group.len >= IS_ID as usize {
        let what =
            format!("{} bytes of units that refer to each other, expected below 2 GiB", group.len);
        return Err(DwarfError::die(group.start, what));
    }
    let mut walk = Walk::new(group, target, features, sink, OffsetMap::new(group.len));
    for unit in &group.units {
        walk.begin(unit);
        walk.entries(unit, unit.entries(), 0).map_err(|e| e.of(unit))?;
    }
    Ok(walk.out)
}
