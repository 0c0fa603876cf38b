//! Two graphs compared, and structs laid out.

use super::{Base, Failure, detached, path_of};
use crate::btf::Btf;
use crate::diff::{self as compare, Change, Class, DiffError, Graph, Index, Lines, Value, Wanted};
use crate::elf::Image;
use crate::layout::{Row, print};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyList};
use std::collections::HashMap;

impl From<DiffError> for Failure {
    fn from(error: DiffError) -> Failure {
        Failure::new("btf", error)
    }
}

/// BTF, the base that it stands on, and the distilled base that it came with.
type Whole<'py> = (PyBackedBytes, Option<Bound<'py, Base>>, Option<PyBackedBytes>);

/// What a graph stands on: nothing, a warm base, or a distilled one of its own.
enum Below<'a> {
    Nothing,
    Warm(&'a Base),
    Own(Box<(Btf, Index)>),
}

impl Below<'_> {
    fn new<'a>(base: Option<&'a Base>, distilled: Option<&[u8]>) -> Result<Below<'a>, Failure> {
        Ok(match (distilled, base) {
            (Some(bytes), _) => {
                let btf = Btf::parse(bytes, None)?;
                let index = Index::new(&btf, None);
                Below::Own(Box::new((btf, index)))
            }
            (None, Some(base)) => Below::Warm(base),
            (None, None) => Below::Nothing,
        })
    }

    fn layer(&self) -> Option<(&Btf, &Index)> {
        match self {
            Below::Nothing => None,
            Below::Warm(base) => Some((base.base.btf(), base.names())),
            Below::Own(own) => Some((&own.0, &own.1)),
        }
    }
}

#[pyfunction]
fn diff<'py>(py: Python<'py>, old: Whole<'py>, new: Whole<'py>) -> PyResult<Bound<'py, PyList>> {
    let bases = [&old.1, &new.1].map(|base| base.as_ref().map(Bound::get));
    let sides = [(&old.0, bases[0], &old.2), (&new.0, bases[1], &new.2)];
    let changes = detached(py, || {
        let below = |which: usize| Below::new(sides[which].1, sides[which].2.as_deref());
        let (under, over) = (below(0)?, below(1)?);
        let same = match (&under, &over) {
            (Below::Nothing, Below::Nothing) => true,
            (Below::Warm(a), Below::Warm(b)) => std::ptr::eq(*a, *b),
            (Below::Own(a), Below::Own(b)) => a.0 == b.0,
            _ => false,
        };
        let (under, over) = (under.layer(), over.layer());
        let old = Btf::parse(sides[0].0, under.map(|(btf, _)| btf))?;
        let new = Btf::parse(sides[1].0, over.map(|(btf, _)| btf))?;
        let graph = |btf, base| Graph { btf, base };
        Ok(compare::diff(graph(&old, under), graph(&new, over), same)?)
    })?;
    let list = PyList::empty(py);
    for change in &changes {
        list.append(as_dict(py, change)?)?;
    }
    Ok(list)
}

fn as_dict<'py>(py: Python<'py>, change: &Change) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("kind", change.class.word())?;
    dict.set_item("name", &change.name)?;
    dict.set_item("change", change.fate.word())?;
    dict.set_item("layer", if change.in_base { "base" } else { "module" })?;
    dict.set_item("shadows", change.shadows)?;
    dict.set_item("size", change.size.to_vec())?;
    dict.set_item("text", change.text.to_vec())?;
    let details = PyList::empty(py);
    for detail in &change.details {
        let one = PyDict::new(py);
        one.set_item("what", detail.what.word())?;
        one.set_item("name", &detail.name)?;
        one.set_item("old", detail.old.as_ref().map(|v| value(py, v)).transpose()?)?;
        one.set_item("new", detail.new.as_ref().map(|v| value(py, v)).transpose()?)?;
        details.append(one)?;
    }
    dict.set_item("details", details)?;
    Ok(dict)
}

fn value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    let dict = PyDict::new(py);
    match value {
        Value::Number(n) => return Ok(n.into_pyobject(py)?.into_any()),
        Value::Text(text) => return Ok(text.into_pyobject(py)?.into_any()),
        Value::Member { ty, offset, bits } => {
            dict.set_item("type", ty)?;
            dict.set_item("offset", offset)?;
            dict.set_item("bits", bits)?;
        }
        Value::Place { section, offset, size } => {
            dict.set_item("section", section)?;
            dict.set_item("offset", offset)?;
            dict.set_item("size", size)?;
        }
    }
    Ok(dict.into_any())
}

/// File, line and column; and the same of each part by name.
type Place = (String, u64, u64);
type Places = (Place, HashMap<String, Place>);

#[pyfunction]
fn lines(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    wanted: Vec<(String, String)>,
) -> PyResult<HashMap<(String, String), Places>> {
    let path = path_of(path)?;
    let wanted = wanted
        .into_iter()
        .map(|(kind, name)| match Class::from_word(&kind) {
            Some(class) => Ok(Wanted { class, name }),
            None => Err(PyValueError::new_err(format!("{kind:?} is not a kind of thing"))),
        })
        .collect::<PyResult<Vec<_>>>()?;
    let found = detached(py, || Ok(compare::lines(&Image::open_path(&path)?, &wanted)?))?;
    let place = |line: compare::Line| (line.file, line.line, line.column);
    let places = |lines: Lines| {
        let parts = lines.parts.into_iter().map(|(name, line)| (name, place(line)));
        (place(lines.at), parts.collect())
    };
    let named = found.into_iter();
    Ok(named.map(|(w, lines)| ((w.class.word().to_owned(), w.name), places(lines))).collect())
}

#[pyfunction]
fn layout<'py>(
    py: Python<'py>,
    graph: Whole<'py>,
    name: PyBackedBytes,
) -> PyResult<Option<(String, Bound<'py, PyList>)>> {
    let base = graph.1.as_ref().map(Bound::get);
    let found = detached(py, || {
        let below = Below::new(base, graph.2.as_deref())?;
        let below = below.layer();
        let btf = Btf::parse(&graph.0, below.map(|(btf, _)| btf))?;
        Ok(compare::struct_layout(Graph { btf: &btf, base: below }, &name))
    })?;
    let Some(found) = found else { return Ok(None) };
    let list = PyList::empty(py);
    for row in &found.rows {
        let one = PyDict::new(py);
        match row {
            Row::Open { word } => one.set_item("open", word)?,
            Row::Close { declaration, offset, bits } => {
                one.set_item("close", declaration.trim_start())?;
                one.set_item("offset", offset)?;
                one.set_item("bits", bits)?;
            }
            Row::Member(m) => {
                one.set_item("name", &m.plain)?;
                one.set_item("type", format!("{} {}", m.base, m.name))?;
                one.set_item("offset", m.offset)?;
                let bits = if m.width > 0 { m.width } else { m.size.saturating_mul(8) };
                one.set_item("bits", bits)?;
                one.set_item("bitfield", m.width > 0)?;
            }
            Row::Hole { offset, bits } => {
                one.set_item("hole", bits.0 + bits.1 * 8)?;
                one.set_item("offset", offset)?;
            }
            Row::Boundary { line, .. } => one.set_item("line", line)?,
        }
        list.append(one)?;
    }
    Ok(Some((print(&found), list)))
}

pub(super) fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(diff, m)?)?;
    m.add_function(wrap_pyfunction!(layout, m)?)?;
    m.add_function(wrap_pyfunction!(lines, m)?)
}
