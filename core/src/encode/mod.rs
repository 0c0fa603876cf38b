//! The whole way of one file: ELF and DWARF in, deduplicated BTF out.
//!
//! CUs are read in parallel, and appended in DWARF order, so that the result is the same bytes for
//! every number of threads. Types that are known by identity are left out. Then come functions, sorted by
//! name, and the sections of variables; that is pahole's order, and with it type sections are equal
//! to pahole's byte by byte.

mod append;
mod bridge;
mod functions;
mod hint;
mod ids;
mod kept;
mod notes;
mod relink;
mod variables;

pub use crate::features::Features;
pub use crate::target::Target;
pub use bridge::Bridge;
pub use functions::{Doubt, FunctionTable, Skipped};
pub use ids::{Ids, IdsWish, resolve_ids};
pub use kept::{Given, Kept};
pub use relink::Memory;

use crate::btf::Btf;
use crate::btf::distill::{DistillError, distill};
use crate::dedup::{self, Base, DedupError};
use crate::dwarf::{self, Debug, DwarfError, Group};
use crate::elf::btf_ids::IdsError;
use crate::elf::{ElfError, Image};
use crate::identity::{Identities, Key, Merge};
use append::{Finished, Read};
use rayon::prelude::*;
use relink::Relink;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes of DWARF, for each thread, that are turned into types before they are appended. What they
/// become takes several times as much until then.
const BATCH: usize = 2 << 20;

/// Why a file cannot be encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The file.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Its DWARF.
    #[error(transparent)]
    Dwarf(#[from] DwarfError),
    /// Its types.
    #[error(transparent)]
    Dedup(#[from] DedupError),
    /// Its `.BTF_ids`.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// What it needs of the base.
    #[error("no distilled base: {0}")]
    Distill(#[from] DistillError),
    /// Functions cannot be told from stale ones.
    #[error("it has no symbol table (no .symtab section)")]
    NoSymbols,
    /// The base does not fit.
    #[error("{0}")]
    Base(String),
    /// Something that BTF cannot express.
    #[error("{0}")]
    Content(String),
    /// Threads could not be had.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl From<dwarf::LoadError> for EncodeError {
    fn from(e: dwarf::LoadError) -> EncodeError {
        match e {
            dwarf::LoadError::Elf(e) => e.into(),
            dwarf::LoadError::Dwarf(e) => e.into(),
        }
    }
}

/// Where the time of one encode went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Reading, inflating and relocating sections.
    pub read: Duration,
    /// DIEs to types.
    pub dwarf: Duration,
    /// Appending CUs, choosing functions and variables.
    pub append: Duration,
    /// Deduplication, and the distilled base.
    pub dedup: Duration,
    /// Resolving `.BTF_ids`.
    pub ids: Duration,
}

/// The units of a file, and how many of them were not read since an earlier link had them.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Units {
    pub all: usize,
    pub spared: usize,
}

/// What one encode made.
#[derive(Debug)]
pub struct Encoded {
    /// The types, ready to be written.
    pub btf: Btf,
    /// The distilled base that they stand on, where that was asked for.
    pub base: Option<Btf>,
    /// What was left out or replaced, one line each.
    pub warnings: Vec<String>,
    /// Functions that it has and that were left out.
    pub skipped: Vec<Skipped>,
    /// The words of `.BTF_ids`, where the file has some and they were asked for.
    pub ids: Option<Ids>,
    /// What a change of the base needs, where that was asked for and can be told.
    pub kept: Option<Kept>,
    /// What the next link of the file may begin with, where that was asked for.
    pub memory: Option<Memory>,
    /// How many units it has.
    pub units: Units,
    /// Where the time went.
    pub stages: Stages,
    layout: bool,
}

impl Encoded {
    /// The bytes of `.BTF`.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.layout { self.btf.to_bytes_with_layout() } else { self.btf.to_bytes() }
    }
}

/// Turns the DWARF of `image` into BTF over `base`, or stand-alone.
pub fn encode(
    image: &Image,
    base: Option<&Base>,
    features: &Features,
    threads: usize,
    wish: &IdsWish,
) -> Result<Encoded, EncodeError> {
    run(image, base, features, threads, wish, Way::Usual)
}

/// The same, and what a change of the base needs.
pub fn encode_and_keep(
    image: &Image,
    base: &Base,
    features: &Features,
    threads: usize,
    wish: &IdsWish,
) -> Result<Encoded, EncodeError> {
    run(image, Some(base), features, threads, wish, Way::Keeping)
}

/// The same as [`encode_and_keep`], where units that an earlier link of the file had are not read
/// again; nothing is kept where there is no base. The result is the same bytes.
pub fn encode_relinked(
    image: &Image,
    base: Option<&Base>,
    features: &Features,
    threads: usize,
    wish: &IdsWish,
    earlier: &Memory,
) -> Result<Encoded, EncodeError> {
    run(image, base, features, threads, wish, Way::Relinking(earlier))
}

/// The same, where no type is told by its identity: the exact engine sees them all. The result is
/// the same bytes; tests and doubters hold one against the other.
pub fn encode_exactly(
    image: &Image,
    base: Option<&Base>,
    features: &Features,
    threads: usize,
    wish: &IdsWish,
) -> Result<Encoded, EncodeError> {
    run(image, base, features, threads, wish, Way::Exactly)
}

/// How an encode goes about it.
#[derive(Clone, Copy)]
enum Way<'m> {
    Usual,
    Keeping,
    Relinking(&'m Memory),
    Exactly,
}

