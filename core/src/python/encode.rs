//! One file from DWARF to BTF, and all that is told of it.

use super::{Base, Failure, RawStamp, detached, path_of, raw_stamp};
use crate::btf::{Btf, Kind};
use crate::dwarf::language;
use crate::elf::btf_ids::{Earlier, Pristine};
use crate::elf::install::Stamp;
use crate::elf::{ElfError, Image, open_regular};
use crate::encode::{self as encoder, Features, IdsWish, Memory, encode_and_keep, encode_relinked};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The words of `.BTF_ids`, before and after.
#[pyclass(frozen, get_all, module = "btfd._core")]
pub(super) struct Ids {
    build_id: Option<String>,
    pristine: Vec<u8>,
    fresh: bool,
    resolved: Vec<u8>,
    settled: bool,
    kfunc_flags: u32,
    arena_parameters: bool,
}

impl From<encoder::Ids> for Ids {
    fn from(ids: encoder::Ids) -> Ids {
        let encoder::Ids { build_id, pristine, resolved, settled, kfunc_flags, arena_parameters } =
            ids;
        let Pristine { words: pristine, fresh } = pristine;
        Ids { build_id, pristine, fresh, resolved, settled, kfunc_flags, arena_parameters }
    }
}

/// What one encode made.
#[pyclass(frozen, module = "btfd._core")]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    ids: Option<encoder::Ids>,
    base: Option<Vec<u8>>,
    #[pyo3(get)]
    types: usize,
    #[pyo3(get)]
    functions: usize,
    #[pyo3(get)]
    full_size: Option<usize>,
    #[pyo3(get)]
    stamp: RawStamp,
    #[pyo3(get)]
    vermagic: Option<String>,
    #[pyo3(get)]
    warnings: Vec<String>,
    #[pyo3(get)]
    stages: BTreeMap<&'static str, f64>,
    kept: Option<Vec<u8>>,
    /// All, and those that were not read.
    #[pyo3(get)]
    units: (usize, usize),
    memory: Option<Arc<Memory>>,
}

#[pymethods]
impl Encoded {
    #[getter]
    fn kept<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.kept.as_ref().map(|kept| PyBytes::new(py, kept))
    }

    #[getter]
    fn btf<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }

    #[getter]
    fn remembered(&self) -> Option<Remembered> {
        self.memory.clone().map(Remembered)
    }

    #[getter]
    fn ids(&self) -> Option<Ids> {
        self.ids.clone().map(Ids::from)
    }

    #[getter]
    fn btf_base<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.base.as_ref().map(|base| PyBytes::new(py, base))
    }
}

/// What the units of one link told, from one encode to the next.
#[pyclass(frozen, module = "btfd._core")]
pub(super) struct Remembered(Arc<Memory>);

#[pymethods]
impl Remembered {
    /// Nothing.
    #[new]
    fn new() -> Remembered {
        Remembered(Arc::default())
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }
}

/// `vermagic` of a module's `.modinfo`.
fn vermagic(image: &Image) -> Result<Option<String>, Failure> {
    let Some(section) = image.section(b".modinfo") else { return Ok(None) };
    let bytes = image.read(section)?;
    let mut entries = bytes.split(|&b| b == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(b"vermagic="));
    Ok(value.map(|v| String::from_utf8_lossy(v).into_owned()))
}

#[pyfunction]
#[pyo3(signature = (
    path, base, features, *, lang_exclude=Vec::new(), threads=1, full=false, resolve=true,
    earlier=None, keep=false, remembered=None,
))]
#[allow(clippy::too_many_arguments)] // keywords in Python
pub(super) fn encode(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    base: Option<&Bound<'_, Base>>,
    features: Vec<String>,
    lang_exclude: Vec<String>,
    threads: usize,
    full: bool,
    resolve: bool,
    earlier: Option<(String, PyBackedBytes)>,
    keep: bool,
    remembered: Option<&Bound<'_, Remembered>>,
) -> PyResult<Encoded> {
    let path = path_of(path)?;
    let mut on = Features::default();
    for name in &features {
        if !on.enable(name) {
            return Err(PyValueError::new_err(format!("{name:?} is not a feature")));
        }
    }
    for name in &lang_exclude {
        let unknown = || PyValueError::new_err(format!("{name:?} is not a language"));
        on.lang_exclude.push(language(name).ok_or_else(unknown)?);
    }
    let base = base.map(|b| b.get().base.clone());
    let remembered = remembered.map(|r| Arc::clone(&r.get().0));
    detached(py, || {
        let file = open_regular(&path)?;
        let stamp = Stamp::of(&file)
            .map_err(|source| ElfError::Io { what: "cannot stat".into(), source })?;
        let image = Image::open(file)?;
        let earlier = earlier.as_ref().map(|(id, words)| Earlier { build_id: id, words });
        let wish = IdsWish { resolve, earlier };
        let mut made = match (base.as_deref(), &remembered) {
            (base, Some(memory)) => encode_relinked(&image, base, &on, threads, &wish, memory)?,
            (Some(base), None) if keep => encode_and_keep(&image, base, &on, threads, &wish)?,
            (base, None) => encoder::encode(&image, base, &on, threads, &wish)?,
        };
        let memory = made.memory.take();
        let begun = Instant::now();
        let full_size = match base {
            Some(_) if full => {
                let ids = made.ids.as_ref();
                let known = ids.and_then(|ids| Some((ids.build_id.as_ref()?, ids)));
                let earlier =
                    known.map(|(build_id, ids)| Earlier { build_id, words: &ids.pristine.words });
                let wish = IdsWish { resolve: false, earlier: earlier.or(wish.earlier) };
                let whole = match &memory {
                    Some(memory) => encode_relinked(&image, None, &on, threads, &wish, memory)?,
                    None => encoder::encode(&image, None, &on, threads, &wish)?,
                };
                Some(whole.btf.byte_len())
            }
            _ => None,
        };
        let measured = begun.elapsed();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let (bytes, base) = (made.to_bytes(), made.base.as_ref().map(Btf::to_bytes));
        let stages = &made.stages;
        // Few modules have ids.
        let resolving = made.ids.as_ref().map(|_| ("ids", ms(stages.ids)));
        let whole = full_size.map(|_| ("full", ms(measured)));
        let vermagic = vermagic(&image)?;
        let kept = made.kept.map(|mut kept| {
            kept.has_ids = made.ids.is_some();
            kept.vermagic.clone_from(&vermagic);
            kept.warnings.clone_from(&made.warnings);
            kept.to_bytes()
        });
        Ok(Encoded {
            types: made.btf.types.len(),
            functions: made.btf.types.iter().filter(|t| t.kind() == Some(Kind::Func)).count(),
            full_size,
            stamp: raw_stamp(stamp),
            vermagic,
            warnings: made.warnings,
            kept,
            units: (made.units.all, made.units.spared),
            memory: memory.map(Arc::new),
            ids: made.ids,
            stages: [
                ("read", ms(stages.read)),
                ("dwarf", ms(stages.dwarf)),
                ("append", ms(stages.append)),
                ("dedup", ms(stages.dedup)),
            ]
            .into_iter()
            .chain(resolving)
            .chain(whole)
            .collect(),
            bytes,
            base,
        })
    })
}
