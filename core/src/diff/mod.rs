//! What changed between two BTF graphs, by name.
//!
//! Each graph is a layer with what it stands on. Everything with a name that one of the layers holds
//! is looked up in the other graph, wherever it stands there: ids, order and the side of the split
//! on which a type landed do not matter. Where the two stand on different bases, the base types
//! that the layers refer to are compared too, with those that they embed. A reference counts by
//! name, so that a change is reported once, where it was made; sizes and offsets that follow from it
//! elsewhere are changes there.
//!
//! Cost: linear in the types of both layers; a base is only looked up in, through an [`Index`] that
//! is made once. References that nest beyond any real program are refused, not followed.

mod compare;
mod entities;
mod index;
mod members;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod things;

pub use index::{Class, Index};
pub use report::{Change, Detail, Fate, Value, What};
pub use source::{Line, Lines, Wanted, lines};

use crate::btf::Btf;
use crate::btf::layers::Layers;
use crate::layout::{Layout, lay_out};
use index::Side;
use thiserror::Error;

/// Why two graphs cannot be compared.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DiffError {
    /// Nameless types within each other without end.
    #[error("BTF type [{id}]: nests deeper than any real type")]
    Deep {
        /// Type id.
        id: u32,
    },
    /// A kind that the format does not define.
    #[error("BTF type [{id}]: unknown kind")]
    Kind {
        /// Type id.
        id: u32,
    },
}

/// One graph to compare: a layer and, where it does not stand alone, what it stands on.
#[derive(Clone, Copy)]
pub struct Graph<'a> {
    /// The layer.
    pub btf: &'a Btf,
    /// What it stands on, indexed.
    pub base: Option<(&'a Btf, &'a Index)>,
}

/// What is different in `new`, sorted by class and name.
///
/// `same_base`: both stand on the same base, so that it need not be looked at.
pub fn diff(old: Graph<'_>, new: Graph<'_>, same_base: bool) -> Result<Vec<Change>, DiffError> {
    let tops = [old, new].map(|graph| Index::attached(graph.btf));
    entities::compare(side(old, &tops[0]), side(new, &tops[1]), same_base)
}

fn side<'a>(graph: Graph<'a>, top: &'a Index) -> Side<'a> {
    let (base, index) = graph.base.unzip();
    Side::new(Layers::new(graph.btf, base), top, index)
}

/// The struct, union or typedef of one of this name (`struct x` and `union x` pick), laid out; the
/// layer's own before its base's.
pub fn struct_layout(graph: Graph<'_>, name: &[u8]) -> Option<Layout> {
    let own = Index::new(graph.btf, graph.base.map(|(btf, _)| btf));
    let side = side(graph, &own);
    let (classes, name) = match name {
        _ if name.starts_with(b"struct ") => (&[Class::Struct][..], &name[7..]),
        _ if name.starts_with(b"union ") => (&[Class::Union][..], &name[6..]),
        _ => (&[Class::Struct, Class::Union, Class::Typedef][..], name),
    };
    classes.iter().find_map(|&class| {
        let id = side.own(class, name).chain(side.below(class, name)).next()?;
        let id = if class == Class::Typedef { side.behind(id) } else { id };
        lay_out(side.layers, id)
    })
}

fn number<N: Into<i128>>(what: What, name: &str, old: N, new: N) -> Detail {
    let value = |n: N| Some(Value::Number(n.into()));
    Detail { what, name: name.into(), old: value(old), new: value(new) }
}
