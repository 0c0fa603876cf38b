//! One encode for kbuild: the daemon's bytes or our own, put where kbuild wants them.

use super::arguments::Job;
use super::client::{self, No};
use super::real;
use crate::btf::Btf;
use crate::dedup::Base;
use crate::dwarf::DwarfError;
use crate::elf::btf_ids::{BtfIds, Earlier};
use crate::elf::install::{
    Edit, InstallError, Outcome, Stamp, Way, Why, install_sections, write_detached,
};
use crate::elf::{Image, raw_btf};
use crate::encode::{self, EncodeError, IdsWish, Skipped};
use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, FileTimes};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often a file that others change meanwhile is read again.
const TRIES: usize = 3;
/// For how long a file that others read is waited for, before they get a copy.
const WAIT: Duration = Duration::from_millis(300);
/// Says who made the BTF and how long it took.
const VERBOSE: &str = "BTFD_VERBOSE";

/// Why there is no BTF.
enum Failure {
    /// No DWARF: there is nothing to encode, whoever tries.
    Bare(EncodeError),
    /// The base is no base.
    Base(String, Option<&'static str>),
    /// What we do not encode; pahole may.
    Refused(String, Option<&'static str>),
    /// Another file came under the name.
    Superseded(InstallError),
    /// It could not be written.
    Write(InstallError),
}

/// What is to be written.
struct Made {
    btf: Vec<u8>,
    base: Option<Vec<u8>>,
    /// New words of `.BTF_ids`; `None` where those in the file are right.
    ids: Option<Vec<u8>>,
    warnings: Vec<String>,
}

/// Says one line about a file, and where there is one, the way out.
fn say(path: &Path, what: impl Display, hint: Option<&str>) {
    tell(format_args!("{}: {what}", path.display()), hint);
}

/// In one write: make runs many of us at once.
pub(super) fn tell(what: impl Display, hint: Option<&str>) {
    let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    let lines = format!("btfd-pahole: {what}\n{hint}");
    // Where stderr is closed, nobody is there to hear of that either.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

/// Encodes, and answers with pahole's exit status.
pub(super) fn run(job: &Job, args: &[OsString]) -> ExitCode {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(job) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Failure::Superseded(_)) if tries < TRIES => {}
            Err(failure) => return give_up(job, args, failure),
        }
    }
}

fn once(job: &Job) -> Result<(), Failure> {
    let started = Instant::now();
    let image = Image::open_path(&job.file).map_err(|e| refused(e.into()))?;
    let stamp = Stamp::of(image.file()).map_err(|e| Failure::Refused(e.to_string(), None))?;
    let ids = Ids::of(&image, job)?;
    let (made, who) = match from_daemon(job, &ids, &image, &stamp) {
        Some(made) => (made, "the daemon"),
        None => (encode_here(job, &ids, &image)?, "in-process"),
    };
    drop(image);
    for warning in &made.warnings {
        say(&job.file, warning, None);
    }
    match &job.detached {
        Some(raw) => write_detached(raw, &made.btf).map_err(Failure::Write)?,
        None => embed(&job.file, &made, &stamp)?,
    }
    if env::var_os(VERBOSE).is_some() {
        let ms = started.elapsed().as_secs_f64() * 1e3;
        say(&job.file, format_args!("{} bytes, {who}, {ms:.2} ms", made.btf.len()), None);
    }
    Ok(())
}

/// The `.BTF_ids` of a module, where there is one.
struct Ids {
    ids: Option<BtfIds>,
    /// The build id and the linker's words, of the object file that the module was linked from.
    earlier: Option<(String, Vec<u8>)>,
    /// They were resolved before, and will be part of the file again.
    worn: bool,
}

impl Ids {
    fn of(image: &Image, job: &Job) -> Result<Ids, Failure> {
        let mut found = Ids { ids: None, earlier: None, worn: false };
        if !image.relocatable || image.section(b".BTF_ids").is_none() {
            return Ok(found);
        }
        let failed = |e: crate::elf::ElfError| refused(e.into());
        if let Some(symbols) = image.symbols().map_err(failed)? {
            found.ids = BtfIds::read(image, &symbols).map_err(failed)?;
        }
        if let Some(ids) = found.ids.as_ref().filter(|ids| !ids.is_fresh()) {
            found.worn = job.detached.is_none();
            let words = linker_words(&job.file);
            found.earlier = ids.build_id().map(str::to_owned).zip(words);
        }
        Ok(found)
    }

