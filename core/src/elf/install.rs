//! Puts sections into an ELF file that others use at the same time: the only code that writes
//! into a `.ko`.
//!
//! # Contract
//!
//! Every reader, at every moment, sees the old file or the new one; a kill between any two system
//! calls leaves one of them. A file that somebody else put under the name is never touched or
//! buried. All edits become visible in one step. No index of any section changes. Mode, owner and
//! extended attributes stay; the file gets a new mtime, or kbuild would think it stale. Where the
//! file says already what was asked for, nothing is written at all.
//!
//! There is no `fsync`: like everything in a build tree, the result is as durable as the file
//! system makes it. After a power failure a file may be broken as one by `ld` may be.
//!
//! # Two ways
//!
//! *In place.* With a write lease held, nobody else has the file open and whoever wants to waits.
//! Contents, names and section header table go where the file uses nothing (usually behind its
//! end), then one write of the ELF header's last 12 to 24 bytes points to the new table. A tail that
//! the flip made dead is cut off; one in the middle is room for the next install. About 20 system
//! calls whatever the size of the file. Where somebody has the file open, the answer is `Busy`
//! after five tries in less than a millisecond.
//!
//! *Copy.* A sibling file, filled, then exchanged with the target (`sibling`). Taken where the
//! file has other hard links, whose bytes must stay; where there are no leases (another user's
//! file, a network file system, `fs.leases-enable=0`); and where in place would leave more than
//! 64 KiB and an eighth of the file dead. A link made between the last check and the exchange is
//! out of sight until it is given back: two system calls, or as long as the scheduler takes to
//! come to the second; a kill right there leaves it under the temporary name. And without a lease,
//! a program that opened the old file for writing before the exchange and writes after it writes
//! into a file without a name.
//!
//! # Limits
//!
//! Bytes that no header describes count as unused. A stamp is as fine as the kernel's clock: a
//! file rewritten in place to the same size within one tick (4 ms before Linux 6.13) looks the
//! same. The caller itself must have no descriptor or mapping of the file open. On overlayfs, the
//! first open for writing of a file from a lower layer makes a new one: `Superseded`, once.

#[cfg(test)]
#[path = "../../tests/common/mod.rs"]
mod common;
mod error;
mod lease;
mod plan;
mod sibling;
mod view;

pub use error::{InstallError, Why};
pub use sibling::TEMP_PREFIX;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_OMIT};

use lease::{Answer, Lease};
use plan::{Change, Plan};
use sibling::Sibling;
use view::View;

/// Pauses before another try at a file that is open elsewhere: enough for somebody who reads its
/// headers, or for another install; who copies it is worth coming back for later.
const RETRIES: [Duration; 4] = [
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(150),
    Duration::from_micros(400),
];

/// Dead bytes that are never worth a copy.
const DEAD: u64 = 64 << 10;

/// What `stat` says of a file's identity: any write or replacement changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of content or metadata, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Stamp> {
        file.metadata().map(|m| Stamp::from(&m))
    }

    /// Of what a path names, symbolic links followed.
    pub fn of_path(path: &Path) -> io::Result<Stamp> {
        fs::metadata(path).map(|m| Stamp::from(&m))
    }

    fn of_link(path: &Path) -> io::Result<Stamp> {
        fs::symlink_metadata(path).map(|m| Stamp::from(&m))
    }
}

impl From<&Metadata> for Stamp {
    fn from(m: &Metadata) -> Stamp {
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Stamp {
            dev: m.dev(),
            ino: m.ino(),
            size: m.size(),
            mtime_ns: ns(m.mtime(), m.mtime_nsec()),
            ctime_ns: ns(m.ctime(), m.ctime_nsec()),
        }
    }
}

/// What an install did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file has the sections now.
    Written,
    /// It had them already; nothing was written.
    Unchanged,
}

/// What an install did, and what the file is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What was done.
    pub outcome: Outcome,
    /// The stamp of the very file that was written, whatever the path names by now.
    pub stamp: Stamp,
}

/// One wish. All wishes of a call come true in one step.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// Exactly one section of this name with these bytes: PROGBITS, flags 0, address 0, alignment
    /// 1. The first of that name is re-pointed, others become SHT_NULL; else one is appended.
    Put {
        /// Section name.
        name: &'a str,
        /// Its content.
        data: &'a [u8],
    },
    /// New bytes for a section that must be there exactly once; type, flags and alignment stay.
    Replace {
        /// Section name.
        name: &'a str,
        /// Its content.
        data: &'a [u8],
    },
    /// No section of this name: each becomes SHT_NULL and keeps its index.
    Remove {
        /// Section name.
        name: &'a str,
    },
}

