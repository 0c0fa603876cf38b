//! Whole layers rewritten: distilled, relocated, renumbered; and what the kernel says of them.

use super::{Base, Failure, detached, path_of, raw_btf, stack};
use crate::btf::distill::{DistillError, distill as distill_layer};
use crate::btf::dump::{self as print, Format};
use crate::btf::permute::{self as renumber, PermuteError};
use crate::btf::relocate::{RelocateError, relocate as relocate_layer};
use crate::btf::{Btf, verify as check};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

impl From<DistillError> for Failure {
    fn from(error: DistillError) -> Failure {
        let errno_name = Some(error.errno_name());
        Failure { errno_name, ..Failure::new("btf", error) }
    }
}

impl From<RelocateError> for Failure {
    fn from(error: RelocateError) -> Failure {
        let errno_name = Some(error.errno_name());
        Failure { errno_name, ..Failure::new("btf", error) }
    }
}

impl From<PermuteError> for Failure {
    fn from(error: PermuteError) -> Failure {
        let errno_name = Some(error.errno_name());
        Failure { errno_name, ..Failure::new("btf", error) }
    }
}

type Pair<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

#[pyfunction]
fn read_layers<'py>(py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Pair<'py>> {
    let path = path_of(path)?;
    let (btf, below) = detached(py, || Ok(raw_btf(&path)?))?;
    Ok((PyBytes::new(py, &btf), below.map(|below| PyBytes::new(py, &below))))
}

/// A split layer and the distilled base below it, put onto `base` where there is one.
///
/// Gives the layer and what it stands on now.
fn onto(btf: &[u8], distilled: &[u8], base: Option<&Btf>) -> Result<(Btf, Option<Btf>), Failure> {
    let distilled = Btf::parse(distilled, None)?;
    let split = Btf::parse(btf, Some(&distilled))?;
    match base {
        None => Ok((split, Some(distilled))),
        Some(base) => Ok((relocate_layer(&split, &distilled, base)?, None)),
    }
}

#[pyfunction]
#[pyo3(signature = (btf, base, format, distilled=None))]
fn dump(
    py: Python<'_>,
    btf: PyBackedBytes,
    base: Option<&Bound<'_, Base>>,
    format: &str,
    distilled: Option<PyBackedBytes>,
) -> PyResult<String> {
    let unknown = || PyValueError::new_err(format!("{format:?} is not a format"));
    let format = Format::from_name(format).ok_or_else(unknown)?;
    let base = base.map(|b| b.get().base.clone());
    detached(py, || {
        let base = base.as_ref().map(|b| b.btf());
        let (top, below) = match distilled {
            None => (Btf::parse(&btf, base)?, None),
            Some(distilled) => onto(&btf, &distilled, base)?,
        };
        Ok(print::dump(&top, below.as_ref().or(base), format)?)
    })
}

#[pyfunction]
#[pyo3(signature = (btf, base, distilled=None))]
fn verify(
    py: Python<'_>,
    btf: PyBackedBytes,
    base: Option<&Bound<'_, Base>>,
    distilled: Option<PyBackedBytes>,
) -> PyResult<Vec<(String, bool)>> {
    let base = base.map(|b| b.get().base.clone());
    detached(py, || {
        let base = base.as_ref().map(|b| b.btf());
        let problems = match distilled {
            None => check::verify(&btf, base),
            Some(distilled) => check::verify_distilled(&btf, &distilled, base),
        };
        Ok(problems.iter().map(|p| (p.to_string(), p.refused)).collect())
    })
}

#[pyfunction]
fn distill<'py>(
    py: Python<'py>,
    layers: Vec<PyBackedBytes>,
    split: PyBackedBytes,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let (base, split) = detached(py, || {
        let lower = stack(&layers)?.ok_or(DistillError::Alone)?;
        let made = distill_layer(&Btf::parse(&split, Some(&lower))?, &lower)?;
        Ok((made.base.to_bytes(), made.split.to_bytes()))
    })?;
    Ok((PyBytes::new(py, &base), PyBytes::new(py, &split)))
}

#[pyfunction]
fn relocate<'py>(
    py: Python<'py>,
    split: PyBackedBytes,
    distilled: PyBackedBytes,
    base: &Bound<'py, Base>,
) -> PyResult<Bound<'py, PyBytes>> {
    let base = base.get().base.clone();
    let bytes = detached(py, || Ok(onto(&split, &distilled, Some(base.btf()))?.0.to_bytes()))?;
    Ok(PyBytes::new(py, &bytes))
}

#[pyfunction]
fn permute<'py>(
    py: Python<'py>,
    layers: Vec<PyBackedBytes>,
    btf: PyBackedBytes,
    ids: Vec<u32>,
) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = detached(py, || {
        let mut top = Btf::parse(&btf, stack(&layers)?.as_ref())?;
        renumber::permute(&mut top, &ids)?;
        Ok(top.to_bytes())
    })?;
    Ok(PyBytes::new(py, &bytes))
}

#[pyfunction]
fn sort_by_name<'py>(
    py: Python<'py>,
    layers: Vec<PyBackedBytes>,
    btf: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = detached(py, || {
        let lower = stack(&layers)?;
        let mut top = Btf::parse(&btf, lower.as_ref())?;
        renumber::sort_by_name(&mut top, lower.as_ref());
        Ok(top.to_bytes())
    })?;
    Ok(PyBytes::new(py, &bytes))
}

/// Adds all of these to the module.
pub(super) fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(read_layers, m)?)?;
    m.add_function(wrap_pyfunction!(dump, m)?)?;
    m.add_function(wrap_pyfunction!(verify, m)?)?;
    m.add_function(wrap_pyfunction!(distill, m)?)?;
    m.add_function(wrap_pyfunction!(relocate, m)?)?;
    m.add_function(wrap_pyfunction!(permute, m)?)?;
    m.add_function(wrap_pyfunction!(sort_by_name, m)?)
}
