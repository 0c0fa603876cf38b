//! Files beside the target: the whole new content first, then one rename.
//!
//! A rename buries whatever has the name at that moment, and no check before it can be close
//! enough. So the two files are *exchanged*, and what came out is looked at: where it is not the
//! file that was read, it goes back. Two that do this at the same time would give each other's
//! files back, so whoever exchanges holds a lock (`flock`) on the directory for those microseconds.
//! Where the file system can do neither (NFS, FUSE), a check and a plain rename are left, with the
//! moment between them unguarded.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::lease::Lease;
use super::plan::Plan;
use super::view::View;
use super::{RETRIES, Stamp, Why};

/// How temporary names start. They end in `.tmp`; only a kill leaves one, and `make clean` of a
/// kernel tree removes it.
pub const TEMP_PREFIX: &str = ".btfd-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file under a temporary name, removed on drop.
#[derive(Debug)]
pub(super) struct Sibling {
    pub file: File,
    path: PathBuf,
    armed: bool,
}

impl Sibling {
    /// A new empty file in the directory of `target`, with this mode less the umask.
    pub fn create(target: &Path, mode: u32) -> Result<Sibling, Why> {
        let dir = directory(target);
        let mut tries = 0;
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{TEMP_PREFIX}{}-{n}.tmp", process::id()));
            let mut options = OpenOptions::new();
            match options.read(true).write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => return Ok(Sibling { file, path, armed: true }),
                // Left by a killed process with our number.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && tries < 1000 => {
                    tries += 1;
                }
                Err(e) => return Err(Why::io("create a file in the directory", e)),
            }
        }
    }

    /// Fills it with the edited content of `source`, and gives it that file's mode, owner and
    /// extended attributes.
    pub fn fill(&mut self, source: &File, view: &View, plan: &Plan) -> Result<(), Why> {
        copy(source, &self.file, plan.keep).map_err(|e| Why::io("write the copy", e))?;
        let write = |bytes: &[u8], at| {
            self.file.write_all_at(bytes, at).map_err(|e| Why::io("write the copy", e))
        };
        write(&plan.blob(view), plan.at)?;
        write(&plan.flip, plan.flip_at)?;

        let keep = |e| Why::io("keep owner, mode and attributes", e);
        let (old, new) = (source.metadata().map_err(keep)?, self.file.metadata().map_err(keep)?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid()))
                .map_err(keep)?;
        }
        copy_attributes(source, &self.file).map_err(|e| keep(e.into()))?;
        let mode = Mode::from_raw_mode(old.mode() & 0o7777);
        rustix::fs::fchmod(&self.file, mode).map_err(|e| keep(e.into()))
    }

    /// Gives it the name `target`, if that still is the file with the stamp `expected`.
    pub fn publish(
        mut self,
        target: &Path,
        expected: &Stamp,
        lease: Option<&Lease>,
    ) -> Result<(), Why> {
        let rename = |e: Errno| Why::io("rename the copy", e);
        let lock = Lock::take(directory(target))?;
        match Stamp::of_link(target) {
            Ok(now) if now == *expected => {}
            Ok(_) => return Err(Why::Superseded("another file has its name")),
            Err(_) => return Err(Why::Superseded("the file is gone")),
        }
        match lock.as_ref().map_or(Err(Errno::NOSYS), |_| self.exchange(target)) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(Why::Superseded("the file is gone")),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::rename(&self.path, target).map_err(rename)?;
                self.armed = false;
                return Ok(());
            }
            Err(e) => return Err(rename(e)),
        }
        let found = Stamp::of_link(&self.path);
        // The rename itself is a new ctime.
        let same = found.is_ok_and(|f| Stamp { ctime_ns: expected.ctime_ns, ..f } == *expected);
        let why = if !same {
            Why::Superseded("another file has its name, or it was written to")
        } else if lease.is_some_and(Lease::writer_waits) {
            // It got this inode by name already: its writes would go to a file without a name.
            Why::Busy("another program is about to write it")
        } else {
            return Ok(());
        };
        self.give_back(target);
        Err(why)
    }

    /// Undoes an exchange. What came out must be what was put there; while it is not, somebody
    /// put something newer there in between, and that goes back in turn.
    fn give_back(&mut self, target: &Path) {
        let identity = |path: &Path| Stamp::of_link(path).map(|s| (s.dev, s.ino)).ok();
        let mut put = Stamp::of(&self.file).map(|s| (s.dev, s.ino)).ok();
        for _ in 0..64 {
            let held = identity(&self.path);
            match self.exchange(target) {
                Ok(()) => {}
                Err(Errno::NOENT) => {
                    // Unlinked meanwhile, by a linker about to create it. Where it was quicker,
                    // its file is newer than what we hold.
                    let flags = RenameFlags::NOREPLACE;
                    let put = rustix::fs::renameat_with(CWD, &self.path, CWD, target, flags);
                    self.armed = matches!(put, Err(Errno::EXIST));
                    return;
                }
                Err(_) => break,
            }
            if identity(&self.path) == put {
                return;
            }
            put = held;
        }
        // What we hold may be the newest there is: better a stray file than a lost one.
        self.armed = false;
    }

    /// Gives it the name `target`, whatever has it now.
    pub fn replace(mut self, target: &Path) -> Result<(), Why> {
        rustix::fs::rename(&self.path, target).map_err(|e| Why::io("rename the new file", e))?;
        self.armed = false;
        Ok(())
    }

    fn exchange(&self, target: &Path) -> Result<(), Errno> {
        rustix::fs::renameat_with(CWD, &self.path, CWD, target, RenameFlags::EXCHANGE)
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        if self.armed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The right to exchange files in a directory, among programs that ask for it.
struct Lock(File);

impl Lock {
    /// `None` where directories cannot be locked.
    fn take(dir: &Path) -> Result<Option<Lock>, Why> {
        let Ok(dir) = File::open(dir) else { return Ok(None) };
        let mut pauses = RETRIES.iter();
        loop {
            match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock(dir))),
                Err(Errno::AGAIN) => match pauses.next() {
                    Some(&pause) => thread::sleep(pause),
                    None => return Err(Why::Busy("another install is under way beside it")),
                },
                Err(Errno::INTR) => {}
                Err(_) => return Ok(None),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child forked a moment ago shares the description.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// Writes `bytes` into a device or pipe, as a shell redirection does.
pub(super) fn write_through(path: &Path, bytes: &[u8]) -> Result<(), Why> {
    let mut file =
        OpenOptions::new().write(true).open(path).map_err(|e| Why::io("open the target", e))?;
    file.write_all(bytes).map_err(|e| Why::io("write the target", e))
}

/// Copies the first `size` bytes, sharing blocks where the file system can.
fn copy(from: &File, to: &File, size: u64) -> std::io::Result<()> {
    let mut done = 0;
    while done < size {
        let (mut at, mut out) = (done, done);
        let chunk = (size - done).min(1 << 30) as usize;
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut out), chunk) {
            Ok(0) => break,
            Ok(n) => done += n as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    let mut buffer = vec![0; size.saturating_sub(done).min(1 << 20) as usize];
    while done < size {
        let chunk = (size - done).min(buffer.len() as u64) as usize;
        from.read_exact_at(&mut buffer[..chunk], done)?;
        to.write_all_at(&buffer[..chunk], done)?;
        done += chunk as u64;
    }
    Ok(())
}

/// Makes the extended attributes of `to`, ACLs included, those of `from`.
///
/// Labels (`security.*`, `trusted.*`) are the system's: a new file has its own, and where the
/// old value may not be set, that one stays. `security.ima` and `security.evm` speak of the old
/// content and are left out.
fn copy_attributes(from: &File, to: &File) -> Result<(), Errno> {
    let names = attribute_names(from)?;
    for name in attribute_names(to)? {
        if !names.contains(&name) && !name.as_bytes().starts_with(b"security.") {
            rustix::fs::fremovexattr(to, &name)?;
        }
    }
    for name in names {
        if [&b"security.ima"[..], b"security.evm"].contains(&name.as_bytes()) {
            continue;
        }
        let size = rustix::fs::fgetxattr_query(from, &name)?;
        let mut value = vec![0u8; size];
        let size = rustix::fs::fgetxattr(from, &name, value.as_mut_slice())?;
        value.truncate(size);
        let system =
            [&b"security."[..], b"trusted."].iter().any(|p| name.as_bytes().starts_with(p));
        match rustix::fs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            Err(_) if system => {}
            other => other?,
        }
    }
    Ok(())
}

fn attribute_names(file: &File) -> Result<Vec<CString>, Errno> {
    let mut list = match rustix::fs::flistxattr_query(file) {
        Ok(size) => vec![0u8; size],
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
        Err(e) => return Err(e),
    };
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let size = rustix::fs::flistxattr(file, list.as_mut_slice())?;
    list.truncate(size);
    let names = list.split(|&b| b == 0).filter(|n| !n.is_empty());
    Ok(names.filter_map(|n| CString::new(n).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::install::common::Scratch;

    fn sibling(target: &Path) -> Sibling {
        let new = Sibling::create(target, 0o600).unwrap();
        new.file.write_all_at(b"ours", 0).unwrap();
        new
    }

    #[test]
    fn a_newer_file_stays() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"old");
        let expected = Stamp::of_path(&target).unwrap();
        let new = sibling(&target);
        std::fs::rename(dir.file("newer", b"new"), &target).unwrap();
        assert!(matches!(new.publish(&target, &expected, None), Err(Why::Superseded(_))));
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(dir.names(), ["a.ko"]);
    }

    #[test]
    fn one_exchange_at_a_time() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"old");
        let expected = Stamp::of_path(&target).unwrap();
        let lock = Lock::take(&dir.0).unwrap().unwrap();
        let refused = sibling(&target).publish(&target, &expected, None);
        assert!(matches!(refused, Err(Why::Busy(_))));
        drop(lock);
        sibling(&target).publish(&target, &expected, None).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"ours");
        assert_eq!(dir.names(), ["a.ko"]);
    }

    #[test]
    fn what_came_out_goes_back() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"newer");
        let ino = Stamp::of_path(&target).unwrap().ino;
        let mut new = sibling(&target);
        new.exchange(&target).unwrap();
        new.give_back(&target);
        drop(new);
        assert_eq!(Stamp::of_path(&target).unwrap().ino, ino);
        assert_eq!(dir.names(), ["a.ko"]);
    }

    #[test]
    fn a_deleted_file_stays_deleted() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"old");
        let expected = Stamp::of_path(&target).unwrap();
        let new = sibling(&target);
        std::fs::remove_file(&target).unwrap();
        assert!(matches!(new.publish(&target, &expected, None), Err(Why::Superseded(_))));
        assert!(dir.names().is_empty());
    }

    #[test]
    fn giving_back_puts_the_newest_of_all_in_place() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"first newer");
        let mut new = sibling(&target);
        new.exchange(&target).unwrap();
        // A second link, before the first is back.
        std::fs::remove_file(&target).unwrap();
        std::fs::write(&target, b"second newer").unwrap();
        new.give_back(&target);
        assert_eq!(std::fs::read(&target).unwrap(), b"second newer");
        drop(new);
        assert_eq!(dir.names(), ["a.ko"]);
    }

    #[test]
    fn giving_back_where_the_name_is_free() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"newer");
        let mut new = sibling(&target);
        new.exchange(&target).unwrap();
        std::fs::remove_file(&target).unwrap();
        new.give_back(&target);
        drop(new);
        assert_eq!(std::fs::read(&target).unwrap(), b"newer");
        assert_eq!(dir.names(), ["a.ko"]);
    }

    #[test]
    fn a_writer_that_waits_for_the_old_file_is_let_through() {
        let dir = Scratch::new();
        let target = dir.file("a.ko", b"old");
        let file = OpenOptions::new().read(true).write(true).open(&target).unwrap();
        let super::super::lease::Answer::Held(lease) = Lease::take(&file) else {
            eprintln!("no leases here, not tested");
            return;
        };
        let expected = Stamp::of(&file).unwrap();
        let new = sibling(&target);
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let open = |flags| rustix::fs::open(&target, flags, Mode::empty());
        assert!(!lease.writer_waits());
        let reader = open(rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK);
        assert_eq!(reader.unwrap_err(), Errno::AGAIN);
        assert!(!lease.writer_waits(), "a reader is no writer");
        assert_eq!(open(flags).unwrap_err(), Errno::AGAIN);
        assert!(lease.writer_waits());
        assert!(matches!(new.publish(&target, &expected, Some(&lease)), Err(Why::Busy(_))));
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
        assert_eq!(Stamp::of_link(&target).unwrap().ino, expected.ino);
    }
}
