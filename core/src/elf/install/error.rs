//! Why a file was left as it was.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why nothing was installed. `Display` is one line: the file, then the cause.
#[derive(Debug, Error)]
#[error("{}: {why}", shown(path))]
pub struct InstallError {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub why: Why,
}

/// The cause of an [`InstallError`].
#[derive(Debug, Error)]
pub enum Why {
    /// Not a file that can hold sections or raw BTF.
    #[error("is {0}, expected a regular file")]
    NotRegular(&'static str),
    /// Not an ELF file that this crate edits; the offset is where the wrong bytes are.
    #[error("{}{what}", .offset.map(|o| format!("offset {o:#x}: ")).unwrap_or_default())]
    Elf {
        /// Where in the file.
        offset: Option<u64>,
        /// What is there, and what was expected.
        what: String,
    },
    /// A section that is part of the running image cannot move.
    #[error(
        "section {name} [{index}] is loaded (SHF_ALLOC, in a segment), expected one outside the image"
    )]
    Loaded {
        /// Its name.
        name: String,
        /// Its index.
        index: usize,
    },
    /// `sign-file` was here: any change makes the signature wrong.
    #[error("offset {offset:#x}: module signature appended, expected an unsigned module")]
    Signed {
        /// Where the marker starts.
        offset: u64,
    },
    /// The path no longer names the bytes that were read.
    #[error("superseded: {0}")]
    Superseded(&'static str),
    /// Somebody else has the file open.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// The operating system says no.
    #[error("cannot {doing}: {source}")]
    Denied {
        /// The step.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// Disk full, quota or file size limit.
    #[error("no room to {doing}: {source}")]
    NoSpace {
        /// The step.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else that a system call answered.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The step.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl InstallError {
    /// The path names other bytes than those that were read: read again, then encode again.
    pub fn is_superseded(&self) -> bool {
        matches!(self.why, Why::Superseded(_))
    }

    /// Somebody has the file open: the same call may succeed later.
    pub fn is_busy(&self) -> bool {
        matches!(self.why, Why::Busy(_))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.why {
            Why::Signed { .. } => Some("encode first, sign after: kbuild signs at modules_install"),
            Why::Superseded(_) => Some("a newer file is there: encode that one"),
            Why::Busy(_) => Some("try again when the other program is done"),
            Why::Loaded { .. } => {
                Some("vmlinux gets its loaded .BTF from the link; only a relink can change it")
            }
            Why::Denied { .. } => {
                Some("run as the owner of the file, with file and directory writable")
            }
            Why::NoSpace { .. } => Some("free some space, or raise the limit, and encode again"),
            Why::NotRegular(_) | Why::Elf { .. } | Why::Io { .. } => None,
        }
    }
}

impl Why {
    pub(super) fn at(self, path: &Path) -> InstallError {
        InstallError { path: path.into(), why: self }
    }

    /// A malformed ELF file, at an offset.
    pub(super) fn elf<T>(offset: u64, what: impl Into<String>) -> Result<T, Why> {
        Err(Why::Elf { offset: Some(offset), what: what.into() })
    }

    /// Sorts what a system call answered.
    pub(super) fn io(doing: &'static str, error: impl Into<io::Error>) -> Why {
        let source = error.into();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Why::Denied { doing, source },
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Why::NoSpace { doing, source },
            Some(Errno::TXTBSY) => Why::Busy("it is being executed or loaded"),
            Some(Errno::AGAIN) => Why::Busy("another program holds a lease on it"),
            Some(Errno::ISDIR) => Why::NotRegular("a directory"),
            _ => Why::Io { doing, source },
        }
    }
}

/// A path as text on one line, whatever bytes it has.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace(char::is_control, "\u{fffd}")
}
