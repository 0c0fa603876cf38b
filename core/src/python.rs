//! The module `btfd._core`: the crate's face to Python, documented in `btfd/_core.pyi`.
//!
//! Bytes in, bytes out. Everything that takes time runs without the GIL, and a panic in it becomes
//! a `CoreError` like any other failure.

mod compare;
mod encode;
mod layers;
mod rebase;

use crate::btf::find::find as find_type;
use crate::btf::{Btf, BtfError, Endian, Kind};
use crate::dedup::{self as engine, DedupError};
use crate::diff::Index;
use crate::elf::btf_ids::{Earlier, IdsError};
use crate::elf::install::{Edit, InstallError, Installed, Outcome, Stamp, Way};
use crate::elf::{ElfError, Image, NoBtf, install as installer, raw_btf};
use crate::encode::{self as encoder, EncodeError};
use crate::features;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};
use pyo3::{create_exception, intern};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
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

/// Which exception a failure becomes.
#[derive(Clone, Copy)]
enum Class {
    Core,
    Superseded,
    Busy,
}

/// A failure on its way to becoming a `CoreError`.
struct Failure {
    class: Class,
    /// The layer that refused.
    kind: &'static str,
    text: String,
    hint: Option<&'static str>,
    errno_name: Option<&'static str>,
}

impl From<BtfError> for Failure {
    fn from(error: BtfError) -> Failure {
        Failure { errno_name: Some("EINVAL"), ..Failure::new("btf", error) }
    }
}

impl From<DedupError> for Failure {
    fn from(error: DedupError) -> Failure {
        let errno_name = Some(error.errno_name());
        Failure { errno_name, ..Failure::new("dedup", error) }
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Failure {
        let class = match () {
            () if error.is_superseded() => Class::Superseded,
            () if error.is_busy() => Class::Busy,
            () => Class::Core,
        };
        let hint = error.hint();
        // The caller knows the path and says it once.
        Failure { class, hint, ..Failure::new("install", error.why) }
    }
}

impl From<ElfError> for Failure {
    fn from(error: ElfError) -> Failure {
        let kind = if matches!(error, ElfError::Io { .. }) { "io" } else { "elf" };
        // Only a lease of another process makes an open of a regular file wait.
        let leased = matches!(&error, ElfError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::WouldBlock);
        let class = if leased { Class::Busy } else { Class::Core };
        Failure { class, hint: error.hint(), ..Failure::new(kind, error) }
    }
}

impl From<NoBtf> for Failure {
    fn from(error: NoBtf) -> Failure {
        match error {
            NoBtf::Elf(error) => error.into(),
            error => Failure { hint: error.hint(), ..Failure::new("elf", error) },
        }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Failure {
        let kind = match error {
            EncodeError::Elf(error) | EncodeError::Ids(IdsError::Elf(error)) => {
                return error.into();
            }
            EncodeError::Dedup(error) => return error.into(),
            EncodeError::Dwarf(_) => "dwarf",
            EncodeError::Ids(_) | EncodeError::NoSymbols => "elf",
            _ => "encode",
        };
        Failure { hint: error.hint(), ..Failure::new(kind, error) }
    }
}

impl Failure {
    fn new(kind: &'static str, error: impl std::fmt::Display) -> Failure {
        Failure { class: Class::Core, kind, text: error.to_string(), hint: None, errno_name: None }
    }

    fn raise(self, py: Python<'_>) -> PyErr {
        let error = match self.class {
            Class::Core => CoreError::new_err(self.text),
            Class::Superseded => Superseded::new_err(self.text),
            Class::Busy => Busy::new_err(self.text),
        };
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
                hint: Some("this is a bug in btfd; the input was left as it is"),
                ..Failure::new("encode", format!("internal error: {what}"))
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
#[pyclass(frozen, weakref, module = "btfd._core")]
struct Base {
    base: Arc<engine::Base>,
    /// Kept only where the parsed form does not give the same bytes again.
    bytes: Option<Vec<u8>>,
    digest: OnceLock<String>,
    /// Its names, for comparisons: made at the first one.
    names: OnceLock<Index>,
}

impl Base {
    fn new(bytes: &[u8]) -> Result<Base, Failure> {
        let btf = Btf::parse(bytes, None)?;
        let bytes = (btf.to_bytes() != bytes).then(|| bytes.to_vec());
        let base = Arc::new(engine::Base::new(btf)?);
        Ok(Base { base, bytes, digest: OnceLock::new(), names: OnceLock::new() })
    }

    fn names(&self) -> &Index {
        self.names.get_or_init(|| Index::new(self.base.btf(), None))
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
            let (bytes, _) = raw_btf(&path)?;
            Base::new(&bytes)
        })
    }

    #[staticmethod]
    #[pyo3(signature = (btf, *, digest=None))]
    fn from_bytes(py: Python<'_>, btf: PyBackedBytes, digest: Option<String>) -> PyResult<Base> {
        let digest = digest.map_or_else(OnceLock::new, OnceLock::from);
        detached(py, || Ok(Base { digest, ..Base::new(&btf)? }))
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
        self.bytes.as_ref().map_or_else(|| self.base.btf().byte_len(), Vec::len)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.raw()))
    }
}

