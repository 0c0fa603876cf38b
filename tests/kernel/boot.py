"""Boots a kernel and lets it judge the BTF of modules.

    python -m tests.kernel.boot VMLINUZ MODULE.ko...

A virtual machine gets an initramfs with busybox and the modules, in an order that serves their
dependencies. The kernel reads a module's BTF before it calls the module's init, so init is taken
out (its relocation is blanked) and drivers load without their hardware. Init is what looks into
.BTF_ids, to register functions that BPF may call, so it can be left in. A module passes where
insmod works, the kernel says nothing about BTF, and /sys/kernel/btf/NAME has the file's bytes.

Needs qemu-system-x86_64 and a static busybox. Emulated, never with KVM: 10 to 30 seconds.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.elf import Elf

BUSYBOX = Path("/bin/busybox")
QEMU = "qemu-system-x86_64"
#: Above this many bytes a module goes into the machine without its debug sections.
LARGE = 4 << 20

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec > /dev/ttyS1 2>&1 < /dev/null
stty -F /dev/ttyS1 raw
echo "base $(sha256sum < /sys/kernel/btf/vmlinux | cut -d ' ' -f 1)"
dmesg -c > /dev/null
while read -r name; do
    insmod /m/$name.ko 2> /error; loaded=$?
    shown=no
    if [ -e /sys/kernel/btf/$name ]; then
        shown=other
        cmp -s /sys/kernel/btf/$name /m/$name.btf && shown=same
    fi
    echo "module $name $loaded $shown"
    [ $shown = other ] && echo "bytes $(base64 -w 0 /sys/kernel/btf/$name)"
    cat /error; dmesg -c | grep -E 'BTF|BPF|kfunc|WARNING|invalid|Unknown symbol'
done < /m/order
echo end
poweroff -f
"""


class CannotBoot(Exception):
    """Something that a boot needs is not here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one module. `shown` is what /sys/kernel/btf has of it: same, `other`, or no bytes."""

    loaded: bool
    shown: str
    log: str
    other: bytes = b""

    @property
    def accepted(self) -> bool:
        return self.loaded and self.shown == "same" and not self.log


@dataclass(frozen=True, slots=True)
class Report:
    """Of one boot: the digest of the kernel's own BTF, and the modules in the order of loading."""

    base: str
    modules: Mapping[str, Verdict]


def missing() -> str | None:
    """What keeps this machine from booting one, in words."""
    if not shutil.which(QEMU):
        return f"no {QEMU} (Debian: qemu-system-x86)"
    if not BUSYBOX.exists() or b"ld-linux" in BUSYBOX.read_bytes()[:4096]:
        return f"no static {BUSYBOX} (Debian: busybox-static)"
    return None


def name_of(elf: Elf) -> str:
    return elf.modinfo("name")[0]


def depends(elf: Elf) -> list[str]:
    """Names of the modules that this one needs loaded."""
    listed = ",".join(elf.modinfo("depends")).replace("-", "_")
    return [name for name in listed.split(",") if name]


def load_order(modules: Mapping[str, Elf]) -> list[str]:
    """Each module after those that it depends on."""
    order: list[str] = []
    waiting = sorted(modules)
    while waiting:
        ready = [m for m in waiting if set(depends(modules[m])) <= set(order)]
        if not ready:
            raise CannotBoot(f"dependencies are missing: {', '.join(waiting)}")
        order += ready
        waiting = [m for m in waiting if m not in ready]
    return order


def without_init(elf: Elf) -> bytes:
    """The module with the relocations of its init and exit pointers made void. x86-64."""
    section = elf.find(".rela.gnu.linkonce.this_module")
    if section is None:
        return bytes(elf.data)
    symbols = elf.sections[section.link]
    names = elf.sections[symbols.link].offset
    for at in range(section.offset, section.offset + section.size, 24):
        (info,) = elf.unpack("Q", at + 8)
        (name,) = elf.unpack("I", symbols.offset + 24 * (info >> 32))
        if elf.string(names + name) in ("init_module", "cleanup_module"):
            elf.pack("Q", at + 8, 0)
    return bytes(elf.data)


