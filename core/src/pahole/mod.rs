//! The drop-in for `make PAHOLE=`: what kbuild asks of pahole, on every kernel since 5.11.
//!
//! ```text
//! argv -> arguments -> client (the daemon's bytes) --+-> into the file, or beside it
//!             |    \-> encode (the same, here) ------+
//!             +-> real (what only pahole does)
//! ```
//!
//! # Contract
//!
//! Flags, answers and exit statuses are those of pahole 1.31; what pahole leaves unsaid (no DWARF,
//! a type that BTF cannot express) gets a line on stderr. Nothing is written to stdout but answers.
//! A build never fails because of the daemon: without it, or in any doubt, the same bytes are
//! made here. What this crate refuses goes to pahole itself, if there is one.
//!
//! *In place* (up to Linux 6.19): `.BTF` and `.BTF.base` are replaced, the file is newer than vmlinux
//! afterwards even where nothing changed, and `.BTF_ids` is as the linker left it, for the
//! resolve_btfids that follows. *Detached* (since 7.0): one file, complete or not there at all; the ELF
//! file is only read.
//!
//! Cost: `--version` is one write. An encode by the daemon adds a look at the section table, one
//! round trip, and the install.

mod arguments;
mod client;
mod options;
mod real;
mod run;

pub use arguments::{Job, Order, parse};
pub use client::{Answer, No, PLACE, ask};

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// What pahole's parser of arguments exits with.
const USAGE: u8 = 64;

/// Does what a command line asks for; `args` without the name of the program.
pub fn run(args: &[OsString]) -> ExitCode {
    // Somebody who waits for a file that we are writing must not end us.
    // SAFETY: the first call of the process; no handler is replaced that anybody has installed.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    match parse(args, std::env::var_os("PAHOLE_LANG_EXCLUDE")) {
        Order::Answer(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Order::Reject(lines) => {
            let _ = std::io::stderr().write_all(format!("{lines}\n").as_bytes());
            ExitCode::FAILURE
        }
        Order::Encode(job) => run::run(&job, args),
        Order::HandOn => hand_on(args),
    }
}

fn hand_on(args: &[OsString]) -> ExitCode {
    if let Some(program) = real::find() {
        let error = real::become_it(&program, args);
        run::tell(format_args!("{}: {error}", program.display()), None);
        return ExitCode::FAILURE;
    }
    if args.iter().any(|arg| arg == "--help" || arg == "-?") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let hint = "install pahole, or name it in BTFD_REAL_PAHOLE: it gets all else";
    run::tell("this command line is not about encoding one file into BTF", Some(hint));
    ExitCode::from(USAGE)
}

const HELP: &str = "\
Usage: btfd-pahole -J [--btf_base=VMLINUX] [OPTIONS] FILE

Encodes the DWARF of FILE as BTF, in place or into a raw file. A drop-in for kbuild:
make PAHOLE=btfd-pahole. Other command lines go to pahole itself, if it is installed.

  -J, --btf_encode             into FILE
      --btf_encode_detached=RAW   into the file RAW
      --btf_base=VMLINUX       split BTF over the BTF of this file
      --btf_features=LIST, --btf_features_strict=LIST, --supported_btf_features
      --lang_exclude=LIST      leave these languages out
  -j, --jobs[=N]               threads
      --version                v1.31, the pahole whose place it takes

Environment: BTFD_SOCKET, where the daemon is (or none); BTFD_REAL_PAHOLE; BTFD_VERBOSE.";