    fn earlier(&self) -> Option<Earlier<'_>> {
        self.earlier.as_ref().map(|(build_id, words)| Earlier { build_id, words })
    }

    /// The words as the linker wrote them, for the resolve_btfids that kbuild runs next: it must
    /// not resolve twice, or flags of kfuncs end up beside other functions.
    fn pristine(&self, image: &Image, base: Option<&Btf>) -> Result<Option<Vec<u8>>, EncodeError> {
        match &self.ids {
            Some(ids) if self.worn => {
                Ok(Some(ids.pristine(image, base, self.earlier().as_ref())?.words))
            }
            _ => Ok(None),
        }
    }
}

/// `.BTF_ids` of `foo.o`, which `foo.ko` was linked from.
fn linker_words(module: &Path) -> Option<Vec<u8>> {
    let object = Image::open_path(&module.with_extension("o")).ok()?;
    object.read(object.section(b".BTF_ids")?).ok()
}

/// Whether kbuild runs resolve_btfids after us.
fn resolver_follows() -> bool {
    env::var_os("RESOLVE_BTFIDS").is_some()
}

/// The daemon's work, where there is a daemon that does it.
fn from_daemon(job: &Job, ids: &Ids, image: &Image, stamp: &Stamp) -> Option<Made> {
    job.base.as_ref()?;
    // The daemon says nothing about functions.
    if job.verbose || (ids.worn && !resolver_follows()) {
        return None;
    }
    let words = ids.pristine(image, None).ok()?;
    match client::ask(job, stamp) {
        Ok(answer) => {
            let client::Answer { btf, base, warnings } = answer;
            Some(Made { btf, base, ids: words, warnings })
        }
        Err(No::Absent) => None,
        Err(No::Unsuitable(why)) => {
            if env::var_os(VERBOSE).is_some() {
                say(&job.file, format_args!("not by the daemon: {why}"), None);
            }
            None
        }
        Err(No::Wrong(why)) => {
            tell(format_args!("{why}; encoding without it"), None);
            None
        }
    }
}

/// Our own work, the same bytes.
fn encode_here(job: &Job, ids: &Ids, image: &Image) -> Result<Made, Failure> {
    let work = || {
        let cpus = thread::available_parallelism().map_or(1, |n| n.get());
        let threads = threads(job, env::var_os("MAKELEVEL").is_some(), cpus);
        if threads == 1 {
            // Nothing is worth the start of a thread; an error means that there is a pool already.
            let _ =
                rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
        }
        let base = job.base.as_deref().map(load).transpose()?;
        let features = job.features();
        let wish = IdsWish { resolve: false, earlier: ids.earlier() };
        let made = encode::encode(image, base.as_ref(), &features, threads, &wish);
        let made = made.map_err(refused)?;
        let lower = base.as_ref().map(Base::btf);
        let mut words = ids.pristine(image, lower).map_err(refused)?;
        if let (Some(pristine), Some(ids), false) = (&words, &ids.ids, resolver_follows()) {
            let layers: Vec<&Btf> =
                made.base.as_ref().or(lower).into_iter().chain([&made.btf]).collect();
            words = Some(ids.resolve(pristine, &layers).map_err(|e| refused(e.into()))?.words);
        }
        if job.verbose {
            tell_skipped(&made.skipped);
        }
        let (btf, base) = (made.to_bytes(), made.base.as_ref().map(Btf::to_bytes));
        Ok(Made { btf, base, ids: words, warnings: made.warnings })
    };
    // A defect of ours is no reason for a build to fail.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Refused("a bug in btfd (see above)".into(), None)))
}

/// What pahole's `--verbose` says of functions, on stdout.
fn tell_skipped(skipped: &[Skipped]) {
    let mut out = std::io::stdout().lock();
    for Skipped { name, doubt } in skipped {
        let name = String::from_utf8_lossy(name);
        // Nobody reads any more: no reason to stop encoding.
        let _ = writeln!(out, "{name} : skipping BTF encoding of function due to {doubt}");
    }
}

/// A module gets one thread from make, which runs many of us at once; vmlinux is alone.
fn threads(job: &Job, under_make: bool, cpus: usize) -> usize {
    match job.jobs {
        _ if job.base.is_some() && under_make => 1,
        0 => cpus,
        jobs => jobs.min(cpus),
    }
}

fn load(path: &Path) -> Result<Base, Failure> {
    let named =
        |what: &dyn Display| format!("Failed to parse base BTF '{}': {what}", path.display());
    let (bytes, _) = raw_btf(path).map_err(|e| Failure::Base(named(&e), e.hint()))?;
    let btf = Btf::parse(&bytes, None).map_err(|e| Failure::Base(named(&e), None))?;
    Base::new(btf).map_err(|e| Failure::Base(named(&e), None))
}

fn refused(error: EncodeError) -> Failure {
    match error {
        EncodeError::Dwarf(DwarfError::Missing) => Failure::Bare(error),
        error => Failure::Refused(error.to_string(), error.hint()),
    }
}

