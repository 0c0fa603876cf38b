//! Which types of a row of units the exact engine has to see.
//!
//! A unit's sketch is looked at once, when the unit is taken in; what remains of it is the class of
//! each type, and of each class where it was met first.

use super::hash::{Identity, Key};
use super::known::{Found, Known, Map};
use super::sketch::{Sketch, TagKind};
use super::types::{Identities, Loose, one_array_a_length, standard_int};
use crate::bits::Bits;
use crate::btf::Kind;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const NONE: u32 = u32::MAX;

/// All types of one identity.
#[derive(Debug)]
struct Class {
    /// The type of the base, 0 for none.
    base: u32,
    /// The unit where it was met first; once all is settled, none where the base has it.
    unit: u32,
    /// Its position there.
    index: u32,
    /// The struct, union or forward declaration that it is.
    tag: u32,
    /// Its types are not to be told by identity alone.
    doubtful: bool,
    /// The type that later ones are: an id of the file, or of the base once all is settled.
    placed: u32,
}

/// All structs, unions and forward declarations of one name.
#[derive(Debug)]
struct Tag {
    /// What references to it see.
    seen: Identity,
    name: Identity,
    kind: TagKind,
    /// The class of its definition.
    definition: u32,
    forward: bool,
    doubtful: bool,
    /// The unit that was the last to have one.
    unit: u32,
}

/// What becomes of the types of one unit.
#[derive(Debug)]
pub struct Assigned {
    /// Their ids in the file, void first: of the type itself, or of the one that it is.
    pub ids: Vec<u32>,
    /// Positions of those that the exact engine has to see, in their order.
    pub kept: Vec<u32>,
}

impl Assigned {
    /// Of `count` types that are all kept, from id `first` on.
    pub fn all(count: usize, first: u32) -> Assigned {
        let ids = (0..count as u32).map(|index| first + index);
        Assigned { ids: std::iter::once(0).chain(ids).collect(), kept: (0..count as u32).collect() }
    }
}

/// The types of a row of units, told apart by identity.
#[derive(Debug)]
pub struct Merge<'base> {
    known: Option<&'base Known>,
    key: &'static Key,
    /// Classes by identity.
    table: HashTable<u32>,
    classes: Vec<Class>,
    /// The identity of each class, and the class of what came next after one of it lately.
    trail: Vec<(Identity, u32)>,
    tags: Vec<Tag>,
    /// These by what references see.
    by_name: HashTable<u32>,
    /// The first class of structs, unions and typedefs with arrays in them, by identity without
    /// their elements.
    loose: Map<u32>,
    /// Nothing is told by identity.
    exact: bool,
    units: u32,
}