def archive(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive, "newc", of (name, mode, contents)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def _stripped(path: Path) -> Elf:
    """A large module without its debug sections, any other as it is."""
    if path.stat().st_size <= LARGE:
        return Elf.read(path)
    with tempfile.NamedTemporaryFile(suffix=".ko") as copy:
        subprocess.run(["strip", "--strip-debug", "-o", copy.name, str(path)], check=True)
        return Elf.read(Path(copy.name))


def initramfs(paths: Iterable[Path], with_init: Container[str]) -> bytes:
    """Everything that the machine has of files."""
    modules = {name_of(elf): elf for elf in map(_stripped, paths)}
    order = load_order(modules)
    folders = [(name, 0o40755, b"") for name in ("bin", "dev", "m", "proc", "sys")]
    files = [
        ("init", 0o100755, INIT.encode()),
        ("bin/busybox", 0o100755, BUSYBOX.read_bytes()),
        ("m/order", 0o100644, "".join(name + "\n" for name in order).encode()),
    ]
    for name, elf in modules.items():
        files.append((f"m/{name}.btf", 0o100644, elf.contents(".BTF") or b""))
        runs = name in with_init
        files.append((f"m/{name}.ko", 0o100644, bytes(elf.data) if runs else without_init(elf)))
    return archive(folders + files)


def boot(
    image: Path, paths: Iterable[Path], *, with_init: Container[str] = (), timeout: float = 900
) -> Report:
    """Boots `image` and loads the modules, those named in `with_init` as they are."""
    if why := missing():
        raise CannotBoot(why)
    with tempfile.TemporaryDirectory(prefix="boot-") as directory:
        work = Path(directory)
        contents = initramfs(paths, with_init)
        (work / "initrd").write_bytes(contents)
        memory = 512 + 4 * (len(contents) >> 20)
        command = [QEMU, "-accel", "tcg", "-machine", "pc", "-cpu", "max", "-m", str(memory)]
        command += ["-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot"]
        command += ["-serial", f"file:{work}/console", "-serial", f"file:{work}/report"]
        command += ["-kernel", str(image), "-initrd", f"{work}/initrd"]
        # On a busy host, emulated timers are too late for the kernel's check of them.
        options = "loglevel=4 panic=-1 mitigations=off nokaslr no_timer_check"
        command += ["-append", f"console=ttyS0 {options}"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            tail = (work / "console").read_text("latin-1")[-1000:]
            raise CannotBoot(f"no end after {timeout:.0f} s; the console: {tail}") from None
        if done.returncode:
            raise CannotBoot(f"qemu: {done.stderr.decode('latin-1').strip()}")
        return _read((work / "report").read_text("latin-1"), (work / "console"))


def _read(text: str, console: Path) -> Report:
    lines = text.replace("\r", "").splitlines()
    if not lines or lines[-1] != "end":
        raise CannotBoot(f"the machine stopped early: {console.read_text('latin-1')[-1000:]}")
    base = ""
    found: dict[str, tuple[bool, str, list[str]]] = {}
    other: dict[str, bytes] = {}
    log: list[str] = []
    for line in lines[:-1]:
        match line.split():
            case ["base", digest]:
                base = digest
            case ["module", name, status, shown]:
                log = []
                found[name] = (status == "0", shown, log)
            case ["bytes", text]:
                other[name] = base64.b64decode(text)
            case _:
                log.append(line)
    verdicts = {
        name: Verdict(loaded, shown, "\n".join(log), other.get(name, b""))
        for name, (loaded, shown, log) in found.items()
    }
    return Report(base, verdicts)


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        report = boot(Path(sys.argv[1]), map(Path, sys.argv[2:]))
    except CannotBoot as error:
        print(f"boot: {error}", file=sys.stderr)
        return 2
    for name, verdict in report.modules.items():
        print(f"{name}: {'accepted' if verdict.accepted else 'REFUSED ' + str(verdict)}")
    return 0 if all(verdict.accepted for verdict in report.modules.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
