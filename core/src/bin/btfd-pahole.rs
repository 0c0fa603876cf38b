//! `make PAHOLE=btfd-pahole`: pahole's encoder for kbuild, with a warm base where the daemon runs.
//!
//! Everything is in [`btfd_core::pahole`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    btfd_core::pahole::run(&args)
}
