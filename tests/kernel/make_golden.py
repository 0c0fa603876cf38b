"""Makes a file of reference digests from an archive of reference results.

    python -m tests.kernel.make_golden ARCHIVE VMLINUX OUTPUT.json

ARCHIVE is a tar file, or a directory, with base.sha256 (of VMLINUX's .BTF section) and
kernel/**/NAME.ko.btf, raw split BTF as the reference encoder wrote it.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

from tests.kernel.golden import Golden, Result, base_digest
from tests.support.btf import load
from tests.support.run import KBUILD_FEATURES

ENCODER = "pahole 1.31, libbpf master"


def digest(archive: Path, vmlinux: Path) -> Golden:
    """The digests of every result below a directory."""
    named = (archive / "base.sha256").read_text().split()[0]
    found = base_digest(vmlinux)
    if named != found:
        raise SystemExit(f"make_golden: made over base {named}, {vmlinux} has {found}")
    base = load(vmlinux)
    modules = {
        str(path.relative_to(archive)).removesuffix(".btf"): Result.of(load(path, base))
        for path in sorted(archive.rglob("*.ko.btf"))
    }
    return Golden(ENCODER, KBUILD_FEATURES, "rust", found, modules)


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    archive, vmlinux, output = map(Path, sys.argv[1:])
    if archive.is_dir():
        golden = digest(archive, vmlinux)
    else:
        with tempfile.TemporaryDirectory() as name, tarfile.open(archive) as tar:
            tar.extractall(name, filter="data")
            golden = digest(Path(name), vmlinux)
    golden.save(output)
    print(f"{output}: {len(golden.modules)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
