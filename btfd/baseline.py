"""Types kept for later comparison: the file behind `btfd diff --save` and `--baseline`.

Contract: a baseline is a zip archive that stands alone. `baseline.json` holds `format` (1) and
`entries`, each with `name`, `btf` and, where it stands on something, `base`: members of the archive
that hold raw BTF. A module is kept over a distilled base, which has names and sizes of what it uses
of vmlinux and nothing else. The same types give the same bytes. Errors: `Problem`.
"""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from btfd.engine import Core, Graph
from btfd.errors import Problem, from_os

FORMAT = 1
_INDEX = "baseline.json"
#: The archive's members carry no time, so that the same types give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
#: A member is at most this long; the BTF of a large kernel takes a tenth of it.
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The types of one file, under the name by which it is found again."""

    name: str
    graph: Graph


def distilled(core: Core, graph: Graph) -> Graph:
    """The same types over a base of their own."""
    btf, base, below = graph
    if below is not None or base is None:
        return graph
    lower, split = core.distill(base, btf)
    return (split, None, lower)


def save(core: Core, path: str, snapshots: Sequence[Snapshot]) -> None:
    """Writes a baseline: the old file or the new one, never half."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = []
        for number, snapshot in enumerate(sorted(snapshots, key=lambda s: s.name)):
            btf, _, below = distilled(core, snapshot.graph)
            entry = {"name": snapshot.name, "btf": f"{number}.btf"}
            _put(archive, entry["btf"], btf)
            if below is not None:
                entry["base"] = f"{number}.base.btf"
                _put(archive, entry["base"], below)
            entries.append(entry)
        index = {"format": FORMAT, "entries": entries}
        _put(archive, _INDEX, json.dumps(index, indent=1).encode())
    core.write_detached(path, buffer.getvalue())


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def load(path: str) -> list[Snapshot]:
    """Reads a baseline."""
    try:
        with zipfile.ZipFile(os.fsencode(path).decode(errors="surrogateescape")) as archive:
            index = json.loads(_get(archive, _INDEX))
            if index["format"] != FORMAT:
                raise Problem(
                    f"a baseline of format {index['format']}, expected {FORMAT}",
                    hint="save it again with this version of btfd",
                    path=path,
                )
            found = []
            for entry in index["entries"]:
                base = _get(archive, entry["base"]) if "base" in entry else None
                found.append(Snapshot(entry["name"], (_get(archive, entry["btf"]), None, base)))
            return found
    except OSError as e:
        raise from_os(e, path) from e
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as e:
        raise Problem(f"not a baseline: {e}", hint="btfd diff --save FILE A", path=path) from e


def _get(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} is larger than any BTF")
    return archive.read(name)