impl<'base> Merge<'base> {
    /// Over a base, or stand-alone.
    pub fn new(known: Option<&'base Known>) -> Merge<'base> {
        Merge {
            known,
            key: Key::of_process(),
            table: HashTable::new(),
            classes: Vec::new(),
            trail: Vec::new(),
            tags: Vec::new(),
            by_name: HashTable::new(),
            loose: Map::default(),
            exact: known.is_some_and(|known| known.unusable),
            units: 0,
        }
    }

    /// Lets the exact engine see everything.
    fn give_up(&mut self) {
        self.exact = true;
    }

    /// Whether the exact engine is to see everything.
    pub fn gave_up(&self) -> bool {
        self.exact
    }

    /// Takes the next unit in; returns the class of each type.
    pub fn add(&mut self, sketch: &Sketch, identities: &Identities) -> Vec<u32> {
        let unit = self.units;
        self.units += 1;
        if identities.unusual {
            self.give_up();
        }
        if self.exact {
            return Vec::new();
        }
        if sketch.len() > self.classes.len() {
            self.reserve(sketch);
        }
        let (list, new) = self.sort(&identities.own);
        let mut below = Vec::with_capacity(new.len());
        let mut last = 0;
        // Cache misses: a processor takes many at once, if nothing is between them.
        for &index in &new {
            let identity = identities.own[index as usize];
            let find = |known: &Known| known.find_next(identity, &mut last);
            below.push(self.known.map_or(Found::Nowhere, find));
        }
        let mut loose = Loose::new(sketch, identities, self.key, &[]);
        let mut names = sketch.tag_names();
        for (&index, found) in new.iter().zip(below) {
            while let [(at, _), rest @ ..] = names
                && *at < index
            {
                names = rest;
            }
            let name = names.first().filter(|&&(at, _)| at == index).map(|&(_, name)| name);
            let index = index as usize;
            self.new_class(sketch, identities, unit, index, name, found);
            self.look_for_twins(sketch, identities, index, &mut loose);
        }
        for &(index, _) in sketch.tag_names() {
            let class = self.classes.get(list[index as usize] as usize);
            if let Some(tag) = class.and_then(|class| self.tags.get_mut(class.tag as usize)) {
                tag.doubtful |= std::mem::replace(&mut tag.unit, unit) == unit;
            }
        }
        list
    }

    /// Makes room for what is new: most types of the first large unit are, and some of later ones.
    fn reserve(&mut self, sketch: &Sketch) {
        let more = |len: usize| len + len / 4;
        let (types, tags) = (more(sketch.len()), more(sketch.tag_names().len()));
        self.table.reserve(types, |&class| self.trail[class as usize].0.spread());
        self.trail.reserve(types);
        self.classes.reserve(types);
        self.tags.reserve(tags);
        self.by_name.reserve(tags, |&tag| self.tags[tag as usize].seen.spread());
    }

    /// The class of each of these types, and the positions of those whose class is new.
    fn sort(&mut self, own: &[Identity]) -> (Vec<u32>, Vec<u32>) {
        let mut new = Vec::new();
        let (mut last, mut guess) = (NONE, NONE);
        let list = own.iter().enumerate().map(|(index, &identity)| {
            // Units take in the same headers: what comes next is mostly what came next before.
            if let Some(&(other, next)) = self.trail.get(guess as usize)
                && other == identity
            {
                (last, guess) = (guess, next);
                return last;
            }
            if identity == Identity::NONE {
                return NONE;
            }
            let class = self.class(identity);
            if class == self.trail.len() as u32 {
                self.trail.push((identity, NONE));
                new.push(index as u32);
            }
            if let Some((_, next)) = self.trail.get_mut(last as usize) {
                *next = class;
            }
            (last, guess) = (class, self.trail[class as usize].1);
            class
        });
        (list.collect(), new)
    }

    /// The class of an identity, which may be the next one.
    // Not within the loop over all types, most of which go another way.
    #[inline(never)]
    fn class(&mut self, identity: Identity) -> u32 {
        let of = |&class: &u32| self.trail[class as usize].0;
        let same = |class: &u32| of(class) == identity;
        match self.table.entry(identity.spread(), same, |class| of(class).spread()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => *entry.insert(self.trail.len() as u32).get(),
        }
    }

    /// Where the exact engine might mistake the new type at `index` for another, both are doubtful;
    /// gives up where the other one is in the base.
    fn look_for_twins(
        &mut self,
        sketch: &Sketch,
        identities: &Identities,
        index: usize,
        loose: &mut Loose<'_>,
    ) {
        let kind = sketch.kind(index).unwrap_or(Kind::Void);
        if !identities.has_array(index) || !kind.is_composite() && kind != Kind::Typedef {
            return;
        }
        // A twin of what the base has is told when it is met itself.
        let is_below = self.classes.last().is_some_and(|class| class.base != 0);
        if is_below && !self.known.is_some_and(|known| known.is_twin(identities.own[index])) {
            return;
        }
        let (own, loose) = (identities.own[index], loose.get(index));
        let below = self.known.is_some_and(|known| known.has_twin(loose, own));
        let class = self.classes.len() as u32 - 1;
        let first = *self.loose.entry(loose).or_insert(class);
        if !below && first == class || one_array_a_length(sketch, identities, index) {
            return;
        }
        if below {
            self.give_up();
        }
        for twin in [first, class] {
            match self.classes[twin as usize].tag {
                NONE => self.classes[twin as usize].doubtful = true,
                tag => self.tags[tag as usize].doubtful = true,
            }
        }
    }

    /// Adds the class of the type at `index`, which counts by its `name` where it has one, and is in
    /// the base where it was `found`.
    fn new_class(
        &mut self,
        sketch: &Sketch,
        identities: &Identities,
        unit: u32,
        index: usize,
        name: Option<Identity>,
        found: Found,
    ) {
        let class = self.classes.len() as u32;
        let identity = identities.own[index];
        let mut doubtful = found == Found::Several;
        let tag = match name.zip(sketch.tag_kind(index)) {
            None => NONE,
            Some((name, kind)) => {
                let seen = identities.seen(index);
                let of = |&tag: &u32| self.tags[tag as usize].seen;
                let same = |tag: &u32| of(tag) == seen;
                let number = match self.by_name.entry(seen.spread(), same, |tag| of(tag).spread()) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        let number = self.tags.len() as u32;
                        entry.insert(number);
                        self.tags.push(Tag {
                            seen,
                            name,
                            kind,
                            definition: NONE,
                            forward: false,
                            doubtful: false,
                            unit: NONE,
                        });
                        number
                    }
                };
                let tag = &mut self.tags[number as usize];
                // A look at the base's names is a cache miss, and most have nothing to say.
                let below = match (self.known, found) {
                    (Some(known), Found::At(id)) if known.is_plain(id) => None,
                    (known, _) => known.and_then(|known| known.tags.get(&seen)),
                };
                tag.doubtful |= below.is_some_and(|below| below.ambiguous);
                if sketch.is_forward(index) {
                    tag.forward = true;
                } else {
                    // One definition in all units and the base, and none that the base only declares.
                    tag.doubtful |= tag.definition != NONE
                        || below.is_some_and(|below| {
                            below.forward
                                || below.definition != Identity::NONE
                                    && below.definition != identity
                        });
                    tag.definition = class;
                }
                tag.doubtful |= std::mem::take(&mut doubtful);
                number
            }
        };
        let base = if let Found::At(id) = found { id } else { 0 };
        let index = index as u32;
        self.classes.push(Class { base, unit, index, tag, doubtful, placed: 0 });
    }

    /// All units are in: decides what is doubtful. `refers_to` gives the classes that the type at a
    /// position of a unit refers to.
    pub fn settle<L: Iterator<Item = u32>>(&mut self, refers_to: impl Fn(u32, u32) -> L) {
        if self.exact {
            return;
        }
        for number in 0..self.tags.len() {
            let Tag { name, kind, forward, .. } = self.tags[number];
            let other = match kind {
                TagKind::Struct if forward => TagKind::Union,
                TagKind::Union if forward => TagKind::Struct,
                _ => continue,
            };
            // Structs and unions share the names that forward declarations are looked up by.
            let other = self.key.tag(other, name);
            let below = self.known.and_then(|known| known.tags.get(&other));
            let same = |&tag: &u32| self.tags[tag as usize].seen == other;
            let here = self.by_name.find(other.spread(), same).copied();
            if below.is_some() || here.is_some() {
                self.tags[number].doubtful = true;
                if let Some(here) = here {
                    self.tags[here as usize].doubtful = true;
                }
            }
        }
        let any = self.tags.iter().any(|t| t.doubtful) || self.classes.iter().any(|c| c.doubtful);
        let mut changed = any;
        while changed {
            changed = false;
            for class in 0..self.classes.len() {
                if self.is_doubtful(class as u32) {
                    continue;
                }
                let Class { unit, index, tag, .. } = self.classes[class];
                if refers_to(unit, index).any(|class| self.is_doubtful(class)) {
                    changed = true;
                    match tag {
                        NONE => self.classes[class].doubtful = true,
                        tag => self.tags[tag as usize].doubtful = true,
                    }
                }
            }
        }
        if any && self.class_of(standard_int(self.key)).is_some_and(|c| self.is_doubtful(c)) {
            self.give_up();
        }
        for c in &mut self.classes {
            if let Some(tag) = self.tags.get(c.tag as usize) {
                c.doubtful = tag.doubtful;
            }
            if !c.doubtful && c.base != 0 {
                (c.placed, c.unit) = (c.base, NONE);
            }
        }
    }

    /// Whether the exact engine sees every type of this class.
    pub fn is_doubtful(&self, class: u32) -> bool {
        let Some(c) = self.classes.get(class as usize) else { return false };
        match self.tags.get(c.tag as usize) {
            Some(tag) => tag.doubtful,
            None => c.doubtful,
        }
    }

    fn class_of(&self, identity: Identity) -> Option<u32> {
        let same = |&class: &u32| self.trail[class as usize].0 == identity;
        self.table.find(identity.spread(), same).copied()
    }

    /// Says what becomes of the `count` types of a unit, whose classes are `classes`; units come in
    /// order.
    ///
    /// `next` is the id of the first type that is kept.
    pub fn assign(&mut self, unit: u32, count: usize, classes: &[u32], next: u32) -> Assigned {
        if self.exact {
            return Assigned::all(count, next);
        }
        let (mut ids, mut kept) = (Vec::with_capacity(count + 1), Vec::new());
        ids.push(0);
        ids.extend(classes.iter().enumerate().map(|(index, &class)| {
            let class = self.classes.get_mut(class as usize);
            if let Some(c) = &class
                && c.placed != 0
                && c.unit != unit
                && !c.doubtful
            {
                return c.placed;
            }
            let id = next + kept.len() as u32;
            kept.push(index as u32);
            if let Some(c) = class
                && c.placed == 0
            {
                c.placed = id;
            }
            id
        }));
        Assigned { ids, kept }
    }

    /// The types of the base that stand for types of the units, ascending, once all is settled; `None`
    /// where the exact engine sees everything.
    pub fn used(&self) -> Option<Vec<u32>> {
        let known = self.known.filter(|_| !self.exact)?;
        // A bit for each: a module uses one type in thirty, and sorting their ids would cost more.
        let mut used = Bits::below(known.ids());
        let sure = self.classes.iter().filter(|class| !class.doubtful && class.base != 0);
        for id in sure.map(|class| class.base).chain(self.base_int()) {
            used.insert(id);
        }
        Some(used.iter().collect())
    }

    /// Arrays are indexed by a type of this identity, that of the first `int` of all units.
    pub fn indexes_arrays(&mut self, identity: Identity) {
        if identity != standard_int(self.key) {
            self.give_up();
        }
    }

    /// The type of the base that is the usual `int`, where nothing is doubtful about that.
    pub fn base_int(&self) -> Option<u32> {
        match self.known?.find(standard_int(self.key)) {
            Found::At(id) if !self.exact => Some(id),
            _ => None,
        }
    }
}
