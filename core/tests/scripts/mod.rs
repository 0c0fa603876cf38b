//! Decisions read from bytes, so that whoever changes bytes changes decisions.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod dwarf;

/// Bytes that are used up decision by decision; at the end every decision is the first choice.
#[derive(Clone, Copy)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let mut value = usize::from(self.byte());
        if n > 256 {
            value |= usize::from(self.byte()) << 8;
        }
        value % n.max(1)
    }

    /// True once in `n` times, and never at the end.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Mostly small, sometimes at an edge.
    pub fn number(&mut self) -> u64 {
        match self.below(16) {
            0..=9 => self.below(64) as u64,
            10..=12 => self.below(1 << 16) as u64,
            13 => u64::MAX - self.below(4) as u64,
            14 => (1 << 31) - 2 + self.below(4) as u64,
            _ => 1 << self.below(64),
        }
    }

    /// Up to `max` bytes.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}
