"""Instructions of the warm path and of the base load, as callgrind counts them.

    python -m bench.instructions [TREE] [--record]

The same on every machine. Counts are of the release build: the base load alone, what a large module
adds to it with the identities of the base, and what a small one adds to both, as in a daemon that
is warm. They are compared with `bench/instructions.json`, which was recorded for
one kernel and one compiler; more than `ALLOWED` above them is a failure. With another kernel or
compiler nothing can be compared, which is said. Cost: a minute, most of it xfs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from bench.__main__ import find_tree
from bench.measure import CannotMeasure
from tests.kernel.tree import KernelTree

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_suffix(".json")
#: The first one pays for the identities.
MODULES = ("xfs", "af_key")
#: A rise that is taken for noise: hash seeds and the C library differ.
ALLOWED = 0.05


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise CannotMeasure(f"{command[0]} ended with {done.returncode}: {last}")
    return done.stdout + done.stderr


def build() -> Path:
    """The program that is counted."""
    manifest = ROOT / "core" / "Cargo.toml"
    _run(
        *("cargo", "build", "--release", "--locked", "--quiet"),
        *("--example", "encode", "--manifest-path", manifest),
    )
    told = json.loads(
        _run("cargo", "metadata", "--no-deps", "--format-version=1", "--manifest-path", manifest)
    )
    return Path(told["target_directory"]) / "release" / "examples" / "encode"


def count(program: Path, *words: Path) -> int:
    """Instructions of one run."""
    told = _run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *words)
    found = re.search(r"Collected : (\d+)", told)
    if found is None:
        raise CannotMeasure("callgrind tells no count")
    return int(found[1])


def measure(tree: KernelTree) -> dict[str, int]:
    """Name to instructions."""
    program = build()
    words: list[Path] = []
    found: dict[str, int] = {}
    before = 0
    for name in ("base", *MODULES):
        words.append(tree.vmlinux if name == "base" else tree.root / tree.find(name))
        after = count(program, *words)
        found[name], before = after - before, after
    return found


def circumstances(tree: KernelTree) -> dict[str, str]:
    """What has to be the same for counts to be comparable."""
    digest = hashlib.sha256()
    for name in MODULES:
        digest.update((tree.root / tree.find(name)).read_bytes())
    return {"modules": digest.hexdigest()[:16], "rustc": _run("rustc", "--version").strip()}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tree", nargs="?", metavar="TREE")
    parser.add_argument("--record", action="store_true", help="keep these as the landed ones")
    options = parser.parse_args()
    try:
        tree = find_tree(options.tree)
        here, counts = circumstances(tree), measure(tree)
    except (CannotMeasure, FileNotFoundError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    landed = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    same = {key: landed.get(key) for key in here} == here
    risen = False
    for name, now in counts.items():
        line = f"{name:8} {now / 1e6:10.2f} million instructions"
        if same:
            before = landed["counts"][name]
            risen |= now > before * (1 + ALLOWED)
            line += f"  {(now / before - 1) * 100:+6.1f} % of what landed"
        print(line)
    if options.record:
        RECORD.write_text(json.dumps({**here, "counts": counts}, indent=1) + "\n")
    elif not same:
        print("another kernel or compiler than the recorded one: nothing to compare with")
    elif risen:
        print(f"bench: a rise above {ALLOWED:.0%}", file=sys.stderr)
        print("hint: where it is wanted, run it with --record and say why", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
