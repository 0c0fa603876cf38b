//! The candidate table: which canonical types may equal a given one, and in what order.
//!
//! libbpf's choice among equal candidates depends on its hash table: an insertion goes to the
//! front of the key's list, and each doubling of the table reverses every list. The same order
//! without moving anything: let p be the parity of the doublings so far. Insert at the front while
//! p is even, at the back while it is odd; scan from the front while p is even, from the back while
//! it is odd. A list is then frozen the moment the last insertion is done, so the base's lists are
//! shared and a run's own entries lie around them ([`Overlay`]).
//!
//! Keys are 64-bit hashes; equal keys of unequal types cost a comparison and nothing else. A lookup
//! is one probe in the base's table and one in the overlay's.

use super::graph::declared;
use crate::btf::{Kind, Type};
use hashbrown::HashTable;

/// Marks the end of a chain of nodes.
const NONE: u32 = u32::MAX;

/// Counts insertions as libbpf's table does, for the order that follows from its growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Entries so far, of all keys.
    pub entries: u32,
    /// Buckets that libbpf's table would have.
    pub capacity: u32,
    /// How often it has doubled.
    pub doublings: u32,
}

impl Growth {
    /// Accounts for one insertion and gives its place: in every list, positions ascend from the
    /// front to the back.
    #[inline]
    pub fn insert(&mut self, id: u32) -> Candidate {
        if (u64::from(self.entries) + 1) * 4 / 3 > u64::from(self.capacity) {
            self.capacity = (self.capacity * 2).max(4);
            self.doublings += 1;
        }
        self.entries += 1;
        let position = if self.reversed() { self.entries as i32 } else { -(self.entries as i32) };
        Candidate { id, position }
    }

    /// Whether so many more insertions do not double the table.
    pub fn has_room(self, count: u32) -> bool {
        (u64::from(self.entries) + u64::from(count)) * 4 / 3 <= u64::from(self.capacity)
    }

    /// Whether lists are now read from the back.
    #[inline]
    pub fn reversed(self) -> bool {
        self.doublings % 2 == 1
    }
}

/// A candidate: its id, and where it stands in its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Type id.
    pub id: u32,
    /// Position from [`Growth::insert`].
    pub position: i32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    candidate: Candidate,
    older: u32,
    newer: u32,
}

/// One key's list: what was put in front and what was put at the back, newest and oldest node.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    front: Chain,
    back: Chain,
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    newest: u32,
    oldest: u32,
}

const EMPTY: Chain = Chain { newest: NONE, oldest: NONE };

/// Lists by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    slots: HashTable<Slot>,
    nodes: Vec<Node>,
}

impl Lists {
    pub fn with_capacity(entries: usize) -> Lists {
        Lists { slots: HashTable::with_capacity(entries), nodes: Vec::with_capacity(entries) }
    }

    #[inline]
    fn slot(&self, key: u64) -> Option<&Slot> {
        self.slots.find(key, |slot| slot.key == key)
    }

    pub fn insert(&mut self, key: u64, candidate: Candidate) {
        let node = self.nodes.len() as u32;
        let slot = self
            .slots
            .entry(key, |slot| slot.key == key, |slot| slot.key)
            .or_insert(Slot { key, front: EMPTY, back: EMPTY })
            .into_mut();
        let chain = if candidate.position < 0 { &mut slot.front } else { &mut slot.back };
        match self.nodes.get_mut(chain.newest as usize) {
            Some(last) => last.newer = node,
            None => chain.oldest = node,
        }
        self.nodes.push(Node { candidate, older: chain.newest, newer: NONE });
        chain.newest = node;
    }
}

/// The table of a base, frozen.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    lists: Lists,
    growth: Growth,
}

impl Table {
    pub fn with_capacity(entries: usize) -> Table {
        Table { lists: Lists::with_capacity(entries), growth: Growth::default() }
    }

    pub fn insert(&mut self, id: u32, keys: Keys) {
        insert(&mut self.lists, &mut self.growth, id, keys);
    }

