//! From one base to another, for what was kept of encodes.

use super::{Base, Failure, detached};
use crate::btf::Kind;
use crate::dedup;
use crate::encode::Kept;
use crate::identity;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// A way from one base to another, shared by all threads.
#[pyclass(frozen, module = "btfd._core")]
pub(super) struct Rebase {
    old: Arc<dedup::Base>,
    new: Arc<dedup::Base>,
    /// None where nothing can be told of these two.
    ids: Option<Vec<u32>>,
}

/// The BTF, what is to be kept of it, and its numbers of types and functions.
type Moved<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, usize, usize);

#[pymethods]
impl Rebase {
    #[new]
    fn new(py: Python<'_>, old: &Bound<'_, Base>, new: &Bound<'_, Base>) -> PyResult<Rebase> {
        let (old, new) = (old.get().base.clone(), new.get().base.clone());
        let (old_base, new_base) = (&old, &new);
        let ids = detached(py, || {
            Ok::<_, Failure>(identity::new_ids(old_base.known(), new_base.known(), new_base.btf()))
        })?;
        Ok(Rebase { old, new, ids })
    }

    fn over<'py>(&self, py: Python<'py>, kept: PyBackedBytes) -> PyResult<Option<Moved<'py>>> {
        let moved = detached(py, || {
            let (Some(ids), Some(kept)) = (&self.ids, Kept::from_bytes(&kept)) else {
                return Ok(None);
            };
            let rebase = identity::Rebase::new(self.old.known(), self.new.known(), ids);
            let moved = kept.over(&self.new, &rebase)?;
            Ok::<_, Failure>(moved.map(|(btf, kept)| {
                let is_function = |kind: Option<Kind>| kind == Some(Kind::Func);
                let functions = btf.types.iter().filter(|t| is_function(t.kind())).count();
                (btf.to_bytes(), kept.to_bytes(), btf.types.len(), functions)
            }))
        })?;
        Ok(moved.map(|(btf, kept, types, functions)| {
            (PyBytes::new(py, &btf), PyBytes::new(py, &kept), types, functions)
        }))
    }
}
