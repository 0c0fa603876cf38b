//! Whether two type graphs are equivalent, and what follows when they are.
//!
//! State of a run: which type stands for which ([`Run::resolve`]), and the hypothesis of the
//! comparison under way: which type of the canonical graph was met as which type of the candidate
//! graph. A comparison visits each canonical type once, so it is linear in the graph; it uses an
//! explicit stack, so input cannot make it overflow the thread's.

use super::asked::Asking;
use super::base::Base;
use super::identical::Memo;
use super::table::{self, Keys, Labels, Overlay, Table};
use super::{DedupError, Stats};
use crate::btf::{Kind, Type, Types};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// A map entry of a type that is being resolved (reference pass only).
pub(super) const IN_PROGRESS: u32 = u32::MAX;

static NO_TYPES: Types = Types::new();

/// One run over one split layer.
pub(super) struct Run<'base> {
    pub base: Option<&'base Base>,
    lower: &'base Types,
    pub split: Types,
    /// First id of the split layer.
    pub first: u32,
    pub table: Overlay<'base>,
    labels: Labels,
    /// Canonical id of each type of the split; 0 where it is not decided.
    map: Vec<u32>,
    /// The few types of the base that another one stands for.
    bound: HashMap<u32, u32, FixedState>,
    /// Candidate id by canonical id, of those in `met`; 0 of others. Lent by the base.
    hypothesis: Vec<u32>,
    /// Canonical ids of the hypothesis, in the order in which they were met.
    met: Vec<u32>,
    /// The comparison needs a FWD of the base to be a type of the split.
    pub adjusts_base: bool,
    frames: Vec<Frame>,
    pub memo: Memo,
    /// The type being folded, for messages.
    pub folding: u32,
    pub stats: Stats,
    pub asking: Asking,
    limit: u64,
}

/// Where the comparison of two types' elements stands.
#[derive(Clone, Copy)]
struct Frame {
    candidate: u32,
    canonical: u32,
    /// Position of the next id in both types' words.
    at: u32,
    step: i32,
    left: u32,
}

/// What a pair of types says by itself.
enum Verdict {
    Unequal,
    Equal,
    /// Equal if these are.
    If(u32, u32),
    /// Equal if all elements are.
    All(Frame),
}

