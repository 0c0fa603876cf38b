"""diff, layout and on-save as a user runs them, on the sample tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.run import btfd, run
from tests.support.sample import Driver

LOOPY = "kernel/drivers/net/loopy.ko"
HEADER = "kernel/drivers/net/loopy.h"


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample tree with one more member in loopy_stats, encoded."""
    root = tmp_path_factory.mktemp("edited")
    shutil.copytree(sample.SOURCES, root / "source")
    header = root / "source" / HEADER
    header.write_text(header.read_text().replace("\tu64 bytes;\n", "\tu64 bytes;\n\tu64 lost;\n"))
    sample.build(root / "tree", sources=root / "source")
    assert btfd("watch", root / "tree", "--once", "--encode-base").returncode == 0
    return root / "tree"


STATS = "~ struct loopy_stats 16 -> 24 bytes: +lost (u64) at 16"
PRIV = "~ struct loopy_priv 64 -> 80 bytes: "


def test_two_modules(encoded_tree: Path, edited: Path) -> None:
    done = btfd("diff", encoded_tree / LOOPY, edited / LOOPY)
    assert done.returncode == 0, done.stderr
    head, stats, priv = done.stdout.splitlines()
    assert head == "loopy.ko: 2 changed"
    assert stats.strip() == STATS
    assert priv.strip().startswith(PRIV)


def test_two_trees_and_json(encoded_tree: Path, edited: Path) -> None:
    done = btfd("diff", encoded_tree, edited, "--json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    changed = {Path(one["path"]).name: one["changes"] for one in told if one["changes"]}
    assert list(changed) == ["loopy.ko"]
    stats = changed["loopy.ko"][0]
    assert stats["name"] == "loopy_stats"
    assert stats["topics"] == ["layout"]
    text = (sample.SOURCES / HEADER).read_text().splitlines()
    assert stats["file"].endswith(HEADER)
    assert text[stats["line"] - 1] == "struct loopy_stats {"
    assert stats["lines"]["lost"][1] == text.index("\tu64 bytes;") + 2


def test_notes_that_compilers_readers_understand(encoded_tree: Path, edited: Path) -> None:
    done = btfd("diff", encoded_tree / LOOPY, edited / LOOPY, "--format", "gcc")
    lines = done.stdout.splitlines()
    assert all(": note: " in line for line in lines)
    assert any("loopy.h:11:" in line and "+lost (u64) at 16" in line for line in lines), lines


def test_sarif(encoded_tree: Path, edited: Path) -> None:
    done = btfd("diff", encoded_tree / LOOPY, edited / LOOPY, "--format", "sarif")
    log = json.loads(done.stdout)
    results = log["runs"][0]["results"]
    assert [r["ruleId"] for r in results] == ["btf/layout", "btf/layout"]
    rules = {rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]}
    assert {r["ruleId"] for r in results} <= rules
    assert results[0]["locations"][0]["physicalLocation"]["region"]["startLine"] > 1


def test_the_same_is_said_and_is_no_failure(encoded_tree: Path) -> None:
    done = btfd("diff", encoded_tree / LOOPY, encoded_tree / LOOPY, "--fail-on", "any")
    assert (done.returncode, done.stdout) == (0, "no type changed\n")


def test_a_baseline_guards(encoded_tree: Path, edited: Path, tmp_path: Path) -> None:
    kept = tmp_path / "abi"
    assert btfd("diff", "--save", kept, encoded_tree / LOOPY).returncode == 0
    guard = ("diff", "--baseline", kept, "--fail-on", "layout,proto")
    assert btfd(*guard, encoded_tree / LOOPY).returncode == 0
    done = btfd(*guard, edited / LOOPY)
    assert done.returncode == 1
    assert STATS in done.stdout
    assert "2 changes touch layout, proto" in done.stderr
    done = btfd("diff", "--baseline", kept, "--fail-on", "proto", edited / LOOPY)
    assert done.returncode == 0


def test_a_topic_that_does_not_exist(encoded_tree: Path) -> None:
    done = btfd("diff", encoded_tree / LOOPY, encoded_tree / LOOPY, "--fail-on", "colour")
    assert done.returncode == 2
    assert "no such topic: colour" in done.stderr


def test_layout(encoded_tree: Path, edited: Path) -> None:
    done = btfd("layout", "loopy_stats", "-m", encoded_tree / LOOPY)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "u64 packets; /* 0 8 */" in lines
    assert "/* size: 16, cachelines: 1, members: 2 */" in lines
    done = btfd("layout", "loopy_stats", "-m", edited / LOOPY, "--diff", encoded_tree / LOOPY)
    assert any(line.startswith("+\tu64") and "lost" in line for line in done.stdout.splitlines())
    done = btfd("layout", "no_such_struct", "-m", encoded_tree / LOOPY)
    assert done.returncode == 1
    assert "no struct or union no_such_struct" in done.stderr


