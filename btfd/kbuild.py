"""What a kernel build tree says of itself: configuration, modules, the encoder's options.

Contract: reads `include/config/auto.conf`, `include/config/kernel.release`, the top `Makefile`
and `modules.order`; starts nothing and writes nothing. `find_tree` recognises a tree by vmlinux
beside `include/config/auto.conf`. `encoder_options` answers with the features that this tree's
kbuild would pass to pahole, so that what we write is what a plain `make` would have written.

How the era is recognised: `include/config/kernel.release` (written by every configured build),
else VERSION and PATCHLEVEL in the Makefile. A tree with neither (an unpacked debug package) gets
the newest list. Stable kernels take scripts over out of order, so the table follows what mainline
did and stays close for them; `--btf-features` overrides it.

Cost: one small file each; parsing an auto.conf of 9,000 lines takes about 5 ms.
"""

import os
import re
from typing import NamedTuple

from btfd import features
from btfd.errors import from_os

AUTO_CONF = "include/config/auto.conf"
RELEASE = "include/config/kernel.release"
MODULES_ORDER = "modules.order"
BASE = "vmlinux"
#: Directories that hold no build results, by name anywhere and by name in the root.
SKIP = frozenset({b".git"})
SKIP_PREFIX = b".tmp_"
SKIP_IN_ROOT = frozenset({b"Documentation", b"LICENSES"})

#: What kbuild passes since Linux 6.11 with pahole 1.27 or newer; taken where a tree has no release.
NEWEST = (
    "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,decl_tag_kfuncs"
)

#: Who makes the BTF of modules: kbuild's own step, or our watcher; or whatever is found out.
KBUILD = "kbuild"
WATCHER = "watcher"
AUTO = "auto"
CHOICES = (AUTO, KBUILD, WATCHER)

_LINE = re.compile(r"^(CONFIG_\w+)=(.*)$")


class Gate(NamedTuple):
    """One reason why BTF of this tree is impossible (`fatal`) or why nobody will read it."""

    symbol: str
    fatal: bool
    reason: str
    hint: str | None = None


class EncoderOptions(NamedTuple):
    """What decides the encoder's output beside its input."""

    features: tuple[str, ...]
    lang_exclude: tuple[str, ...]
    origin: str

    @property
    def key(self) -> str:
        """Equal keys, equal output for equal input."""
        return ",".join(self.features) + ";" + ",".join(self.lang_exclude)


class Config:
    """The values of an auto.conf; symbols that are off are absent."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def on(self, symbol: str) -> bool:
        """Built in or as a module."""
        return self.values.get(symbol) in ("y", "m")

    def number(self, symbol: str) -> int | None:
        """An int symbol, or None where it is absent or no number."""
        text = self.values.get(symbol, "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def makes_base(self) -> bool:
        """Whether kbuild puts BTF into vmlinux itself."""
        return self.on("CONFIG_DEBUG_INFO_BTF")

    def gates(self, *, encode_base: bool = False) -> list[Gate]:
        """What stands between this configuration and module BTF, worst first."""
        found: list[Gate] = []

        def add(symbol: str, fatal: bool, reason: str, hint: str | None = None) -> None:
            found.append(Gate(symbol, fatal, reason, hint))

        if self.on("CONFIG_DEBUG_INFO_NONE"):
            add(
                "CONFIG_DEBUG_INFO_NONE",
                True,
                "the tree is built without DWARF",
                "set CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y",
            )
        if self.on("CONFIG_DEBUG_INFO_SPLIT"):
            add(
                "CONFIG_DEBUG_INFO_SPLIT",
                True,
                "the DWARF is in .dwo files, not in the modules",
                "switch CONFIG_DEBUG_INFO_SPLIT off",
            )
        if self.on("CONFIG_DEBUG_INFO_REDUCED"):
            add(
                "CONFIG_DEBUG_INFO_REDUCED",
                True,
                "the DWARF is reduced: structs have no members",
                "switch CONFIG_DEBUG_INFO_REDUCED off",
            )
        if not self.makes_base and not encode_base:
            add(
                "CONFIG_DEBUG_INFO_BTF",
                False,
                "kbuild puts no BTF into vmlinux",
                "set CONFIG_DEBUG_INFO_BTF=y, or give --encode-base",
            )
        elif self.makes_base and not self.on("CONFIG_DEBUG_INFO_BTF_MODULES"):
            add(
                "CONFIG_DEBUG_INFO_BTF_MODULES",
                False,
                "this kernel does not read the BTF of modules",
                "set CONFIG_DEBUG_INFO_BTF_MODULES=y",
            )
        version = self.number("CONFIG_PAHOLE_VERSION")
        if self.makes_base and version is not None and version < 119:
            add(
                "CONFIG_PAHOLE_VERSION",
                False,
                f"pahole {version} is too old for kbuild to make module BTF",
                "install pahole 1.22 or newer and configure again",
            )
        return sorted(found, key=lambda gate: not gate.fatal)


def parse_auto_conf(text: str) -> Config:
    """Parses an auto.conf: bare values, and strings with or without double quotes."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        m = _LINE.match(line)
        if m is None:
            continue
        value = m[2].strip()
        if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        values[m[1]] = value
    return Config(values)