    pub fn growth(&self) -> Growth {
        self.growth
    }
}

fn insert(lists: &mut Lists, growth: &mut Growth, id: u32, keys: Keys) {
    let candidate = growth.insert(id);
    lists.insert(keys.main, candidate);
    if let Some(family) = keys.family {
        lists.insert(family, candidate);
    }
    if let Some(forward) = keys.forward {
        lists.insert(forward, candidate);
    }
}

/// Where a scan of candidates stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// Next node of: the own near side, the base's near side, its far side, the own far side.
    starts: [u32; 4],
    stage: usize,
}

/// A run's own entries around those of the base.
#[derive(Debug)]
pub(super) struct Overlay<'base> {
    base: Option<&'base Table>,
    lists: Lists,
    growth: Growth,
}

impl<'base> Overlay<'base> {
    pub fn new(base: Option<&'base Table>) -> Overlay<'base> {
        Overlay {
            base,
            lists: Lists::default(),
            growth: base.map_or(Growth::default(), Table::growth),
        }
    }

    pub fn insert(&mut self, id: u32, keys: Keys) {
        insert(&mut self.lists, &mut self.growth, id, keys);
    }

    /// The base's, and what came since.
    pub fn growth(&self) -> Growth {
        self.growth
    }

    /// Whether the base has several candidates of a scan that begins.
    pub fn has_several_below(&self, scan: &Scan) -> bool {
        let Some(base) = self.base else { return false };
        let [_, near, far, _] = scan.starts;
        match (base.lists.nodes.get(near as usize), base.lists.nodes.get(far as usize)) {
            (Some(_), Some(_)) => true,
            (Some(near), None) => near.older != NONE,
            (None, Some(far)) => far.newer != NONE,
            (None, None) => false,
        }
    }

    /// Begins to go through the candidates of `key`, in the order in which they are to be tried.
    ///
    /// What was put at the near side last comes first, around the base what the run put there.
    #[inline]
    pub fn scan(&self, key: u64) -> Scan {
        let near = |slot: &Slot| if self.growth.reversed() { slot.back } else { slot.front };
        let far = |slot: &Slot| if self.growth.reversed() { slot.front } else { slot.back };
        let mut scan = Scan { starts: [NONE; 4], stage: 0 };
        if let Some(own) = self.lists.slot(key) {
            scan.starts[0] = near(own).newest;
            scan.starts[3] = far(own).oldest;
        }
        if let Some(below) = self.base.and_then(|table| table.lists.slot(key)) {
            scan.starts[1] = near(below).newest;
            scan.starts[2] = far(below).oldest;
        }
        scan
    }

    /// The next candidate of a scan; nothing may be inserted on the way.
    #[inline]
    pub fn next(&self, scan: &mut Scan) -> Option<Candidate> {
        loop {
            let at = scan.starts.get_mut(scan.stage)?;
            let lists = match (scan.stage, self.base) {
                (1 | 2, Some(base)) => &base.lists,
                _ => &self.lists,
            };
            if let Some(node) = lists.nodes.get(*at as usize) {
                *at = if scan.stage < 2 { node.older } else { node.newer };
                return Some(node.candidate);
            }
            scan.stage += 1;
        }
    }

    /// Whether the candidate at position `a` is tried before the one at `b`.
    #[inline]
    pub fn precedes(&self, a: i32, b: i32) -> bool {
        if self.growth.reversed() { a > b } else { a < b }
    }
}

/// Under which keys a type is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// Of what must agree: for structs and unions all but the types of members (see [`Labels`]), for
    /// typedefs all but the target, for other kinds every word.
    pub main: u64,
    /// Enums only: of the name.
    pub family: Option<u64>,
    /// Enums without values only: of the name, among their like.
    pub forward: Option<u64>,
}

