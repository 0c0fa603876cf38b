//! Bodies of functions: blocks, variables, calls and what was inlined, one DIE in five.
//!
//! None of them matters where it stands, but types and functions may be declared among them, so they
//! are passed over one by one, in a loop of its own. Whatever is unusual about one of them is left to
//! the long way ([`super::walk`]). Cost: some 50 instructions a DIE.

use super::abbreviations::What;
use super::bytes::Cursor;
use super::quick::{Quick, Quicks, next};
use super::walk::{Open, Walk};

/// The bytes behind a DIE.
#[inline(always)]
fn behind<'d>(quick: &Quick, mut at: Cursor<'d>) -> Option<Cursor<'d>> {
    at.advance(quick.size);
    for _ in 0..quick.expressions {
        // The length of an expression, where it is one byte.
        let len = at.u8().ok().filter(|len| len & 0x80 == 0)?;
        at.skip(len.into()).ok()?;
    }
    Some(at)
}

/// What may be passed over below a DIE, a bit for each [`What`].
fn passed_below(parent: &Open) -> u32 {
    const fn bits(all: &[What]) -> u32 {
        let (mut bits, mut at) = (0, 0);
        while at < all.len() {
            bits |= 1 << all[at] as u32;
            at += 1;
        }
        bits
    }
    const BODY: u32 = bits(&[What::Block, What::Inlined, What::Variable, What::Call]);
    match parent {
        Open::Function { .. } => BODY,
        Open::Block | Open::Inlined => BODY | bits(&[What::Parameter]),
        Open::Skip => !bits(&[What::Other]),
        _ => 0,
    }
}

impl<'d> Walk<'_, 'd> {
    /// Passes over DIEs that do not matter where they stand, as many as can be; tells where the next
    /// one begins, if any was.
    #[inline(never)]
    pub(super) fn body(
        &mut self,
        quicks: &Quicks,
        start: Cursor<'d>,
        depth: usize,
    ) -> Option<Cursor<'d>> {
        let mut at = start;
        let mut passed = passed_below(self.stack.last()?);
        while let Some((quick, window)) = next(quicks, at) {
            if passed >> quick.what as u32 & 1 == 1 && !quick.is_named_inline() {
                let Some(behind) = behind(quick, at) else { break };
                at = behind;
                if quick.has_children {
                    self.stack.push(match (self.stack.last(), quick.what) {
                        (Some(Open::Skip), _) => Open::Skip,
                        (_, What::Block) => Open::Block,
                        (_, What::Inlined) => Open::Inlined,
                        _ => Open::Skip,
                    });
                    passed = self.stack.last().map_or(0, passed_below);
                }
            } else if window.die[0] == 0
                && self.stack.len() > depth + 1
                && self.stack.pop_if(|open| open.is_trivial()).is_some()
            {
                // What ended here is not what the walk ends with.
                at.advance(1);
                passed = self.stack.last().map_or(0, passed_below);
            } else {
                break;
            }
        }
        (at.position() != start.position()).then_some(at)
    }
}