impl<'base> Run<'base> {
    /// `table` has the base's candidates, with keys made as `labels` says.
    pub fn new(
        base: Option<&'base Base>,
        table: Option<&'base Table>,
        labels: Labels,
        split: Types,
    ) -> Run<'base> {
        let first = base.map_or(1, |base| base.btf().next_id());
        let ids = first as usize + split.len();
        Run {
            base,
            lower: base.map_or(&NO_TYPES, |base| &base.btf().types),
            first,
            table: Overlay::new(table),
            labels,
            map: vec![0; split.len()],
            bound: HashMap::default(),
            hypothesis: base.map_or_else(|| vec![0; ids], |base| base.zeros(ids)),
            met: Vec::new(),
            adjusts_base: false,
            frames: Vec::new(),
            memo: Memo::default(),
            folding: 0,
            stats: Stats::default(),
            asking: Asking::default(),
            // Real modules take 3 to 5 steps a type, and up to 500 over a base that has its types
            // many times, as one has that an encoder with a defect made. 50 million: a second.
            limit: 50_000_000 + 1_000 * split.len() as u64,
            split,
        }
    }

    /// Ids of the split layer.
    pub fn own_ids(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.split.len() as u32
    }

    /// The type with this id.
    #[inline(always)]
    pub fn ty(&self, id: u32) -> Type<'_> {
        if id >= self.first {
            self.split.get((id - self.first) as usize)
        } else if id > 0 {
            self.lower.get(id as usize - 1)
        } else {
            Type::VOID
        }
    }

    /// The kind; primitives() and Base::new() have refused types without one.
    #[inline]
    pub fn kind(&self, id: u32) -> Kind {
        kind_of(self.ty(id))
    }

    /// The keys of a type as it stands now.
    #[inline]
    pub fn keys(&self, id: u32, kind: Kind) -> Keys {
        table::keys(self.ty(id), kind, self.labels, |id| self.ty(id))
    }

    /// What stands for this type next; 0 where that is not decided, or itself, a type of the base.
    #[inline]
    pub fn mapped(&self, id: u32) -> u32 {
        match id.checked_sub(self.first) {
            Some(index) => self.map[index as usize],
            None if self.bound.is_empty() => 0,
            None => self.bound.get(&id).copied().unwrap_or(0),
        }
    }

    /// What stands for this type as far as is decided. Chains are short: nothing that stands for
    /// another type is ever given away but FWDs, value-less enums and undecided composites.
    #[inline]
    pub fn resolve(&self, mut id: u32) -> u32 {
        loop {
            let to = self.mapped(id);
            if to == 0 || to == id {
                return id;
            }
            id = to;
        }
    }

    /// Whether it is decided what stands for this type.
    #[inline]
    pub fn is_mapped(&self, id: u32) -> bool {
        id < self.first || self.mapped(id) != 0
    }

    /// Lets `to` stand for `id`.
    #[inline]
    pub fn set(&mut self, id: u32, to: u32) {
        match id.checked_sub(self.first) {
            Some(index) => self.map[index as usize] = to,
            None if id != to => {
                self.stats.base_bound += u32::from(self.bound.insert(id, to).is_none());
            }
            None => {}
        }
    }

    /// Counts visited pairs of types, and gives up on input made to be expensive.
    #[inline]
    pub fn step(&mut self) -> Result<(), DedupError> {
        self.stats.steps += 1;
        if self.stats.steps <= self.limit {
            return Ok(());
        }
        Err(DedupError::TooHard { id: self.folding, steps: self.stats.steps, limit: self.limit })
    }

    /// Whether the graph of `candidate`, a type of the split, is that of `canonical`.
    ///
    /// Leaves the hypothesis for [`Run::merge`]. Nothing else changes.
    pub fn equivalent(&mut self, candidate: u32, canonical: u32) -> Result<bool, DedupError> {
        self.forget();
        self.adjusts_base = false;
        self.frames.clear();
        self.stats.comparisons += 1;
        let mut next = (candidate, canonical);
        loop {
            match self.compare(next.0, next.1)? {
                Verdict::Unequal => return Ok(false),
                Verdict::Equal => (),
                Verdict::If(candidate, canonical) => {
                    next = (candidate, canonical);
                    continue;
                }
                Verdict::All(frame) => self.frames.push(frame),
            }
            // In depth, as the order of meeting decides what a later meeting is compared with.
            next = loop {
                let Some(frame) = self.frames.last_mut() else { return Ok(true) };
                let Frame { candidate, canonical, at, step, left } = *frame;
                if left <= 1 {
                    self.frames.pop();
                } else {
                    frame.at = at.wrapping_add_signed(step);
                    frame.left -= 1;
                }
                if left > 0 {
                    let pair =
                        (self.ty(candidate).0[at as usize], self.ty(canonical).0[at as usize]);
                    break pair;
                }
            };
        }
    }

    /// Forgets the hypothesis.
    fn forget(&mut self) {
        for canonical in self.met.drain(..) {
            self.hypothesis[canonical as usize] = 0;
        }
    }

    /// Compares two types without what they refer to.
    #[inline]
    fn compare(&mut self, candidate: u32, mut canonical: u32) -> Result<Verdict, DedupError> {
        self.step()?;
        self.asking.meet(candidate);
        self.asking.meet(canonical);
        let resolved = self.resolve(canonical);
        if self.resolve(candidate) == resolved {
            return Ok(Verdict::Equal);
        }
        // A forward that was bound is compared as what it is bound to; only on this side.
        if resolved != canonical
            && self.kind(canonical) == Kind::Fwd
            && self.kind(resolved) != Kind::Fwd
        {
            canonical = resolved;
        }
        let supposed = self.hypothesis[canonical as usize];
        if supposed != 0 {
            // One compilation unit can contain a type twice; then both are the same all the same.
            let same = supposed == candidate || self.identical(supposed, candidate)?;
            return Ok(if same { Verdict::Equal } else { Verdict::Unequal });
        }
        self.hypothesis[canonical as usize] = candidate;
        self.met.push(canonical);

        if self.declares(candidate, canonical) {
            return Ok(Verdict::Equal);
        }
        self.asking.look(candidate);
        self.asking.look(canonical);
        let (a, b) = (self.ty(candidate), self.ty(canonical));
        let (kind, other) = (kind_of(a), kind_of(b));
        let verdict = |equal| if equal { Verdict::Equal } else { Verdict::Unequal };
        if a.name() != b.name() {
            return Ok(Verdict::Unequal);
        }
        if kind != other {
            let fits = other == Kind::Fwd && declared(b) == kind;
            self.adjusts_base |= fits && canonical < self.first;
            return Ok(verdict(fits));
        }
        let all = |at, step, left| Verdict::All(Frame { candidate, canonical, at, step, left });
        Ok(match kind {
            Kind::Int | Kind::Float | Kind::Fwd => verdict(a == b),
            Kind::Enum | Kind::Enum64 => verdict(enums_agree(a, b)),
            Kind::Ptr
            | Kind::Const
            | Kind::Volatile
            | Kind::Restrict
            | Kind::Typedef
            | Kind::Func
            | Kind::TypeTag => match a.info() == b.info() {
                true => Verdict::If(a.size_or_type(), b.size_or_type()),
                false => Verdict::Unequal,
            },
            // Index type before element type.
            Kind::Array if arrays_agree(a, b) => all(4, -1, 2),
            Kind::Struct | Kind::Union if shallow_equal(a, b) => all(4, 3, a.vlen()),
            // Return type, then parameters.
            Kind::FuncProto if protos_agree(a, b) => all(2, 2, a.vlen() + 1),
            Kind::Array | Kind::Struct | Kind::Union | Kind::FuncProto => Verdict::Unequal,
            Kind::Void | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                return Err(DedupError::Incomparable { candidate, canonical, kind: kind.name() });
            }
        })
    }

    /// Whether the one is a forward declaration of the other.
    #[inline]
    fn declares(&self, forward: u32, composite: u32) -> bool {
        let (a, b) = (self.ty(forward), self.ty(composite));
        kind_of(a) == Kind::Fwd && declared(a) == kind_of(b) && a.name() == b.name()
    }

    /// Takes over what the comparison that was just found equal says of forwards and composites.
    ///
    /// When it needs the base to change, the graphs are not equal after all; but the forwards of
    /// the base stay bound for the rest of the run. Real modules depend on that: without it, every
    /// type that reaches the bound one would be repeated in the split.
    pub fn merge(&mut self) {
        for i in 0..self.met.len() {
            let canonical = self.met[i];
            let candidate = self.hypothesis[canonical as usize];
            let (to, from) = (self.resolve(canonical), self.resolve(candidate));
            let (to_kind, from_kind) = (self.kind(to), self.kind(from));
            if to_kind == Kind::Fwd {
                if from_kind != Kind::Fwd {
                    self.set(to, from);
                }
                continue;
            }
            if self.adjusts_base {
                continue;
            }
            if from_kind == Kind::Fwd
                || from_kind.is_composite() && self.is_mapped(to) && !self.is_mapped(from)
            {
                self.set(from, to);
            }
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.forget();
        if let Some(base) = self.base {
            base.take_back(std::mem::take(&mut self.hypothesis));
        }
    }
}

