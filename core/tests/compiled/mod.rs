//! What compilers make of the sources of `tests/toolchain`, and small modules of a kernel tree.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::common::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Compiles or assembles one of the sources; whether there is such a compiler.
pub fn build(compiler: &str, flags: &[&str], name: &str, out: &Path) -> bool {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/toolchain/src");
    let mut command = Command::new(compiler);
    command.stderr(Stdio::null());
    command.args(["-O2", "-g", "-ffreestanding", "-nostdinc", "-w", "-fno-pic", "-I"]);
    command.arg(&sources).args(flags);
    if name.ends_with(".s") {
        command.arg(format!("-Wa,-I,{}", sources.display()));
    }
    let done = command.args(["-c", "-o"]).arg(out).arg(sources.join(name)).status();
    done.is_ok_and(|status| status.success())
}

/// Files by name: of every compiler that there is, and with `BTFD_TEST_TREE` naming a kernel tree
/// the smallest of its modules without what no reader of types looks at.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let scratch = Scratch::new();
    let out = scratch.file("out.o", b"");
    let mut all = Vec::new();
    for compiler in ["gcc", "clang", "s390x-linux-gnu-gcc", "arm-linux-gnueabihf-gcc"] {
        for flag in ["-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5", "-gdwarf64", "-gz"] {
            for name in ["types.c", "functions.c", "data.c", "atomics.c", "tags.c", "complexes.c"] {
                if build(compiler, &[flag], name, &out) {
                    let file = std::fs::read(&out).unwrap();
                    all.push((format!("{compiler}{flag}-{name}"), file));
                }
            }
        }
    }
    if let Some(root) = std::env::var_os("BTFD_TEST_TREE").map(PathBuf::from) {
        let order = std::fs::read_to_string(root.join("modules.order")).unwrap();
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(u64::MAX, |m| m.len());
        let mut modules: Vec<PathBuf> = order.lines().map(|line| root.join(line)).collect();
        modules.sort_by_key(size);
        for module in modules.iter().take(12) {
            let flags = ["-R", ".debug_line", "-R", ".debug_aranges", "-R", ".debug_rnglists"];
            let done = Command::new("objcopy").args(flags).arg(module).arg(&out).status();
            if done.is_ok_and(|status| status.success()) {
                let name = module.file_name().unwrap().to_string_lossy().into_owned();
                all.push((name, std::fs::read(&out).unwrap()));
            }
        }
    }
    all
}
