"""Builds the BTF of a real kernel with the drop-in and compares it with pahole's.

    python -m tests.kbuild [TREE | --source ARCHIVE] [-j N] [--step NAME]...

TREE is the O= directory of an x86-64 kernel with CONFIG_DEBUG_INFO_BTF_MODULES=y that was just
built, vmlinux and modules, with the reference: pahole 1.31 over a libbpf that has commit 5b0f3729.
With $PAHOLE, which names it, an external module is compared as well.
Without TREE, the source in ARCHIVE (Debian's linux-source-6.1; that of 7.3 is known to do as well)
is configured with small.config and built with $PAHOLE below $BTFD_TEST_CACHE: 6 to 20 minutes on
two idle cores, 1.7 GB, the source not counted.

Every step begins with an up to date tree and leaves one. Nothing but objects, modules and vmlinux
is removed, so the tree can be used again; its vmlinux and modules then have the drop-in's BTF,
which is the same, or a step has failed. Status 0: all steps are good.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.kbuild.kernel import PROGRAM, Kernel, Log, Result, daemon, difference, read
from tests.kernel.tree import cache_dir
from tests.support.run import btfd, must

HERE = Path(__file__).parent
SOURCE = Path("/usr/src/linux-source-6.1.tar.xz")
HELLO = """\
#include <linux/module.h>
struct hello_state { int hello_count; struct list_head hello_list; };
static struct hello_state state;
int hello_next(struct hello_state *s);
noinline int hello_next(struct hello_state *s) { return ++s->hello_count; }
static int __init hello_init(void) { return hello_next(&state) - 1; }
static void __exit hello_exit(void) { }
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
"""


class Failed(Exception):
    """A step is not good; the text says why."""


def expect(good: bool, what: str) -> None:
    if not good:
        raise Failed(what)


class Steps:
    """The steps, each a method, in the order in which they are run."""

    def __init__(self, kernel: Kernel, work: Path) -> None:
        self.kernel = kernel
        self.work = work
        self.all = set(kernel.modules())
        self.reference: dict[str, Result] = kernel.snapshot()

    def same(self, log: Log) -> str:
        """The files must be pahole's; says how many."""
        expect(log.status == 0, f"make ended with status {log.status}:\n{log.text[-2000:]}")
        differ = difference(self.reference, self.kernel.snapshot())
        expect(not differ, f"{len(differ)} differ: " + "; ".join(differ[:5]))
        expect(not self.kernel.leftovers(), "files left behind")
        expect(not log.remarks(), "\n".join(log.remarks()[:5]))
        with_ids = sum(one.ids is not None for one in self.reference.values())
        return f"{len(self.reference)} files equal pahole's, {with_ids} of them with .BTF_ids"

    def quiet(self) -> None:
        """A make right after another has nothing to do."""
        log = self.kernel.make()
        expect(log.status == 0, f"the second make ended with status {log.status}")
        expect(not log.modules, f"the second make made {log.modules[:3]}")

    def everything(self) -> str:
        """vmlinux and all modules are linked again."""
        self.kernel.remove("vmlinux", *self.all)
        log = self.kernel.make()
        said = self.same(log)
        expect(log.done("BTF") == self.all, "not all modules were encoded")
        self.quiet()
        return f"{said}; the second make does nothing"

    def driver(self) -> str:
        """The object of one driver is made again."""
        name = next(m for m in sorted(self.all) if m.endswith("/veth.ko"))
        self.kernel.remove(name.removesuffix(".ko") + ".o")
        log = self.kernel.make("modules")
        said = self.same(log)
        expect(log.done("BTF") == {name}, f"encoded: {sorted(log.done('BTF'))[:5]}")
        self.quiet()
        return f"one module encoded; {said}"

    def built_in(self) -> str:
        """An object of vmlinux is made again: all modules get BTF, from 6.13 on after a link."""
        self.kernel.remove("kernel/fork.o")
        return self.all_again(self.kernel.make())

    def vmlinux(self) -> str:
        """vmlinux is newer, and the same."""
        os.utime(self.kernel.tree / "vmlinux")
        return self.all_again(self.kernel.make())

    def all_again(self, log: Log) -> str:
        said = self.same(log)
        expect(log.done("BTF") == self.all, "not all modules were encoded")
        linked = self.all if self.kernel.relinks else set()
        expect(log.done("LD") == linked, f"linked: {len(log.done('LD'))}")
        self.quiet()
        return f"{len(linked)} modules linked, {len(self.all)} encoded; {said}"

    def with_daemon(self) -> str:
        """All modules from the daemon, over their old BTF."""
        with daemon(self.work / "daemon") as (env, _):
            os.utime(self.kernel.tree / "vmlinux")
            log = self.kernel.make(env=env)
        said = self.same(log)
        served = log.encoded_by("the daemon")
        expect(served == len(self.all), f"the daemon served {served} of {len(self.all)}")
        return f"{served} by the daemon; {said}"

    def disturbed(self, name: str, what: signal.Signals) -> str:
        """The daemon gets a signal after a quarter of the modules."""
        with daemon(self.work / name) as (env, process):
            encoded = 0

            def watch(line: str) -> None:
                nonlocal encoded
                encoded += line.startswith("  BTF")
                if encoded == len(self.all) // 4:
                    process.send_signal(what)

            os.utime(self.kernel.tree / "vmlinux")
            log = self.kernel.make(env=env, watch=watch)
        remarks = log.remarks()
        expect(len(remarks) <= 1, "\n".join(remarks[:5]))
        log.text = "\n".join(line for line in log.text.splitlines() if line not in remarks)
        said = self.same(log)
        here = log.encoded_by("in-process")
        expect(0 < here < len(self.all), f"{here} were encoded without it")
        return f"{len(self.all) - here} by the daemon, {here} without; {said}"

    def daemon_killed(self) -> str:
        """The daemon is killed in the middle of the build."""
        return self.disturbed("killed", signal.SIGKILL)

    def daemon_stopped(self) -> str:
        """The daemon stops in the middle of the build and does not go on."""
        return self.disturbed("stopped", signal.SIGSTOP)

    def external(self) -> str:
        """A module out of the tree: M=."""
        module = self.hello("hello", PROGRAM)
        base = self.kernel.tree / "vmlinux"
        shown = btfd("dump", module, "--base", base).stdout
        expect("hello_state" in shown and "hello_next" in shown, f"it has no types: {shown}")
        checked = btfd("verify", module, "--base", base)
        expect(checked.returncode == 0, checked.stderr)
        again = self.kernel.make(f"M={module.parent}", "modules")
        expect(not again.modules, f"the second make made {again.modules}")
        said = "the kernel would accept its BTF"
        if reference := os.environ.get("PAHOLE"):
            theirs = read(self.hello("theirs", reference))
            ours = read(module)
            expect(ours == theirs, "it differs from pahole's")
            brings = "with" if ours.base else "without"
            said += f", which equals pahole's, {brings} .BTF.base"
        return f"{said}; the second make does nothing"

    def hello(self, name: str, pahole: Path | str) -> Path:
        """A module made in a directory of its own."""
        folder = self.work / name
        folder.mkdir()
        (folder / "hello.c").write_text(HELLO)
        (folder / "Kbuild").write_text("obj-m := hello.o\n")
        log = self.kernel.make(f"M={folder}", "modules", pahole=pahole)
        expect(log.status == 0, f"make ended with status {log.status}:\n{log.text[-2000:]}")
        return folder / "hello.ko"

    def clean(self) -> str:
        """make clean, in a copy that shares the files."""
        copy = self.work / "copy"
        try:
            must("cp", "-al", self.kernel.tree, copy)
        except AssertionError:
            shutil.rmtree(copy, ignore_errors=True)
            must("cp", "-a", self.kernel.tree, copy)
        # The Makefile of a tree names that tree, since 6.13, and would clean it instead.
        log = self.kernel.make(f"O={copy}", "clean", tree=copy)
        expect(log.status == 0, f"make ended with status {log.status}:\n{log.text[-2000:]}")
        expect((self.kernel.tree / "vmlinux").exists(), "the tree itself was cleaned")
        rest = [*copy.rglob("*.ko"), *self.kernel.leftovers(copy)]
        shutil.rmtree(copy)
        expect(not rest, f"left: {rest[:5]}")
        return "nothing is left"

    def run(self) -> dict[str, Callable[[], str]]:
        names = (
            *("everything", "driver", "built_in", "vmlinux", "with_daemon", "daemon_killed"),
            *("daemon_stopped", "external", "clean"),
        )
        return {name.replace("_", "-"): getattr(self, name) for name in names}