/// Puts the sections into the module, and makes it newer than all that it is made from.
fn embed(path: &Path, made: &Made, stamp: &Stamp) -> Result<(), Failure> {
    let below = match &made.base {
        Some(base) => Edit::Put { name: ".BTF.base", data: base },
        None => Edit::Remove { name: ".BTF.base" },
    };
    let mut edits = vec![Edit::Put { name: ".BTF", data: &made.btf }, below];
    if let Some(data) = &made.ids {
        edits.push(Edit::Replace { name: ".BTF_ids", data });
    }
    let until = Instant::now() + WAIT;
    let done = loop {
        match install_sections(path, &edits, stamp, Way::Auto) {
            Err(e) if e.is_busy() && Instant::now() < until => thread::sleep(WAIT / 60),
            Err(e) if e.is_busy() => break install_sections(path, &edits, stamp, Way::Copy),
            done => break done,
        }
    };
    match done {
        // make would come again and again for a file that stays older than vmlinux.
        Ok(done) if done.outcome == Outcome::Unchanged => touch(path),
        Ok(_) => Ok(()),
        Err(e) if e.is_superseded() => Err(Failure::Superseded(e)),
        Err(InstallError { why: why @ (Why::Signed { .. } | Why::Elf { .. }), path }) => {
            let hint = InstallError { why, path };
            Err(Failure::Refused(hint.why.to_string(), hint.hint()))
        }
        Err(e) => Err(Failure::Write(e)),
    }
}

fn touch(path: &Path) -> Result<(), Failure> {
    let now = FileTimes::new().set_modified(SystemTime::now());
    let touched = File::options().write(true).open(path).and_then(|file| file.set_times(now));
    touched.map_err(|e| Failure::Refused(format!("cannot touch it: {e}"), None))
}

/// Says why, and ends as kbuild needs it.
///
/// A module that cannot be encoded goes without BTF, as with pahole, which the kernel allows; a
/// vmlinux cannot.
fn give_up(job: &Job, args: &[OsString], failure: Failure) -> ExitCode {
    let file = &job.file;
    match failure {
        Failure::Bare(why) => bare(job, &why),
        Failure::Base(what, hint) => {
            tell(what, hint);
            ExitCode::FAILURE
        }
        Failure::Superseded(e) | Failure::Write(e) => {
            say(file, &e.why, e.hint());
            ExitCode::FAILURE
        }
        Failure::Refused(what, hint) => match real::find() {
            Some(program) => {
                say(file, format_args!("{what}; leaving it to {}", program.display()), hint);
                let error = real::become_it(&program, args);
                say(&program, error, None);
                ExitCode::FAILURE
            }
            None if job.base.is_some() && job.detached.is_none() && has_no_btf(file) => {
                say(file, format_args!("{what}; it goes without BTF"), hint);
                ExitCode::SUCCESS
            }
            None => {
                say(file, what, hint);
                ExitCode::FAILURE
            }
        },
    }
}

fn has_no_btf(file: &Path) -> bool {
    Image::open_path(file).is_ok_and(|image| image.section(b".BTF").is_none())
}

/// A file without DWARF has no types of its own.
fn bare(job: &Job, why: &EncodeError) -> ExitCode {
    let Some(base) = &job.base else {
        say(&job.file, why, why.hint());
        return ExitCode::FAILURE;
    };
    say(&job.file, format_args!("{why}; it goes without types"), why.hint());
    let Some(raw) = &job.detached else { return ExitCode::SUCCESS };
    // resolve_btfids, which comes next, wants a file.
    let written = load(base).map(|base| Btf::empty(base.btf().endian, Some(base.btf())).to_bytes());
    match written.and_then(|bytes| write_detached(raw, &bytes).map_err(Failure::Write)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => give_up(job, &[], failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pahole::{Order, parse};

    #[test]
    fn jobs_are_not_multiplied_by_those_of_make() {
        let threads_of = |line: &str, under_make| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            match parse(&args, None) {
                Order::Encode(job) => threads(&job, under_make, 8),
                other => panic!("{line}: {other:?}"),
            }
        };
        for jobs in ["-j", "-j64", "-j -j2", ""] {
            assert_eq!(threads_of(&format!("-J {jobs} --btf_base v a.ko"), true), 1);
        }
        assert_eq!(threads_of("-J -j --btf_base v a.ko", false), 8);
        assert_eq!(threads_of("-J -j3 --btf_base v a.ko", false), 3);
        assert_eq!(threads_of("-J -j vmlinux", true), 8);
        assert_eq!(threads_of("-J -j64 vmlinux", true), 8);
        assert_eq!(threads_of("-J vmlinux", true), 1, "as pahole without -j");
    }
}
