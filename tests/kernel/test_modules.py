"""Every module of a real kernel against three independent judges.

Reference digests (pahole 1.31's encoder over libbpf master), Debian's own pahole 1.24, and bpftool
as a reader. The first holds for one exact kernel only; the others for whatever is newest.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernel import golden
from tests.kernel.conftest import Results
from tests.kernel.golden import Result
from tests.support import btf
from tests.support.elf import Elf
from tests.support.run import must, pahole_version

#: Of the modules with reference results, at least this many hold the same types.
SAME_AT_LEAST = 1121
#: How many modules, spread over all sizes, are compared with Debian's pahole.
SPREAD = 60
#: Debian's pahole 1.24 uses libbpf 1.1, which merges some recursive typedefs of these modules in
#: another way than libbpf does today. The reference digests cover them.
OTHER_LIBBPF = {"auth_rpcgss", "libnvdimm", "nfsd", "rpcrdma", "sctp", "sunrpc"}


def test_every_module_is_encoded(results: Results) -> None:
    modules = results.tree.modules()
    assert set(results.records) == set(modules)
    bad = {
        name: record.get("reason")
        for name, record in results.records.items()
        if record.get("status") != "encoded"
    }
    assert not bad
    assert [name for name in modules if not results.path(name).exists()] == []


def test_reference_results(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    base = golden.base_digest(results.tree.vmlinux)
    reference = golden.for_base(base)
    if reference is None:
        pytest.skip(f"no reference results over this kernel's base {base[:16]}")
    counts: Counter[str] = Counter()
    different = []
    for name, expected in reference.modules.items():
        if not results.path(name).exists():
            counts["missing"] += 1
            different.append(f"{name}: no result")
            continue
        found = Result.of(results.load(name))
        counts["byte-equal"] += found.bytes == expected.bytes
        if found.graph == expected.graph:
            counts["same"] += 1
        else:
            counts["different"] += 1
            different.append(f"{name}: {found.types} types, expected {expected.types}")
    with capsys.disabled():
        print(
            f"\n{len(reference.modules)} modules against {reference.encoder}: "
            f"{counts['same']} same ({counts['byte-equal']} byte-equal type sections), "
            f"{counts['different']} different, {counts['missing']} missing"
        )
        for line in different:
            print(f"  {line}")
    assert counts["same"] >= SAME_AT_LEAST


def _special(path: Path) -> bool:
    """Whether a module has something that few have: per-CPU data, .BTF_ids, assembler."""
    elf = Elf.read(path)
    if elf.find(".data..percpu") or elf.find(".BTF_ids"):
        return True
    return any(b"GNU AS " in (elf.contents(s) or b"") for s in (".debug_str", ".debug_line_str"))


def _chosen(results: Results) -> list[str]:
    root = results.tree.root
    by_size = sorted(results.tree.modules(), key=lambda name: (root / name).stat().st_size)
    spread = {by_size[i * (len(by_size) - 1) // (SPREAD - 1)] for i in range(SPREAD)}
    return [name for name in by_size if name in spread or _special(root / name)]


def test_like_debians_pahole(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run serially, for with -j that version is not deterministic. It chooses other functions."""
    version = pahole_version()
    if version != "v1.24":
        pytest.skip(f"needs Debian 12's pahole v1.24 in PATH, found {version}")
    different = []
    chosen = [name for name in _chosen(results) if Path(name).stem not in OTHER_LIBBPF]
    counts: Counter[str] = Counter()
    for name in chosen:
        copy = tmp_path / "copy.ko"
        must("objcopy", "--remove-section=.BTF", results.tree.root / name, copy)
        flags = ("-J", "--btf_gen_floats", "--lang_exclude=rust")
        must("pahole", *flags, "--btf_base", results.tree.vmlinux, copy)
        ours, theirs = results.load(name), btf.load(copy, results.base)
        if not (verdict := btf.compare(ours, theirs, functions=False)).same:
            different.append(f"{name}: {verdict.lines[:2]}")
        counts["types"] += len(ours)
        counts["with the same functions"] += btf.compare(ours, theirs).same
    with capsys.disabled():
        print(
            f"\n{len(chosen)} modules ({counts['types']} types) against Debian's pahole {version}: "
            f"{len(different)} differ in more than functions, "
            f"{counts['with the same functions']} are equal in functions too"
        )
    assert different == []


def test_bpftool_reads_every_result(results: Results) -> None:
    try:
        must("bpftool", "version")
    except FileNotFoundError:
        pytest.skip("no bpftool in PATH")

    def complaint(name: str) -> str | None:
        done = subprocess.run(
            ["bpftool", "btf", "dump", "file", str(results.path(name)), "-B", results.raw_base],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return f"{name}: {done.stderr.strip()}" if done.returncode or done.stderr else None

    with ThreadPoolExecutor(2) as pool:
        complaints = list(pool.map(complaint, results.tree.modules()))
    assert [line for line in complaints if line] == []