def build(archive: Path) -> Path:
    """The source, configured and built with $PAHOLE; once for each archive of another name."""
    pahole = os.environ.get("PAHOLE")
    if not pahole:
        raise Failed("without TREE, PAHOLE must name the reference: pahole 1.31")
    name = archive.name.partition(".tar")[0]
    place = cache_dir() / f"kbuild-{name.removeprefix('linux-source-')}"
    out = place / "build"
    if (place / ".complete").exists():
        return out
    if not archive.exists():
        packages = "linux-source-6.1 flex bison bc libelf-dev libssl-dev"
        raise Failed(f"{archive} is not there\nhint: apt-get install {packages}, or --source")
    source = place / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    must("tar", "-C", source, "--strip-components=1", "-xf", archive)
    jobs = f"-j{os.cpu_count()}"
    common = ("ARCH=x86_64", f"PAHOLE={pahole}")
    config = f"KCONFIG_ALLCONFIG={HERE / 'small.config'}"
    must("make", "-C", source, f"O={out}", *common, config, "allnoconfig")
    must("make", "-C", out, jobs, *common, "vmlinux", "modules", timeout=4 * 3600)
    (place / ".complete").touch()
    return out


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", nargs="?", type=Path)
    parser.add_argument("--source", type=Path, default=SOURCE, help=f"default: {SOURCE}")
    parser.add_argument("-j", type=int, default=os.cpu_count(), dest="jobs")
    parser.add_argument("--step", action="append", help="only this one; may be repeated")
    options = parser.parse_args()
    bad = 0
    try:
        kernel = Kernel((options.tree or build(options.source)).resolve(), options.jobs)
        with tempfile.TemporaryDirectory(prefix="btfd-kbuild-", dir=kernel.tree.parent) as work:
            steps = Steps(kernel, Path(work))
            print(f"Linux {kernel.release()}, {len(steps.all)} modules, -j{kernel.jobs}")
            for name, step in steps.run().items():
                if options.step and name not in options.step:
                    continue
                try:
                    print(f"{name}: {step()}", flush=True)
                except Failed as e:
                    bad += 1
                    print(f"{name}: FAILED: {e}", flush=True)
    except (Failed, AssertionError, subprocess.SubprocessError, OSError) as e:
        print(f"cannot begin: {e}", file=sys.stderr)
        return 2
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