type RawStamp = (u64, u64, u64, i64, i64);

fn raw_stamp(s: Stamp) -> RawStamp {
    (s.dev, s.ino, s.size, s.mtime_ns, s.ctime_ns)
}

fn stamp_of((dev, ino, size, mtime_ns, ctime_ns): RawStamp) -> Stamp {
    Stamp { dev, ino, size, mtime_ns, ctime_ns }
}

#[pyfunction]
#[pyo3(signature = (path, btf, stamp, *, btf_ids=None, base=None))]
fn install(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    btf: PyBackedBytes,
    stamp: RawStamp,
    btf_ids: Option<PyBackedBytes>,
    base: Option<PyBackedBytes>,
) -> PyResult<(&'static str, RawStamp)> {
    let path = path_of(path)?;
    detached(py, || {
        let done = put_btf(&path, &btf, &stamp_of(stamp), btf_ids.as_deref(), base.as_deref())?;
        let outcome = match done.outcome {
            Outcome::Written => "written",
            Outcome::Unchanged => "unchanged",
        };
        Ok((outcome, raw_stamp(done.stamp)))
    })
}

/// BTF into a file, with the distilled base that it stands on and the words of `.BTF_ids`, if any.
fn put_btf(
    path: &Path,
    btf: &[u8],
    stamp: &Stamp,
    ids: Option<&[u8]>,
    base: Option<&[u8]>,
) -> Result<Installed, InstallError> {
    // One without the other could not be read.
    let below = match base {
        Some(data) => Edit::Put { name: ".BTF.base", data },
        None => Edit::Remove { name: ".BTF.base" },
    };
    let mut edits = vec![Edit::Put { name: ".BTF", data: btf }, below];
    edits.extend(ids.map(|data| Edit::Replace { name: ".BTF_ids", data }));
    installer::install_sections(path, &edits, stamp, Way::Auto)
}

#[pyfunction]
fn write_detached(py: Python<'_>, path: &Bound<'_, PyAny>, btf: PyBackedBytes) -> PyResult<()> {
    let path = path_of(path)?;
    detached(py, || Ok(installer::write_detached(&path, &btf)?))
}

#[pyfunction]
#[pyo3(signature = (path, btf, base, *, earlier=None))]
fn resolve_ids(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    btf: PyBackedBytes,
    base: Option<&Bound<'_, Base>>,
    earlier: Option<(String, PyBackedBytes)>,
) -> PyResult<Option<(encode::Ids, Vec<String>)>> {
    let path = path_of(path)?;
    let base = base.map(|b| b.get().base.clone());
    detached(py, || {
        let image = Image::open_path(&path)?;
        let base = base.as_ref().map(|b| b.btf());
        let btf = Btf::parse(&btf, base)?;
        let earlier = earlier.as_ref().map(|(id, words)| Earlier { build_id: id, words });
        let found = encoder::resolve_ids(&image, base, &btf, earlier)?;
        Ok(found.map(|(ids, warnings)| (ids.into(), warnings)))
    })
}

/// The bytes of a section of an ELF file.
#[pyfunction]
fn read_section<'py>(
    py: Python<'py>,
    path: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let path = path_of(path)?;
    let bytes = detached(py, || {
        let image = Image::open_path(&path)?;
        Ok(image.section(name.as_bytes()).map(|s| image.read(s)).transpose()?)
    })?;
    Ok(bytes.map(|bytes| PyBytes::new(py, &bytes)))
}

#[pyfunction]
fn read_btf<'py>(py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let path = path_of(path)?;
    let (bytes, _) = detached(py, || Ok(raw_btf(&path)?))?;
    Ok(PyBytes::new(py, &bytes))
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
    m.add("FEATURES", PyTuple::new(py, features::NAMES)?)?;
    m.add("DEFAULT_FEATURES", PyTuple::new(py, &features::NAMES[..features::DEFAULT])?)?;
    m.add_class::<Base>()?;
    m.add_class::<encode::Encoded>()?;
    m.add_class::<encode::Ids>()?;
    m.add_class::<encode::Remembered>()?;
    m.add_class::<rebase::Moved>()?;
    m.add_class::<rebase::Rebase>()?;
    m.add_function(wrap_pyfunction!(encode::encode, m)?)?;
    m.add_function(wrap_pyfunction!(install, m)?)?;
    m.add_function(wrap_pyfunction!(write_detached, m)?)?;
    m.add_function(wrap_pyfunction!(read_section, m)?)?;
    m.add_function(wrap_pyfunction!(resolve_ids, m)?)?;
    m.add_function(wrap_pyfunction!(read_btf, m)?)?;
    m.add_function(wrap_pyfunction!(dedup, m)?)?;
    m.add_function(wrap_pyfunction!(find, m)?)?;
    m.add_function(wrap_pyfunction!(parse, m)?)?;
    compare::add_to(m)?;
    layers::add_to(m)
}
