//! Which types of a row of units the exact engine has to see.
//!
//! A unit's sketch is looked at once, when the unit is taken in; what remains of it is the class of
//! each type, and of each class what it refers to.

use super::hash::{Identity, Key};
use super::known::{Found, Known, Map};
use super::sketch::{FILE_INT, Sketch, TagKind};
use super::types::{Identities, Loose, one_array_a_length, standard_int, tag};
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
    /// Where the classes that it refers to begin.
    links: u32,
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
    /// Identities and their classes.
    table: HashTable<(Identity, u32)>,
    classes: Vec<Class>,
    /// The identity of each class, and the class of what came next after one of it lately.
    trail: Vec<(Identity, u32)>,
    /// What they refer to, class after class.
    links: Vec<u32>,
    tags: Vec<Tag>,
    by_name: Map<u32>,
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
            links: Vec::new(),
            tags: Vec::new(),
            by_name: Map::default(),
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
        if self.classes.is_empty() {
            // Most types of the first unit are new, few of later ones.
            self.table.reserve(sketch.len(), |&(other, _)| other.spread());
            self.trail.reserve(sketch.len());
            self.classes.reserve(sketch.len());
        }
        let (list, new) = self.sort(&identities.own);
        // Each is a cache miss, of which a processor takes many at once, if nothing is between them.
        let below = |&index: &u32| {
            let identity = identities.own[index as usize];
            self.known.map_or(Found::Nowhere, |known| known.find(identity))
        };
        let below: Vec<Found> = new.iter().map(below).collect();
        let mut loose = Loose::new(sketch, identities, self.key, &[]);
        for (&index, found) in new.iter().zip(below) {
            let index = index as usize;
            self.new_class(sketch, identities, unit, index, found);
            self.look_for_twins(sketch, identities, index, &mut loose);
            let ids = sketch.links(index).iter().filter(|&&id| id != 0 && id != FILE_INT);
            self.links.extend(ids.map(|&id| list[id as usize - 1]));
        }
        for &(index, _) in sketch.tag_names() {
            let class = self.classes.get(list[index as usize] as usize);
            if let Some(tag) = class.and_then(|class| self.tags.get_mut(class.tag as usize)) {
                tag.doubtful |= std::mem::replace(&mut tag.unit, unit) == unit;
            }
        }
        list
    }

    /// The class of each of these types, and the positions of those whose class is new.
    fn sort(&mut self, own: &[Identity]) -> (Vec<u32>, Vec<u32>) {
        let (mut list, mut new) = (Vec::with_capacity(own.len()), Vec::new());
        let (mut last, mut guess) = (NONE, NONE);
        for (index, &identity) in own.iter().enumerate() {
            // Units take in the same headers: what comes next is mostly what came next before.
            if let Some(&(other, next)) = self.trail.get(guess as usize)
                && other == identity
            {
                list.push(guess);
                (last, guess) = (guess, next);
                continue;
            }
            if identity == Identity::NONE {
                list.push(NONE);
                continue;
            }
            let same = |&(other, _): &(Identity, u32)| other == identity;
            let class = match self.table.entry(identity.spread(), same, |(other, _)| other.spread())
            {
                Entry::Occupied(entry) => entry.get().1,
                Entry::Vacant(entry) => {
                    let class = self.trail.len() as u32;
                    entry.insert((identity, class));
                    self.trail.push((identity, NONE));
                    new.push(index as u32);
                    class
                }
            };
            if let Some((_, next)) = self.trail.get_mut(last as usize) {
                *next = class;
            }
            list.push(class);
            (last, guess) = (class, self.trail[class as usize].1);
        }
        (list, new)
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

    /// Adds the class of the type at `index`, which is in the base where it was `found`.
    fn new_class(
        &mut self,
        sketch: &Sketch,
        identities: &Identities,
        unit: u32,
        index: usize,
        found: Found,
    ) {
        let (class, links) = (self.classes.len() as u32, self.links.len() as u32);
        let identity = identities.own[index];
        let mut doubtful = found == Found::Several;
        let tag = match sketch.tag_kind(index) {
            None => NONE,
            Some(kind) => {
                let seen = identities.seen(index);
                let tags = &mut self.tags;
                let number = *self.by_name.entry(seen).or_insert_with(|| {
                    tags.push(Tag {
                        name: sketch.tag_name(index),
                        kind,
                        definition: NONE,
                        forward: false,
                        doubtful: false,
                        unit: NONE,
                    });
                    tags.len() as u32 - 1
                });
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
        self.classes.push(Class { base, unit, links, tag, doubtful, placed: 0 });
    }

    /// All units are in: decides what is doubtful.
    pub fn settle(&mut self) {
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
            let other = tag(self.key, other, name);
            let below = self.known.and_then(|known| known.tags.get(&other));
            let here = self.by_name.get(&other).copied();
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
                let Class { links, tag, .. } = self.classes[class];
                let end =
                    self.classes.get(class + 1).map_or(self.links.len(), |c| c.links as usize);
                let refers_to = &self.links[links as usize..end];
                let doubtful = refers_to.iter().any(|&class| self.is_doubtful(class));
                if doubtful {
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
        for class in 0..self.classes.len() {
            let doubtful = self.is_doubtful(class as u32);
            let c = &mut self.classes[class];
            c.doubtful = doubtful;
            if !doubtful && c.base != 0 {
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
        let same = |&(other, _): &(Identity, u32)| other == identity;
        self.table.find(identity.spread(), same).map(|&(_, class)| class)
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
        let mut used = vec![0u64; known.ids() / 64 + 1];
        let sure = self.classes.iter().filter(|class| !class.doubtful && class.base != 0);
        for id in sure.map(|class| class.base).chain(self.base_int()) {
            used[id as usize / 64] |= 1 << (id % 64);
        }
        let mut ids = Vec::new();
        for (at, mut word) in (0..).step_by(64).zip(used) {
            while word != 0 {
                ids.push(at + word.trailing_zeros());
                word &= word - 1;
            }
        }
        Some(ids)
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
