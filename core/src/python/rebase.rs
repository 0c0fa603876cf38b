//! From one base to another, for what was kept of encodes.

use super::{Base, Failure, RawStamp, detached, put_btf, raw_stamp, stamp_of};
use crate::btf::Btf;
use crate::elf::Image;
use crate::elf::btf_ids::Earlier;
use crate::elf::install::{InstallError, Outcome};
use crate::encode::{Bridge, Kept, resolve_ids};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Bytes in front of what was kept, by which its owner knows it again.
const MARK: usize = 8;

/// A way from one base to another, shared by all threads.
#[pyclass(frozen, module = "btfd._core")]
pub(super) struct Rebase {
    /// None where nothing can be told of these two.
    bridge: Option<Bridge>,
}

/// A module that has its BTF over the new base.
#[pyclass(frozen, module = "btfd._core")]
pub(super) struct Moved {
    bytes: Vec<u8>,
    written: bool,
    #[pyo3(get)]
    types: usize,
    #[pyo3(get)]
    stamp: RawStamp,
    #[pyo3(get)]
    warnings: Vec<String>,
    /// Milliseconds.
    moving: f64,
    installing: f64,
}

#[pymethods]
impl Moved {
    #[getter]
    fn status(&self) -> &'static str {
        if self.written { "written" } else { "unchanged" }
    }

    #[getter]
    fn btf<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }

    #[getter]
    fn stages(&self) -> BTreeMap<&'static str, f64> {
        [("move", self.moving), ("install", self.installing)].into()
    }
}

/// A module, the state that its file must be in, the file of what was kept of it, its mark, and what
/// is known of its `.BTF_ids`: the build id, and the words of the linker.
type Module = (PyBackedBytes, RawStamp, PyBackedBytes, [u8; MARK], Option<(String, PyBackedBytes)>);

#[pymethods]
impl Rebase {
    #[new]
    fn new(py: Python<'_>, old: &Bound<'_, Base>, new: &Bound<'_, Base>) -> PyResult<Rebase> {
        let (old, new) = (old.get().base.clone(), new.get().base.clone());
        detached(py, || Ok::<_, Failure>(Rebase { bridge: Bridge::new(old, new) }))
    }

    #[pyo3(signature = (modules, *, release=None))]
    fn install(
        &self,
        py: Python<'_>,
        modules: Vec<Module>,
        release: Option<&str>,
    ) -> PyResult<Vec<Option<Moved>>> {
        detached(py, || {
            let Some(bridge) = &self.bridge else {
                return Ok(modules.iter().map(|_| None).collect());
            };
            Ok::<_, Failure>(
                modules.iter().map(|module| move_one(bridge, module, release)).collect(),
            )
        })
    }
}

/// None for whatever reason: who encodes it meets that too, and tells.
fn move_one(bridge: &Bridge, module: &Module, release: Option<&str>) -> Option<Moved> {
    let begun = Instant::now();
    let (path, stamp, place, mark, earlier) = module;
    let path = Path::new(OsStr::from_bytes(path));
    let file = fs::read(OsStr::from_bytes(place)).ok()?;
    let kept = Kept::from_bytes(file.strip_prefix(mark)?)?;
    let made_for = kept.vermagic.as_deref().and_then(|vermagic| vermagic.split(' ').next());
    if let (Some(release), Some(made_for)) = (release, made_for.filter(|name| !name.is_empty()))
        && release != made_for
    {
        return None;
    }
    let btf = kept.over(bridge).ok()??;
    let words = match earlier {
        _ if !kept.has_ids => None,
        Some((build_id, words)) => new_words(bridge, path, &btf, Earlier { build_id, words })?,
        None => return None,
    };
    let bytes = btf.to_bytes();
    let moved = Instant::now();
    let done: Result<_, InstallError> =
        put_btf(path, &bytes, &stamp_of(*stamp), words.as_deref(), None);
    let done = done.ok()?;
    let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
    Some(Moved {
        bytes,
        written: done.outcome == Outcome::Written,
        types: btf.types.len(),
        stamp: raw_stamp(done.stamp),
        warnings: kept.warnings,
        moving: ms(begun, moved),
        installing: ms(moved, Instant::now()),
    })
}

/// What has to be written into `.BTF_ids` with this BTF, if anything. None where that is a matter for
/// an encode.
fn new_words(
    bridge: &Bridge,
    path: &Path,
    btf: &Btf,
    earlier: Earlier<'_>,
) -> Option<Option<Vec<u8>>> {
    let image = Image::open_path(path).ok()?;
    let below = bridge.new_base().btf();
    let (ids, warnings) = resolve_ids(&image, Some(below), btf, Some(earlier)).ok()??;
    let is_sure = ids.build_id.as_deref() == Some(earlier.build_id) && warnings.is_empty();
    is_sure.then(|| (!ids.settled).then_some(ids.resolved))
}