/// The kind, of a type that has one for sure.
#[inline]
fn kind_of(ty: Type<'_>) -> Kind {
    ty.kind().unwrap_or(Kind::Void)
}

/// The kind that a FWD announces.
#[inline]
pub(super) fn declared(forward: Type<'_>) -> Kind {
    if forward.kflag() { Kind::Union } else { Kind::Struct }
}

/// Equal but for the types of members.
#[inline]
pub(super) fn shallow_equal(a: Type<'_>, b: Type<'_>) -> bool {
    a.0[..3] == b.0[..3]
        && a.payload()
            .chunks_exact(3)
            .zip(b.payload().chunks_exact(3))
            .all(|(m, n)| (m[0], m[2]) == (n[0], n[2]))
}

/// Equal, or one of them is a forward declaration: it fits every enum with its name, of either
/// kind, size and signedness.
#[inline]
pub(super) fn enums_agree(a: Type<'_>, b: Type<'_>) -> bool {
    if a.vlen() > 0 && b.vlen() > 0 { a == b } else { a.name() == b.name() }
}

/// Equal but for element and index type.
#[inline]
pub(super) fn arrays_agree(a: Type<'_>, b: Type<'_>) -> bool {
    a.0[..3] == b.0[..3] && a.0[5] == b.0[5]
}

/// Equal but for the types of return value and parameters.
#[inline]
pub(super) fn protos_agree(a: Type<'_>, b: Type<'_>) -> bool {
    a.0[..2] == b.0[..2]
        && a.payload().chunks_exact(2).zip(b.payload().chunks_exact(2)).all(|(p, q)| p[0] == q[0])
}
