//! The module `btfd._core`: the crate's face to Python, documented in `btfd/_core.pyi`.
//!
//! Bytes in, bytes out. Everything that takes time runs without the GIL, and a panic in it becomes
//! a `CoreError` like any other failure.

use crate::btf::find::find as find_type;
use crate::btf::{Btf, BtfError, Endian, Kind};
use crate::dedup::{self as engine, DedupError};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use pyo3::{create_exception, intern};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

create_exception!(btfd._core, CoreError, PyException, "Input that cannot be served.");
create_exception!(
    btfd._core,
    Superseded,
    CoreError,
    "The path no longer names the bytes that were read. Nothing was written."
);
create_exception!(
    btfd._core,
    Busy,
    CoreError,
    "Somebody else has the file open. Nothing was written; try again."
);

/// A failure on its way to becoming a `CoreError`.
struct Failure {
    /// The layer that refused.
    kind: &'static str,
    text: String,
    hint: Option<&'static str>,
    errno_name: Option<&'static str>,
}

impl From<BtfError> for Failure {
    fn from(error: BtfError) -> Failure {
        Failure { kind: "btf", text: error.to_string(), hint: None, errno_name: Some("EINVAL") }
    }
}

impl From<DedupError> for Failure {
    fn from(error: DedupError) -> Failure {
        let errno_name = Some(error.errno_name());
        Failure { kind: "dedup", text: error.to_string(), hint: None, errno_name }
    }
}

impl Failure {
    fn raise(self, py: Python<'_>) -> PyErr {
        let error = CoreError::new_err(self.text);
        let value = error.value(py);
        let set = value
            .setattr(intern!(py, "kind"), self.kind)
            .and_then(|()| value.setattr(intern!(py, "hint"), self.hint))
            .and_then(|()| value.setattr(intern!(py, "errno_name"), self.errno_name));
        set.err().unwrap_or(error)
    }
}

/// Does `work` without the GIL.
fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> PyResult<T> {
    let result = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let what = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("unknown panic");
            Err(Failure {
                kind: "encode",
                text: format!("internal error: {what}"),
                hint: Some("this is a bug in btfd; the input was left as it is"),
                errno_name: None,
            })
        })
    });
    result.map_err(|failure| failure.raise(py))
}

/// A path as Python gives it: str, bytes or os.PathLike.
fn path_of(path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let encoded = path.py().import("os")?.call_method1("fsencode", (path,))?;
    Ok(OsString::from_vec(encoded.extract()?).into())
}

/// The layers as one, the lowest first.
fn stack(layers: &[PyBackedBytes]) -> Result<Option<Btf>, BtfError> {
    let mut whole: Option<Btf> = None;
    for bytes in layers {
        let layer = Btf::parse(bytes, whole.as_ref())?;
        match &mut whole {
            Some(whole) => whole.append_layer(&layer),
            None => whole = Some(layer),
        }
    }
    Ok(whole)
}

/// Base BTF, parsed and indexed once.
#[pyclass(frozen, module = "btfd._core")]
struct Base {
    base: Arc<engine::Base>,
    /// Kept only where the parsed form does not give the same bytes again.
    bytes: Option<Vec<u8>>,
    digest: OnceLock<String>,
}

impl Base {
    fn new(bytes: &[u8]) -> Result<Base, Failure> {
        let btf = Btf::parse(bytes, None)?;
        let bytes = (btf.to_bytes() != bytes).then(|| bytes.to_vec());
        Ok(Base { base: Arc::new(engine::Base::new(btf)?), bytes, digest: OnceLock::new() })
    }

    fn raw(&self) -> Vec<u8> {
        self.bytes.clone().unwrap_or_else(|| self.base.btf().to_bytes())
    }
}

#[pymethods]
impl Base {
    #[staticmethod]
    fn load(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<Base> {
        let path = path_of(path)?;
        detached(py, || {
            let bytes = std::fs::read(&path).map_err(|error| Failure {
                kind: "io",
                text: format!("{}: {error}", path.display()),
                hint: None,
                errno_name: None,
            })?;
            Base::new(&bytes)
        })
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, btf: PyBackedBytes) -> PyResult<Base> {
        detached(py, || Base::new(&btf))
    }

    /// SHA-256; Python's own, which is the fastest at hand.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest.clone());
        }
        let bytes = PyBytes::new(py, &py.detach(|| self.raw()));
        let hash = py.import("hashlib")?.call_method1("sha256", (bytes,))?;
        let digest: String = hash.call_method0("hexdigest")?.extract()?;
        Ok(self.digest.get_or_init(|| digest).clone())
    }

    #[getter]
    fn types(&self) -> usize {
        self.base.btf().types.len()
    }

    #[getter]
    fn size(&self) -> usize {
        let btf = self.base.btf();
        let parsed = || 24 + btf.types.words().len() * 4 + btf.strings.len();
        self.bytes.as_ref().map_or_else(parsed, Vec::len)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.raw()))
    }
}

#[pyfunction]
fn dedup<'py>(
    py: Python<'py>,
    layers: Vec<PyBackedBytes>,
    split: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = detached(py, || {
        let lower = stack(&layers)?;
        let mut top = Btf::parse(&split, lower.as_ref())?;
        let base = lower.map(engine::Base::new).transpose()?;
        engine::reintern(base.as_ref(), &mut top)?;
        engine::dedup(base.as_ref(), &mut top)?;
        Ok(top.to_bytes())
    })?;
    Ok(PyBytes::new(py, &bytes))
}

#[pyfunction]
#[pyo3(signature = (layers, name, kind))]
fn find(
    py: Python<'_>,
    layers: Vec<PyBackedBytes>,
    name: PyBackedBytes,
    kind: Option<&str>,
) -> PyResult<Option<u32>> {
    let unknown = |kind| PyValueError::new_err(format!("{kind:?} is not a kind of BTF type"));
    let kind = kind.map(|k| Kind::from_name(k).ok_or_else(|| unknown(k))).transpose()?;
    detached(py, || {
        let whole = stack(&layers)?.unwrap_or_else(|| Btf::empty(Endian::Little, None));
        Ok(find_type(&[&whole], &name, kind))
    })
}

/// Checks that `btf` is BTF on top of `layers`.
#[pyfunction]
#[pyo3(name = "_parse")]
fn parse(py: Python<'_>, layers: Vec<PyBackedBytes>, btf: PyBackedBytes) -> PyResult<()> {
    detached(py, || {
        let lower = stack(&layers)?;
        Btf::parse(&btf, lower.as_ref())?;
        Ok(())
    })
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    for (name, class) in [
        ("CoreError", py.get_type::<CoreError>()),
        ("Superseded", py.get_type::<Superseded>()),
        ("Busy", py.get_type::<Busy>()),
    ] {
        m.add(name, class)?;
    }
    let error = py.get_type::<CoreError>();
    error.setattr("kind", "encode")?;
    error.setattr("hint", py.None())?;
    error.setattr("errno_name", py.None())?;
    m.add_class::<Base>()?;
    m.add_function(wrap_pyfunction!(dedup, m)?)?;
    m.add_function(wrap_pyfunction!(find, m)?)?;
    m.add_function(wrap_pyfunction!(parse, m)?)
}
