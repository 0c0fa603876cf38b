//! The pahole that does what we do not: found, and become.
//!
//! It gets the same arguments, environment and working directory, and its exit status is ours, since
//! this process turns into it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the program; without it, the next `pahole` in `PATH` that is not this one.
const PLACE: &str = "BTFD_REAL_PAHOLE";
/// Set for what we become: if that is this program again, under whatever name, it must stop.
const HANDED_ON: &str = "BTFD_HANDED_ON";

/// The real pahole, if there is one.
pub(super) fn find() -> Option<PathBuf> {
    if std::env::var_os(HANDED_ON).is_some() {
        return None;
    }
    if let Some(named) = std::env::var_os(PLACE).filter(|named| !named.is_empty()) {
        return Some(named.into()).filter(|path: &PathBuf| is_other(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("pahole")).find(|path| is_other(path))
}

/// A program, and not this one.
fn is_other(path: &Path) -> bool {
    let Ok(there) = fs::metadata(path) else { return false };
    let ours = fs::metadata("/proc/self/exe").map(|us| (us.dev(), us.ino()));
    there.is_file()
        && there.permissions().mode() & 0o111 != 0
        && ours.is_ok_and(|ours| ours != (there.dev(), there.ino()))
}

/// Becomes `program`; returns only where that fails.
pub(super) fn become_it(program: &Path, args: &[OsString]) -> io::Error {
    // SAFETY: no handler of ours is installed, and no other thread runs that could care.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_DFL) };
    Command::new(program).arg0("pahole").args(args).env(HANDED_ON, "1").exec()
}
