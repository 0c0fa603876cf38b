"""What `make run` shows: a tree is watched, a driver is edited, its BTF follows.

    python tests/sample/demo.py OUT_DIR

Builds the sample tree in OUT_DIR from a copy of its sources, lets `btfd watch` look after it, adds
a member to a struct of a driver and links that driver again. Ends with 0 only if the new member
is in the module's BTF afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

SOURCES = Path(__file__).resolve().parent
MARK = ".btfd-sample"
MODULE = "kernel/drivers/net/loopy.ko"
HEADER = "kernel/drivers/net/loopy.h"
STRUCT = "loopy_stats"
OLD = "\tu64 bytes;\n"
NEW = OLD + "\tu64 dropped;\t/* this line is new */\n"
PATIENCE = 60.0


class Failed(Exception):
    """The round trip did not happen; the text says where it ended."""


def say(text: str) -> None:
    print(text, flush=True)


def make(out: Path, *targets: str) -> None:
    command = ["make", "-j2", "--no-print-directory", "-C", str(out / "source")]
    command += [f"OUT={out}", *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the build failed:\n{done.stdout}{done.stderr}")
    if targets:
        for line in done.stdout.splitlines():
            say(f"   {line}")


def prepare(out: Path) -> None:
    """An empty OUT_DIR, unless it holds something that this program did not put there."""
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise Failed(f"{out} is not empty and not a sample tree; name another directory")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()
    shutil.copytree(SOURCES, out / "source", ignore=shutil.ignore_patterns("*.py", "__pycache__"))


def members(out: Path, watcher: subprocess.Popen[str]) -> list[str] | None:
    """The members of the struct as `btfd dump` shows them; None where there is no BTF yet."""
    if watcher.poll() is not None:
        raise Failed(f"btfd watch ended by itself, with status {watcher.returncode}")
    command = [sys.executable, "-m", "btfd", "dump", str(out / MODULE)]
    command += ["--base", str(out / "vmlinux"), "--format", "raw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if f"STRUCT '{STRUCT}'" in line:
            count = int(line.rsplit("vlen=", 1)[1])
            return [next(lines).split("'")[1] for _ in range(count)]
    return None


def wait_for(out: Path, watcher: subprocess.Popen[str], member: str) -> list[str]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = members(out, watcher)
        if found and member in found:
            return found
        time.sleep(0.1)
    raise Failed(f"after {PATIENCE:.0f} s struct {STRUCT} has no member {member}")


def settle(seen: list[float]) -> None:
    """Waits until the watcher has had nothing to say for a moment."""
    while not seen or time.monotonic() - seen[-1] < 1:
        time.sleep(0.1)


def echo(stream: IO[str], seen: list[float]) -> None:
    for line in stream:
        seen.append(time.monotonic())
        say(f"   btfd | {line.rstrip()}")


def round_trip(out: Path) -> None:
    say(f"1. Build a small tree that looks like a kernel's, in {out}")
    prepare(out)
    make(out)
    modules = (out / "modules.order").read_text().split()
    say(f"   vmlinux and {len(modules)} modules, none of them with BTF yet")

    say("2. Let btfd watch it")
    command = [sys.executable, "-m", "btfd", "watch", str(out), "--encode-base"]
    say(f"   $ btfd {' '.join(command[3:])}")
    seen: list[float] = [time.monotonic()]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as watcher:
        assert watcher.stdout is not None
        reader = threading.Thread(target=echo, args=(watcher.stdout, seen), daemon=True)
        reader.start()
        try:
            before = wait_for(out, watcher, "bytes")
            settle(seen)
            say(f"   {MODULE} now knows struct {STRUCT}: {', '.join(before)}")
            if "dropped" in before:
                raise Failed("the member that is about to be added is there already")

            say(f"3. Edit the driver: add a member to struct {STRUCT} in {HEADER}")
            header = out / "source" / HEADER
            text = header.read_text()
            if OLD not in text:
                raise Failed(f"{header} is not as expected")
            header.write_text(text.replace(OLD, NEW, 1))
            say("   +" + NEW[len(OLD) :].rstrip())
            say("4. Link the module again, as make would after any edit")
            make(out, MODULE)
            start = time.monotonic()
            after = wait_for(out, watcher, "dropped")
            took = time.monotonic() - start
            settle(seen)
            say(f"   {MODULE} now knows struct {STRUCT}: {', '.join(after)}")
            say(f"   seen with `btfd dump` {took:.1f} s after the link")
        finally:
            if watcher.poll() is None:
                watcher.send_signal(signal.SIGTERM)
            try:
                status = watcher.wait(10)
            except subprocess.TimeoutExpired:
                watcher.kill()
                status = watcher.wait()
            reader.join(5)
    if status != 0:
        raise Failed(f"btfd watch ended with status {status} when asked to stop")
    say("5. Stopped. The round trip edit, link, encode happened.")


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        round_trip(Path(sys.argv[1]).resolve())
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
