//! What the user is told about a file that is encoded, but not in every detail as it is written.

use crate::dwarf::{Cu, Substitute};
use std::collections::BTreeSet;

/// How many of a kind are named.
const NAMED: usize = 5;

/// What was seen, of all CUs.
#[derive(Default)]
pub(super) struct Notes {
    atomic: BTreeSet<String>,
    complex: BTreeSet<String>,
    lost_references: usize,
}

impl Notes {
    /// Takes the notes of one CU.
    pub fn add(&mut self, cu: &Cu<'_>) {
        self.lost_references += cu.lost_references;
        for substitute in &cu.substitutes {
            match *substitute {
                Substitute::Complex(name) => self.complex.insert(text(name)),
                Substitute::AtomicMember { owner, member } => {
                    self.atomic.insert(format!("{}.{}", text(owner), text(member)))
                }
                Substitute::Atomic(name) => self.atomic.insert(format!("_Atomic {}", text(name))),
            };
        }
    }

    /// One line each.
    pub fn into_lines(self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.atomic.is_empty() {
            let names = list(&self.atomic);
            lines.push(format!("BTF does not know _Atomic: {names}: encoded as if it were not"));
        }
        if !self.complex.is_empty() {
            let names = list(&self.complex);
            lines.push(format!(
                "BTF does not know complex numbers: {names}: encoded as a struct of two"
            ));
        }
        if self.lost_references > 0 {
            lines.push(format!(
                "{} references in its DWARF lead to no type and were taken as void",
                self.lost_references
            ));
        }
        lines
    }
}

fn text(name: &[u8]) -> String {
    if name.is_empty() { "(anon)".into() } else { String::from_utf8_lossy(name).into_owned() }
}

/// `a, b and 3 more`.
fn list(names: &BTreeSet<String>) -> String {
    let mut line = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        line += &format!(" and {} more", names.len() - NAMED);
    }
    line
}
