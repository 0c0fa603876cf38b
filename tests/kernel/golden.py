"""Reference results for a kernel's modules, kept as digests.

A file in golden/ says for each module what pahole 1.31's encoder over libbpf master writes: how
many types, the digest of the types as a graph and that of the type section's bytes. It holds for
one base only, the one whose digest it names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.support.btf import Btf, bytes_digest, graph_digest
from tests.support.elf import Elf

DIRECTORY = Path(__file__).parent / "golden"


class Result(NamedTuple):
    """Of one module."""

    types: int
    graph: str
    bytes: str

    @classmethod
    def of(cls, btf: Btf) -> Result:
        return cls(len(btf), graph_digest(btf), bytes_digest(btf))


@dataclass(frozen=True, slots=True)
class Golden:
    """What one file holds."""

    encoder: str
    features: str
    lang_exclude: str
    base: str
    modules: dict[str, Result]

    @classmethod
    def load(cls, path: Path) -> Golden:
        text = json.loads(path.read_text())
        text["modules"] = {name: Result(*one) for name, one in text["modules"].items()}
        return cls(**text)

    def save(self, path: Path) -> None:
        """One line a module, so that a change reads well."""
        head = {key: value for key, value in asdict(self).items() if key != "modules"}
        lines = [
            f"  {json.dumps(name)}: {json.dumps(one, separators=(',', ':'))}"
            for name, one in sorted(self.modules.items())
        ]
        text = json.dumps(head, indent=1).removesuffix("\n}")
        path.write_text(text + ',\n "modules": {\n' + ",\n".join(lines) + "\n }\n}\n")


def base_digest(vmlinux: Path) -> str:
    """Of the .BTF section of an image."""
    return sha256(Elf.read(vmlinux).contents(".BTF") or b"").hexdigest()


def for_base(digest: str) -> Golden | None:
    """The reference results over that base, where there are any."""
    for path in sorted(DIRECTORY.glob("*.json")):
        golden = Golden.load(path)
        if golden.base == digest:
            return golden
    return None
