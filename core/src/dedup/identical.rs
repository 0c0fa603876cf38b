//! The fallback: whether two types of the split are the same type twice.
//!
//! A compiler can describe one type several times in one unit (arrays, anonymous structs,
//! pointers to them). The hypothesis of a comparison then meets the copies where it expects one
//! type, and this asks whether they are copies. It reads neither the map nor the hypothesis, so an
//! answer holds for the whole pass and is remembered; libbpf computes it anew each time, which
//! takes exponential time on crafted input and no end on cycles without a struct.

use super::DedupError;
use super::graph::{Run, arrays_agree, enums_agree, protos_agree, shallow_equal};
use crate::btf::Kind;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Aggregates that are followed below each other; what lies deeper counts as different.
const DEPTH: u8 = 16;
/// Pairs remembered at most, about 24 MB.
const MEMO: usize = 1 << 20;

/// Answers so far: with a larger depth a yes stays a yes, with a smaller one a no stays a no.
pub(super) type Memo = HashMap<(u32, u32), Answer, FixedState>;

#[derive(Clone, Copy)]
pub(super) struct Answer {
    yes_from: u8,
    no_up_to: u8,
}

impl Run<'_> {
    /// Whether both are the same type, as far as the fallback looks.
    pub fn identical(&mut self, x: u32, y: u32) -> Result<bool, DedupError> {
        self.identical_within(x, y, DEPTH)
    }

    /// Recursion is bounded by `depth`.
    fn identical_within(&mut self, x: u32, y: u32, depth: u8) -> Result<bool, DedupError> {
        if depth == 0 {
            return Ok(false);
        }
        let (x, y) = match self.skip_references(x, y)? {
            Skipped::Different => return Ok(false),
            Skipped::Alike => return Ok(true),
            Skipped::Aggregates(x, y) => (x, y),
        };
        if let Some(known) = self.memo.get(&(x, y)) {
            if depth >= known.yes_from {
                return Ok(true);
            }
            if depth <= known.no_up_to {
                return Ok(false);
            }
        }
        // Members stand at 4, 7, ..; return value and parameters at 2, 4, 6, ..
        let ty = self.ty(x);
        let (at, step, count) = match ty.kind() {
            Some(Kind::FuncProto) => (2, 2, ty.vlen() as usize + 1),
            _ => (4, 3, ty.vlen() as usize),
        };
        let mut same = true;
        for at in (at..).step_by(step).take(count) {
            let (a, b) = (self.ty(x).0[at], self.ty(y).0[at]);
            self.asking.meet(a);
            if a != b && !self.identical_within(a, b, depth - 1)? {
                same = false;
                break;
            }
        }
        if self.memo.len() >= MEMO {
            self.memo.clear();
        }
        let answer = self.memo.entry((x, y)).or_insert(Answer { yes_from: u8::MAX, no_up_to: 0 });
        if same {
            answer.yes_from = answer.yes_from.min(depth);
        } else {
            answer.no_up_to = answer.no_up_to.max(depth);
        }
        Ok(same)
    }

    /// Follows references on both sides while they agree; they do not count as depth.
    fn skip_references(&mut self, mut x: u32, mut y: u32) -> Result<Skipped, DedupError> {
        // A pair that comes back means that it would come back for ever (Brent's algorithm).
        let (mut mark, mut steps, mut limit) = ((x, y), 0u64, 1u64);
        loop {
            self.step()?;
            self.asking.look(x);
            self.asking.look(y);
            let (a, b) = (self.ty(x), self.ty(y));
            let kind = self.kind(x);
            if kind != self.kind(y) {
                return Ok(Skipped::Different);
            }
            let alike = match kind {
                Kind::Void => true,
                Kind::Int | Kind::Float | Kind::Fwd => a == b,
                Kind::Enum | Kind::Enum64 => enums_agree(a, b),
                Kind::Ptr
                | Kind::Const
                | Kind::Volatile
                | Kind::Restrict
                | Kind::Typedef
                | Kind::Func
                | Kind::TypeTag => {
                    if a.0[..2] != b.0[..2] {
                        return Ok(Skipped::Different);
                    }
                    (x, y) = (a.size_or_type(), b.size_or_type());
                    if (x, y) == mark {
                        return Err(DedupError::EqualLoops { first: x, second: y });
                    }
                    steps += 1;
                    if steps == limit {
                        (mark, steps, limit) = ((x, y), 0, limit * 2);
                    }
                    continue;
                }
                // libbpf looks at one of the two arrays only when it comes to the element and
                // index types, so that these always agree.
                Kind::Array => arrays_agree(a, b),
                Kind::Struct | Kind::Union if shallow_equal(a, b) => {
                    return Ok(Skipped::Aggregates(x, y));
                }
                Kind::FuncProto if protos_agree(a, b) => return Ok(Skipped::Aggregates(x, y)),
                _ => false,
            };
            return Ok(if alike { Skipped::Alike } else { Skipped::Different });
        }
    }
}

enum Skipped {
    Different,
    Alike,
    /// Shallow-equal structs, unions or prototypes.
    Aggregates(u32, u32),
}