fn run(
    image: &Image,
    base: Option<&Base>,
    features: &Features,
    threads: usize,
    wish: &IdsWish,
    way: Way<'_>,
) -> Result<Encoded, EncodeError> {
    if let Some(base) = base
        && base.btf().endian != image.endian
    {
        return Err(EncodeError::Base("its byte order is not that of the base".into()));
    }
    let mut stages = Stages::default();
    let mut watch = Instant::now();
    let mut lap = |slot: &mut Duration| {
        let now = Instant::now();
        *slot += now - watch;
        watch = now;
    };
    let symbols = match image.symbols()? {
        Some(symbols) => symbols,
        // What is missing first is what its reader wants to hear first.
        None if image.debug_section("info").is_none() => return Err(DwarfError::Missing.into()),
        None => return Err(EncodeError::NoSymbols),
    };
    let pool = match threads {
        0 | 1 => None,
        n => Some(rayon::ThreadPoolBuilder::new().num_threads(n).build()?),
    };
    let load = || match way {
        Way::Relinking(_) => Debug::load_to_compare(image, &symbols),
        _ => Debug::load(image, &symbols),
    };
    let debug = pool.as_ref().map_or_else(load, |pool| pool.install(load))?;
    let lower = base.map(Base::btf);
    let ids = ids::Source::read(image, &symbols, lower, features, wish)?;
    let known = FunctionTable::new(&symbols, features, ids.iter().flat_map(|ids| ids.kfuncs()));
    lap(&mut stages.read);

    let target = Target::of(image);
    let groups = debug.groups(&features.lang_exclude)?;
    let size = groups.iter().map(|group| group.size()).sum();
    let keeps = matches!(way, Way::Keeping | Way::Relinking(_));
    let merge = match (base, way) {
        (_, Way::Exactly) => None,
        (None, _) => Some(Merge::new(None)),
        (Some(base), _) if keeps => Some(Merge::new(Some(base.known()))),
        (Some(base), _) => base.known_for(size).map(|known| Merge::new(Some(known))),
    };
    let key = merge.is_some().then(Key::of_process);
    let mut file = append::File::new(base, image.endian, merge);
    if keeps && !features.distilled_base {
        file.keep();
    }
    let vars = variables::Rules::new(image, &symbols, features);
    let find = |name: &[u8]| known.find(name);
    let relink = match (way, key) {
        (Way::Relinking(earlier), Some(key)) => {
            let (debug, known, spared) = (&debug, &known, AtomicUsize::new(0));
            Some(Relink { earlier, debug, known, target, features, key, spared })
        }
        _ => None,
    };
    let read = |group| -> Result<_, DwarfError> {
        match (&relink, key) {
            (Some(relink), _) => relink.read(group),
            (None, Some(key)) => {
                let (cu, sketch) = dwarf::sketch(group, &find, target, features, key)?;
                let identities = Identities::of(&sketch, key);
                Ok(Read::own(cu, sketch, identities))
            }
            (None, None) => Ok(Read::exactly(dwarf::read(group, &find, target, features)?)),
        }
    };
    let mut rest = &groups[..];
    let mut done: Vec<Read<'_>> = Vec::new();
    while !(rest.is_empty() && done.is_empty()) {
        let mut bytes = 0;
        let full = rest.iter().position(|group| {
            bytes += group.size();
            bytes > BATCH * threads.max(1)
        });
        let (batch, after) = rest.split_at(full.map_or(rest.len(), |full| full.max(1)));
        rest = after;
        let mut before = std::mem::take(&mut done).into_iter();
        let mut add = || before.try_for_each(|read| file.add(read, &vars));
        // While one thread appends, the others read on.
        let (added, read) = match &pool {
            None => {
                let added = add();
                lap(&mut stages.append);
                (added, batch.iter().map(read).collect())
            }
            Some(pool) => {
                let read = || batch.par_iter().map(read).collect();
                pool.install(|| rayon::join(add, read))
            }
        };
        added?;
        let read: Result<Vec<_>, DwarfError> = read;
        done = read?;
        lap(&mut stages.dwarf);
    }
    file.append_all(&vars)?;
    let Finished { mut btf, mut warnings, skipped, given, shared } =
        file.finish(&known, &vars, features)?;
    if groups.is_empty() {
        warnings.push("nothing to encode: all of its CUs are in languages left out".into());
    }
    let spared = relink.as_ref().map_or(0, |relink| relink.spared.load(Relaxed));
    let units = Units { all: groups.iter().map(Group::units).sum(), spared };
    let memory = relink.map(|_| Memory::new(shared, features, target));
    lap(&mut stages.append);
    // Of a vmlinux these are 200 MB, as much as the deduplication is about to take.
    drop(groups);
    drop(debug);
    let kept = match given.zip(base) {
        Some((given, lower)) => {
            let (stats, told) = dedup::dedup_and_tell(base, &mut btf)?;
            Some(given.decided(lower, &btf, stats, told))
        }
        None => dedup::dedup(base, &mut btf).map(|_| None)?,
    };
    let (btf, distilled) = match base {
        Some(base) if features.distilled_base => {
            let made = distill(&btf, base.btf())?;
            (made.split, Some(made.base))
        }
        _ => (btf, None),
    };
    lap(&mut stages.dedup);
    // A module's own base is what the ids of its BTF are relative to.
    let lower = distilled.as_ref().or(lower);
    let ids = match ids.filter(|_| wish.resolve) {
        Some(ids) => ids.resolve(lower, &btf, &mut warnings)?,
        None => None,
    };
    lap(&mut stages.ids);
    let layout = features.layout && base.is_none();
    Ok(Encoded {
        btf,
        base: distilled,
        warnings,
        skipped,
        ids,
        kept,
        memory,
        units,
        stages,
        layout,
    })
}