impl<'a> Edit<'a> {
    fn name(&self) -> &'a str {
        match *self {
            Edit::Put { name, .. } | Edit::Replace { name, .. } | Edit::Remove { name } => name,
        }
    }
}

/// Which way to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// In place where that is safe, else by copy.
    #[default]
    Auto,
    /// Always by copy, and without a lease.
    Copy,
}

/// Makes `btf` the only `.BTF` of the file that has the stamp `expected`, and leaves no
/// `.BTF.base`.
pub fn install(path: &Path, btf: &[u8], expected: &Stamp) -> Result<Outcome, InstallError> {
    let edits = [Edit::Put { name: ".BTF", data: btf }, Edit::Remove { name: ".BTF.base" }];
    install_sections(path, &edits, expected, Way::Auto).map(|done| done.outcome)
}

/// Applies `edits` to the file that has the stamp `expected`.
pub fn install_sections(
    path: &Path,
    edits: &[Edit],
    expected: &Stamp,
    way: Way,
) -> Result<Installed, InstallError> {
    let mut pauses = RETRIES.iter();
    loop {
        match attempt(path, edits, expected, way) {
            Err(Why::Busy(why)) => match pauses.next() {
                Some(&pause) => thread::sleep(pause),
                None => return Err(Why::Busy(why).at(path)),
            },
            done => return done.map_err(|why| why.at(path)),
        }
    }
}

/// Writes a raw BTF file with the mode that the umask leaves of 0666: the old one or the new one,
/// never half. A symbolic link is followed; a device or pipe is written into.
pub fn write_detached(path: &Path, btf: &[u8]) -> Result<(), InstallError> {
    let write = || -> Result<(), Why> {
        let target = match fs::metadata(path) {
            Ok(m) if m.is_dir() => return Err(Why::NotRegular("a directory")),
            Ok(m) if m.is_file() => {
                fs::canonicalize(path).map_err(|e| Why::io("resolve the path", e))?
            }
            Ok(_) => return sibling::write_through(path, btf),
            Err(_) => path.to_path_buf(),
        };
        let new = Sibling::create(&target, 0o666)?;
        new.file.write_all_at(btf, 0).map_err(|e| Why::io("write the new file", e))?;
        new.replace(&target)
    };
    write().map_err(|why| why.at(path))
}

fn attempt(path: &Path, edits: &[Edit], expected: &Stamp, way: Way) -> Result<Installed, Why> {
    // Read-only first: closing a descriptor that could write is an event to every watcher. And
    // closed before the second: the lease counts our own descriptors too.
    let (file, real) = open(path, false)?;
    if look(&file, edits, expected).map_err(|why| judge(&file, expected, why))? {
        return Ok(Installed { outcome: Outcome::Unchanged, stamp: *expected });
    }
    drop(file);

    let (file, real) = open(&real, true)?;
    let lease = match way {
        Way::Copy => None,
        Way::Auto => match Lease::take(&file) {
            Answer::Held(lease) => Some(lease),
            Answer::Busy => return Err(Why::Busy("another program has it open")),
            Answer::Unavailable => None,
        },
    };
    let target = Target { path, real: &real, expected };
    let meta = check(&file, expected)?;
    target.check_name()?;
    // Once more, since a stamp is coarse and this is what the edits are applied to.
    let view = View::read(&file, expected.size).map_err(|why| judge(&file, expected, why))?;
    let change = Change::new(&view, edits)?;
    let copied = change.in_copy(&view)?;
    match lease {
        Some(lease) if meta.nlink() == 1 => {
            let plan = change.in_place(&view)?;
            if plan.end.saturating_sub(copied.end) > DEAD.max(copied.end / 8) {
                target.copy(&file, &view, &copied, Some(lease))
            } else {
                target.in_place(&file, &view, &plan, lease)
            }
        }
        lease => target.copy(&file, &view, &copied, lease),
    }
}

/// What an attempt writes to.
struct Target<'a> {
    /// As the caller named it.
    path: &'a Path,
    /// With a final symbolic link resolved.
    real: &'a Path,
    expected: &'a Stamp,
}

