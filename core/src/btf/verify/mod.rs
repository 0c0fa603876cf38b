//! Would the kernel take this BTF, and does it fit its base?
//!
//! Two sorts of problems are told apart by [`Problem::refused`]: what the kernel checks when a
//! module is loaded (or when it reads its own BTF), and what it does not check and trips over
//! later: a type id or a name in the base that cannot be meant, mostly because the BTF was made
//! against another base. Where kernel versions differ, the strictest rule applies that still
//! takes what pahole writes. Each rule names where it comes from: *meta* is the check of every type
//! of a module, *all types* the deeper one that the kernel makes only for BTF that a program
//! brings, *ours* has no counterpart there. The numbers are those of Linux 6.1 to 7.3.
//!
//! Nothing is assumed of the bytes. Cost: one pass over the types for each of four steps, no
//! recursion; [`LIMIT`] problems end the work.

mod chains;
mod distilled;
mod header;
mod meta;
mod targets;
#[cfg(test)]
mod tests;

pub use distilled::verify_distilled;

use super::layers::Layers;
use super::{Btf, BtfError};
use std::fmt;

/// So many problems are enough.
pub const LIMIT: usize = 100;

/// One reason not to trust a BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The type that has it; none where it is the header's or a section's.
    pub id: Option<u32>,
    /// Kind and name of the type, empty without one.
    pub subject: String,
    /// What is wrong.
    pub what: String,
    /// Whether the kernel refuses the BTF for it.
    pub refused: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "[{id}] ")?;
        }
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.what)
    }
}

/// What the kernel would object to, and what shows that the base is not the right one.
///
/// `base` is stand-alone BTF. Without it `btf` is taken as stand-alone too, as vmlinux has it.
/// Empty when all is well.
pub fn verify(btf: &[u8], base: Option<&Btf>) -> Vec<Problem> {
    let parsed = match Btf::parse(btf, base) {
        Ok(parsed) => parsed,
        Err(error) => return vec![unreadable(&error, base.is_some())],
    };
    let mut report = Report { layers: Layers::new(&parsed, base), problems: Vec::new() };
    header::check(btf, &parsed, base.is_some(), &mut report);
    meta::check(&mut report);
    chains::check(&mut report);
    targets::check(&mut report);
    report.problems
}

/// A layer that cannot be read at all. The kernel looks at ids less closely than reading does, so
/// that a wrong base may pass there.
fn unreadable(error: &BtfError, split: bool) -> Problem {
    let mut what = error.to_string();
    let mut id = None;
    let mut refused = true;
    if let BtfError::Type { id: of, what: of_type } = error {
        (id, what) = (Some(*of), of_type.clone());
        let reference = what.contains("refers to");
        if reference || what.contains("string offset") {
            refused = !reference;
            what.push_str(if split { ANOTHER_BASE } else { "; does it stand on a base?" });
        }
    }
    Problem { id, subject: String::new(), what, refused }
}

const ANOTHER_BASE: &str = "; made against another base?";

/// Problems as they are found.
struct Report<'a> {
    layers: Layers<'a>,
    problems: Vec<Problem>,
}

impl Report<'_> {
    fn full(&self) -> bool {
        self.problems.len() >= LIMIT
    }

    /// The kernel refuses type `id`, saying `says`.
    fn refuse(&mut self, id: u32, what: impl fmt::Display, says: &str) {
        self.push(Some(id), format!("{what} (kernel: {says})"), true);
    }

    /// The kernel refuses the whole.
    fn refuse_blob(&mut self, what: impl fmt::Display, says: &str) {
        self.push(None, format!("{what} (kernel: {says})"), true);
    }

    /// The kernel takes type `id`, but it cannot be right. `to` is the id or what it refers to.
    fn doubt(&mut self, id: u32, to: Option<u32>, what: impl fmt::Display) {
        let below = to.is_some_and(|to| to < self.layers.first_id() && to > 0);
        let hint = if below { ANOTHER_BASE } else { "" };
        self.push(Some(id), format!("{what}{hint}"), false);
    }

    fn push(&mut self, id: Option<u32>, what: String, refused: bool) {
        if !self.full() {
            let subject = id.map_or(String::new(), |id| self.describe(id));
            self.problems.push(Problem { id, subject, what, refused });
        }
    }

    /// Kind and name of a type, as in `struct foo`.
    fn describe(&self, id: u32) -> String {
        let Some(ty) = self.layers.get(id) else { return "void".into() };
        let kind = match ty.kind() {
            Some(kind) => kind.name().to_ascii_lowercase(),
            None => format!("kind {}", ty.kind_value()),
        };
        match ty.name() {
            0 => kind,
            name => format!("{kind} {}", quoted(self.layers.string(name))),
        }
    }
}

/// A name for a message of one line: bytes that are none of a name are escaped, long ones cut.
fn quoted(name: &[u8]) -> String {
    let cut = name.len().min(80);
    let text = name[..cut].escape_ascii().to_string();
    if cut < name.len() { text + "..." } else { text }
}
