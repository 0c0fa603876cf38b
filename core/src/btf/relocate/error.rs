//! What does not fit, in words.

use crate::btf::{Btf, Type};
use std::fmt;
use thiserror::Error;

/// What is wrong with one distilled type, or with one type of the split layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its id.
    pub id: u32,
    /// Kind and name, as in `struct foo`.
    pub subject: String,
    /// Why it does not fit.
    pub what: What,
}

/// Why a type does not fit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum What {
    /// A distilled base has no such types.
    #[error("a distilled base holds named integers, floats, enums, aggregates and forwards only")]
    Foreign,
    /// The base has no type of that name.
    #[error("the base has no type of that name")]
    Missing,
    /// The base has the name, but something else is different.
    #[error("the base has [{id}] {subject}, but {why}")]
    Different {
        /// The type of the base that comes nearest.
        id: u32,
        /// Its kind and name.
        subject: String,
        /// What differs.
        why: String,
    },
    /// The base has several.
    #[error("the base has several that fit: [{first}] and [{second}]")]
    Ambiguous {
        /// The lowest id.
        first: u32,
        /// The next one.
        second: u32,
    },
    /// A string of the distilled base that is the name of none of its types.
    #[error("it uses a name of the distilled base that no type there has")]
    Name,
    /// Kinds of the future: which of its words are ids is unknown.
    #[error("of the unknown kind {0}")]
    Kind(u32),
    /// The layers do not stand on each other.
    #[error("{0}")]
    Layer(&'static str),
}

impl What {
    /// What the kernel's log says.
    pub fn in_kernel(&self) -> &'static str {
        match self {
            What::Foreign => "invalid for distilled base BTF",
            What::Missing | What::Different { .. } => "is not mapped to base BTF id",
            What::Ambiguous { .. } => "has multiple candidates of the same size",
            What::Name => "string is not mapped to base BTF",
            What::Kind(_) => "Invalid kind",
            What::Layer(_) => "Invalid argument",
        }
    }
}

impl Mismatch {
    /// About the type `id` of `layer`, whose names are its own.
    pub(super) fn new(layer: &Btf, id: u32, what: What) -> Mismatch {
        let index = id.wrapping_sub(layer.first_id) as usize;
        Mismatch { id, subject: subject(layer, layer.types.get(index)), what }
    }
}

/// Kind and name of a type.
pub(super) fn subject(layer: &Btf, ty: Type<'_>) -> String {
    let kind = match ty.kind() {
        Some(kind) => kind.name().to_ascii_lowercase(),
        None => format!("kind {}", ty.kind_value()),
    };
    match layer.string(None, ty.name()) {
        [] => kind,
        name => format!("{kind} {}", String::from_utf8_lossy(name)),
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            0 => write!(f, "{}", self.what),
            id => write!(f, "[{id}] {}: {}", self.subject, self.what),
        }
    }
}

/// Why a split layer cannot be put onto a base: all that does not fit, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelocateError {
    /// In order of ids.
    pub mismatches: Vec<Mismatch>,
}

impl RelocateError {
    pub(super) fn layer(what: &'static str) -> RelocateError {
        let what = What::Layer(what);
        RelocateError { mismatches: vec![Mismatch { id: 0, subject: String::new(), what }] }
    }

    /// The errno that the kernel has for it.
    pub fn errno_name(&self) -> &'static str {
        match self.mismatches.first() {
            Some(Mismatch { what: What::Name, .. }) => "ENOENT",
            _ => "EINVAL",
        }
    }
}

impl fmt::Display for RelocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.mismatches.first() {
            write!(f, "{first}")?;
        }
        match self.mismatches.len() {
            0 | 1 => Ok(()),
            n => write!(f, " (and {} more that do not fit)", n - 1),
        }
    }
}

impl std::error::Error for RelocateError {}