impl Target<'_> {
    /// Appends the plan's blob, then flips the header to it.
    fn in_place(
        &self,
        file: &File,
        view: &View,
        plan: &Plan,
        lease: Lease,
    ) -> Result<Installed, Why> {
        if let Err(e) = file.write_all_at(&plan.blob(view), plan.at) {
            self.undo(file);
            return Err(Why::io("write the sections", e));
        }
        // A link made since the check would get the new bytes under a name that is not ours.
        if !file.metadata().is_ok_and(|m| m.nlink() == 1) {
            self.undo(file);
            return Err(Why::Busy("it is being linked or removed"));
        }
        if let Err(e) = file.write_all_at(&plan.flip, plan.flip_at) {
            // Copy-on-write file systems may have no room even for bytes that exist.
            let old = view.header.get(plan.flip_at as usize..).unwrap_or_default();
            let now = view::read_at(file, plan.flip_at, old.len() as u64);
            if now.is_ok_and(|now| now == old) {
                self.undo(file);
            }
            return Err(Why::io("write the ELF header", e));
        }
        let tail = Stamp::of(file).map(|now| now.size > plan.end);
        if tail.is_ok_and(|dead| dead) {
            // What stays where this fails is only dead.
            let _ = file.set_len(plan.end);
        }
        let stamp = Stamp::of(file).map_err(|e| Why::io("stat the file", e))?;
        drop(lease);
        self.check_name()?;
        Ok(Installed { outcome: Outcome::Written, stamp })
    }

    /// Takes an unfinished blob away; the header never pointed to it.
    fn undo(&self, file: &File) {
        let _ = file.set_len(self.expected.size);
        let ns = self.expected.mtime_ns;
        let mtime = Timespec {
            tv_sec: ns.div_euclid(1_000_000_000),
            tv_nsec: ns.rem_euclid(1_000_000_000) as _,
        };
        let atime = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
        let times = Timestamps { last_access: atime, last_modification: mtime };
        let _ = rustix::fs::futimens(file, &times);
    }

    /// Makes the edited file beside the old one and lets them change places.
    fn copy(
        &self,
        file: &File,
        view: &View,
        plan: &Plan,
        lease: Option<Lease>,
    ) -> Result<Installed, Why> {
        let mut new = Sibling::create(self.real, 0o600)?;
        new.fill(file, view, plan).map_err(|why| judge(file, self.expected, why))?;
        let copy = new.file.try_clone().map_err(|e| Why::io("stat the file", e))?;
        check(file, self.expected)?;
        self.check_name()?;
        new.publish(self.real, self.expected, lease.as_ref())?;
        drop(lease);
        let stamp = Stamp::of(&copy).map_err(|e| Why::io("stat the file", e))?;
        Ok(Installed { outcome: Outcome::Written, stamp })
    }

    /// Whether the path still names the file that was opened.
    fn check_name(&self) -> Result<(), Why> {
        match Stamp::of_path(self.path) {
            Ok(now) if (now.dev, now.ino) == (self.expected.dev, self.expected.ino) => Ok(()),
            Ok(_) => Err(Why::Superseded("another file has its name")),
            Err(_) => Err(Why::Superseded("the file is gone")),
        }
    }
}

/// Opens a file, and says where it is if `path` is a symbolic link to it.
fn open(path: &Path, write: bool) -> Result<(File, PathBuf), Why> {
    // Not blocking: neither on a pipe, nor for as long as somebody else cares to hold a lease.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let open =
        |path: &Path| OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
    let (result, real) = match open(path) {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            let real = fs::canonicalize(path).map_err(|e| Why::io("resolve the path", e))?;
            (open(&real), real)
        }
        result => (result, path.to_path_buf()),
    };
    let doing = if write { "open the file for writing" } else { "open the file" };
    match result {
        Ok(file) => Ok((file, real)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Why::Superseded("the file is gone")),
        Err(e) => Err(Why::io(doing, e)),
    }
}

/// Whether an open file is a regular one and has the stamp `expected`.
fn check(file: &File, expected: &Stamp) -> Result<Metadata, Why> {
    let meta = file.metadata().map_err(|e| Why::io("stat the file", e))?;
    let kind = meta.file_type();
    if kind.is_dir() {
        Err(Why::NotRegular("a directory"))
    } else if !kind.is_file() {
        Err(Why::NotRegular("a device or pipe"))
    } else if Stamp::from(&meta) != *expected {
        Err(Why::Superseded("it is not the file that was read"))
    } else {
        Ok(meta)
    }
}

/// What goes wrong while somebody writes the file is not the file's fault.
fn judge(file: &File, expected: &Stamp, why: Why) -> Why {
    check(file, expected).err().unwrap_or(why)
}

/// Whether there is nothing to do; refuses what cannot be done.
fn look(file: &File, edits: &[Edit], expected: &Stamp) -> Result<bool, Why> {
    check(file, expected)?;
    let view = View::read(file, expected.size)?;
    if let Some(contents) = plan::settled(&view, edits)
        && same_bytes(file, &contents)?
    {
        return Ok(true);
    }
    Change::new(&view, edits).map(|_| false)
}

fn same_bytes(file: &File, contents: &[(u64, &[u8])]) -> Result<bool, Why> {
    for &(at, data) in contents {
        if view::read_at(file, at, data.len() as u64)? != data {
            return Ok(false);
        }
    }
    Ok(true)
}