@pytest.fixture
def driver(encoded_tree: Path, tmp_path: Path) -> Driver:
    return sample.driver(tmp_path, encoded_tree)


def on_save(
    driver: Driver, *more: str, file: str = Driver.MAIN
) -> subprocess.CompletedProcess[str]:
    name = str(driver.source / file)
    return run(sys.executable, "-m", "btfd", "on-save", name, *more, env=driver.env)


def test_on_save_builds_encodes_and_tells(driver: Driver) -> None:
    assert btfd("encode", driver.tree / LOOPY).returncode == 0
    driver.edit("\tu64 bytes;\n", "\tu64 bytes;\n\tu64 lost;\n")
    done = on_save(driver, "--build")
    assert done.returncode == 0, done.stderr
    assert STATS in done.stdout
    driver.edit("u64 lost", "u32 lost")
    done = on_save(driver, "--build", "--format", "gcc")
    assert done.returncode == 0, done.stderr
    assert f"{driver.source / HEADER}:11:6: note: " in done.stdout
    assert "lost u64 -> u32" in done.stdout


def test_on_save_tells_what_the_compiler_said(driver: Driver) -> None:
    driver.edit("\tu64 bytes;\n", "\tu64 bytes bytes;\n")
    done = on_save(driver, "--build")
    assert done.returncode == 1
    assert "the build failed" in done.stderr
    assert "error:" in done.stderr


def test_what_was_saved_while_it_was_compiled_is_compiled_again(driver: Driver) -> None:
    config = driver.root / "config/btfd/config.yaml"
    usual = config.read_text()
    header = driver.source / HEADER
    # The header is compiled as it is, and saved before the objects are written.
    script = driver.root / "build.sh"
    script.write_text(
        f"set -e; touch begun; make -s -B -C {driver.source} OUT={driver.tree} {LOOPY}\n"
        f"sed -i 's/u64 bytes;/u64 bytes; u32 lost;/' {header}; touch -r begun {header}\n"
    )
    config.write_text(f"trees: [{driver.tree}]\nbuild: sh {script}\n")
    done = on_save(driver, "--build", file=HEADER)
    assert done.returncode == 0, done.stderr
    config.write_text(usual)
    # An object of another build is as old as its time says.
    made = driver.tree / "kernel/drivers/net/loopy_ethtool.o"
    later = made.stat().st_mtime_ns + 3_600_000_000_000
    os.utime(made, ns=(later, later))
    done = on_save(driver, "--build", file=HEADER)
    assert done.returncode == 0, done.stderr
    assert "struct loopy_stats" in done.stdout, done.stdout
    assert made.stat().st_mtime_ns == later
    assert on_save(driver, "--build", file=HEADER).returncode == 0


def test_a_build_that_was_killed_is_over(driver: Driver) -> None:
    config = driver.root / "config/btfd/config.yaml"
    usual = config.read_text()
    config.write_text(f"trees: [{driver.tree}]\nbuild: sh -c 'kill -9 $PPID'\n")
    assert on_save(driver, "--build").returncode == -9
    config.write_text(usual)
    assert on_save(driver, "--build").returncode == 0
    header = driver.source / HEADER
    header.write_text(header.read_text().replace("\tu64 bytes;", "\tu32 lost;\n\tu64 bytes;"))
    made = driver.tree / "kernel/drivers/net/loopy_main.o"
    before = made.stat().st_mtime_ns
    assert on_save(driver, "--build", file=HEADER).returncode == 0
    built = made.stat().st_mtime_ns
    assert built > before
    # What was saved after it is compiled once.
    assert on_save(driver, "--build", file=HEADER).returncode == 0
    assert made.stat().st_mtime_ns == built


def test_builds_of_a_tree_take_turns(driver: Driver) -> None:
    config = driver.root / "config/btfd/config.yaml"
    running = driver.root / "running"
    config.write_text(
        f"trees: [{driver.tree}]\nbuild: sh -c 'mkdir {running} && sleep 0.3 && rmdir {running}'\n"
    )
    command = [sys.executable, "-m", "btfd", "on-save", "--build"]
    both = [
        subprocess.Popen([*command, driver.source / name], env={**os.environ, **driver.env})
        for name in (HEADER, Driver.MAIN)
    ]
    assert [one.wait(60) for one in both] == [0, 0]


def test_on_save_without_a_service_needs_a_build(driver: Driver) -> None:
    done = on_save(driver)
    assert done.returncode == 1
    assert "no service is running" in done.stderr
