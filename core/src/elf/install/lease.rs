//! A write lease: for as long as it is held, nobody else has the file open.
//!
//! The kernel grants `F_WRLCK` only while no other open description of the inode exists, mappings
//! included, and then makes every `open` and `truncate` by others wait until it is given back. It
//! costs two system calls. It needs the file's owner or `CAP_LEASE`, and a local file system.

use std::fs::File;
use std::os::fd::AsRawFd;

use libc::c_int;
use rustix::io::Errno;

/// The generic number, right everywhere but on PA-RISC; libc has it for few targets.
const F_SETSIG: c_int = 10;

/// A lease on an open file, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease<'f> {
    file: &'f File,
}

/// What the kernel answered.
#[derive(Debug)]
pub(super) enum Answer<'f> {
    /// Nobody else has the file open, and nobody will.
    Held(Lease<'f>),
    /// Somebody has it open.
    Busy,
    /// No leases for this user or on this file system.
    Unavailable,
}

impl<'f> Lease<'f> {
    /// Asks for a lease once, without waiting.
    pub fn take(file: &'f File) -> Answer<'f> {
        // Who waits for the lease makes the kernel signal the holder. The usual SIGIO ends a
        // process that has no handler; SIGURG is ignored unless somebody asked for it.
        if fcntl(file, F_SETSIG, libc::SIGURG).is_err() {
            return Answer::Unavailable;
        }
        match fcntl(file, libc::F_SETLEASE, libc::F_WRLCK as c_int) {
            Ok(_) => Answer::Held(Lease { file }),
            Err(Errno::AGAIN) => Answer::Busy,
            Err(_) => Answer::Unavailable,
        }
    }

    /// Whether somebody waits to open the file for writing. Readers do not count.
    pub fn writer_waits(&self) -> bool {
        fcntl(self.file, libc::F_GETLEASE, 0) == Ok(libc::F_UNLCK as c_int)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Closing would do it too, but not while a child forked a moment ago still shares the
        // description. The only possible failure is that the kernel took the lease away.
        let _ = fcntl(self.file, libc::F_SETLEASE, libc::F_UNLCK as c_int);
    }
}

fn fcntl(file: &File, command: c_int, argument: c_int) -> Result<c_int, Errno> {
    // SAFETY: the descriptor is open for the whole call, and the three commands that this file
    // uses take an integer and touch no memory of ours.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        answer => Ok(answer),
    }
}