def read_config(tree: str) -> Config | None:
    """The tree's configuration, or None where it is not a configured kernel tree."""
    try:
        text = _read(os.path.join(tree, AUTO_CONF), "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise from_os(e, os.path.join(tree, AUTO_CONF)) from e
    return parse_auto_conf(text)


def release_of(tree: str) -> str | None:
    """The tree's kernel release, or VERSION.PATCHLEVEL of its Makefile, or None."""
    try:
        text = _read(os.path.join(tree, RELEASE), "replace").strip()
        if text:
            return text
    except OSError:
        pass
    try:
        with open(os.path.join(tree, "Makefile"), encoding="utf-8", errors="replace") as f:
            head = f.read(4096)
    except OSError:
        return None
    version = re.search(r"^VERSION\s*=\s*(\d+)", head, re.MULTILINE)
    patchlevel = re.search(r"^PATCHLEVEL\s*=\s*(\d+)", head, re.MULTILINE)
    return f"{version[1]}.{patchlevel[1]}" if version and patchlevel else None


def _read(path: str, errors: str) -> str:
    with open(path, encoding="utf-8", errors=errors) as f:
        return f.read()


def is_tree(folder: str) -> bool:
    """Whether a directory is a build tree with a kernel in it."""
    return os.path.exists(os.path.join(folder, BASE)) and os.path.isfile(
        os.path.join(folder, AUTO_CONF)
    )


def find_tree(path: str) -> str | None:
    """The build tree that holds `path`: the nearest parent with vmlinux and auto.conf."""
    folder = os.path.dirname(os.path.realpath(path))
    while True:
        if is_tree(folder):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def modules_order(tree: str) -> list[str] | None:
    """Modules as kbuild lists them, relative to the tree; None without a list."""
    order = read_order(tree)
    return None if order is None else parse_order(order, tree)


def read_order(tree: str) -> bytes | None:
    """The contents of modules.order."""
    try:
        with open(os.path.join(tree, MODULES_ORDER), "rb") as f:
            return f.read()
    except OSError:
        return None


def parse_order(order: bytes, tree: str) -> list[str]:
    """The modules in it.

    Up to 6.1 the list has `.ko` names, later `.o` names. Each appears once; what leads out of
    the tree is left out.
    """
    found: dict[str, None] = {}
    inside = tree.rstrip("/") + "/"
    for line in order.split():
        name = os.fsdecode(line)
        if name.endswith(".o"):
            name = name[:-2] + ".ko"
        name = os.path.normpath(name).removeprefix(inside)  # external modules have whole paths
        if name.endswith(".ko") and not name.startswith(("../", "/")):
            found[name] = None
    return list(found)


def module_name(path: str) -> str:
    """A module's name as the kernel knows it."""
    return os.path.basename(path).removesuffix(".ko").replace("-", "_")


def numbers(release: str | None) -> tuple[int, int] | None:
    """Major and minor number of a kernel release."""
    m = re.match(r"(\d+)\.(\d+)", release or "")
    return (int(m[1]), int(m[2])) if m else None


def encoder_options(
    config: Config | None, release: str | None, *, external: bool = False
) -> EncoderOptions:
    """Features and languages left out, as this tree's kbuild would pass them.

    `external`: for modules that are built with M= outside the tree.
    Without a configuration this is not a kernel tree: pahole's default set, nothing left out.
    """
    if config is None:
        return EncoderOptions(features.default(), (), "pahole's default set")
    era = numbers(release)
    if era is None:
        return EncoderOptions(features.ordered(NEWEST.split(",")), ("rust",), "newest kbuild")
    version = config.number("CONFIG_PAHOLE_VERSION")
    pahole = version or 131
    origin = f"kbuild of Linux {era[0]}.{era[1]} with pahole {pahole // 100}.{pahole % 100:02d}"
    exclude = ("rust",) if era >= (6, 1) and pahole >= 124 else ()
    if era >= (6, 10) and pahole >= 126:
        names = NEWEST.removesuffix(",decl_tag_kfuncs").split(",")
        # Since 7.3 resolve_btfids adds these tags, if it runs; it folds them with ours.
        if era >= (6, 11) and pahole >= 127:
            names.append("decl_tag_kfuncs")
        if external and era >= (6, 11) and pahole >= (126 if era < (6, 15) else 128):
            names.append("distilled_base")
        if (6, 16) <= era < (7, 3) and pahole >= 130:
            names.append("attributes")
        if era >= (7, 1) and pahole >= 131:
            names.append("layout")
        return EncoderOptions(features.ordered(names), exclude, origin)
    # The old style: what a plain `pahole -J` does, and what its flags change.
    names = ["decl_tag", "type_tag"]
    if not 118 <= pahole <= 121:
        names.append("var")
    if era >= (6, 0):  # older kernels cannot read ENUM64, and their stable trees switch it off
        names.append("enum64")
    if pahole >= 121 and era >= (5, 16):
        names.append("float")
    if era >= (6, 1) and pahole >= 125:
        names += ["optimized_func", "consistent_func"]
    return EncoderOptions(features.ordered(names), exclude, origin)