/// Odd, with bits set all over: 2^64 over the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MULTIPLIER);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline]
fn of_words(seed: u64, words: &[u32]) -> u64 {
    let mut pairs = words.chunks_exact(2);
    let mut hash = seed;
    for p in pairs.by_ref() {
        hash = mix(hash, pair(p[0], p[1]));
    }
    let rest = pairs.remainder().first().copied().unwrap_or(0);
    mix(hash, pair(rest, words.len() as u32))
}

/// The key over the name of an enum.
pub(super) fn enum_family(name: u32) -> u64 {
    mix(0x656e_756d, u64::from(name))
}

/// The key over the name of an enum without values.
pub(super) fn enum_forward(name: u32) -> u64 {
    mix(0x6677_6465, u64::from(name))
}

/// What is common to all types that can turn out equal to the one with this id, seen from a member:
/// a forward and what it may be bound to count as one, enums are their names, and elements of
/// arrays are left out since the fallback does not compare them.
fn label<'a>(mut id: u32, ty: &impl Fn(u32) -> Type<'a>) -> u64 {
    /// References that are followed.
    const DEPTH: usize = 4;
    let mut hash = 0x6c61_6265;
    for _ in 0..DEPTH {
        let t = ty(id);
        let Some(kind) = t.kind() else { return hash };
        match kind {
            Kind::Ptr
            | Kind::Const
            | Kind::Volatile
            | Kind::Restrict
            | Kind::Typedef
            | Kind::Func
            | Kind::TypeTag => {
                hash = mix(hash, pair(t.name(), t.info()));
                id = t.size_or_type();
            }
            Kind::Fwd => return mix(hash, pair(t.name(), declared(t) as u32)),
            Kind::Struct | Kind::Union => return mix(hash, pair(t.name(), kind as u32)),
            Kind::Enum | Kind::Enum64 => return mix(hash, pair(t.name(), Kind::Enum as u32)),
            Kind::Int | Kind::Float => return of_words(hash, t.0),
            Kind::Array => return mix(hash, pair(Kind::Array as u32, t.payload()[2])),
            Kind::FuncProto => return mix(hash, pair(t.name(), t.info())),
            Kind::Void | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                return mix(hash, pair(0, kind as u32));
            }
        }
    }
    hash
}

/// Kinds that no type but a tag or section refers to, and that end a comparison with an error.
pub(super) fn is_incomparable(kind: Kind) -> bool {
    matches!(kind, Kind::Var | Kind::Datasec | Kind::DeclTag)
}

/// How the keys of structs and unions without a name are made.
///
/// A kernel has hundreds of nameless unions with the same members' names. Labels of the members'
/// types tell most of them apart before they are compared. A comparison that fails leaves no
/// trace, so what cannot succeed need not be tried; but it can end the run with an error, hence
/// labels are left out where a type refers to what is incomparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    With,
    Without,
}

/// The keys of a type, from its words as they stand; `ty` gives the types that it refers to.
#[inline]
pub(super) fn keys<'a>(
    t: Type<'a>,
    kind: Kind,
    labels: Labels,
    ty: impl Fn(u32) -> Type<'a>,
) -> Keys {
    let name = t.name();
    let main = match kind {
        Kind::Struct | Kind::Union => {
            let mut hash = mix(u64::from(t.size_or_type()), pair(name, t.info()));
            for member in t.elements() {
                hash = mix(hash, pair(member[0], member[2]));
            }
            if name == 0 && labels == Labels::With {
                for member in t.elements().take(LABELLED) {
                    hash = mix(hash, label(member[1], &ty));
                }
            }
            hash
        }
        Kind::Typedef => mix(0x7479_7065, pair(name, t.info())),
        _ => of_words(0x776f_7264, t.0),
    };
    Keys {
        main,
        family: kind.is_enum().then(|| enum_family(name)),
        forward: (kind.is_enum() && t.vlen() == 0).then(|| enum_forward(name)),
    }
}

/// Members of a nameless struct or union whose labels enter its key.
const LABELLED: usize = 4;
