"""What pip builds from Rust: the extension, and the drop-in for kbuild.

The drop-in is started thousands of times a build, so it is linked statically where the toolchain
has a static C library: a start without the dynamic linker and its relocations takes two thirds of
the time. Elsewhere it is linked like any program, and does the same.
"""

import os
import subprocess

from setuptools import setup
from setuptools_rust import Binding, RustBin, RustExtension, Strip

MANIFEST = "core/Cargo.toml"


def said(*command: str) -> str:
    """What a tool prints; nothing where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def static_target() -> str | None:
    """The host's target, if programs for it can be linked statically against glibc."""
    library = said(os.environ.get("CC", "cc"), "-print-file-name=libc.a").strip()
    if not os.path.isabs(library) or not os.path.exists(library):
        return None
    facts = dict(line.split(": ", 1) for line in said("rustc", "-vV").splitlines() if ": " in line)
    host = facts.get("host", "")
    return host if host.endswith("-linux-gnu") else None


def drop_in() -> RustBin:
    """btfd-pahole: the same crate without Python."""
    args = ["--bin", "btfd-pahole"]
    target = static_target()
    if target is None or "CARGO_BUILD_TARGET" in os.environ:
        return RustBin("btfd-pahole", MANIFEST, args=args, debug=False, strip=Strip.Debug)
    # With a target of its own, the flag spares build scripts and procedural macros.
    flags = f"CARGO_TARGET_{target.upper().replace('-', '_')}_RUSTFLAGS"
    env = {**os.environ, flags: f"{os.environ.get(flags, '')} -C target-feature=+crt-static"}
    args += ["--target", target]
    return RustBin("btfd-pahole", MANIFEST, args=args, debug=False, strip=Strip.Debug, env=env)


extension = RustExtension(
    "btfd._core",
    MANIFEST,
    binding=Binding.PyO3,
    features=["python"],
    py_limited_api="auto",
    debug=False,
)

setup(rust_extensions=[extension, drop_in()])
