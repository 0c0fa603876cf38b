"""`btfd lsp`, spoken to by a real client, on a driver that is edited and built."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from lsprotocol import types as lsp

from btfd.built import Built
from btfd.engine import native
from btfd.kbuild import encoder_options
from btfd.lsp.server import make
from tests.lsp.client import editor
from tests.support import sample
from tests.support.run import btfd, run
from tests.support.sample import Driver


@pytest.fixture
def driver(encoded_tree: Path, tmp_path: Path) -> Driver:
    made = sample.driver(tmp_path, encoded_tree)
    assert btfd("encode", made.tree / Driver.MODULE).returncode == 0
    return made


def test_what_is_said_of_a_driver(driver: Driver) -> None:
    header, main = driver.source / Driver.HEADER, driver.source / Driver.MAIN

    async def look() -> None:
        async with editor(driver.env) as one:
            one.open(header)
            one.open(main)
            said = await one.hover(header, "struct loopy_priv {", "loopy_priv")
            assert said is not None
            head, _, text = said.partition("\n\n")
            assert head == (
                f"**struct loopy_priv**: 64 bytes, 1 cache line, as last built in {Driver.MODULE}"
            )
            assert text.startswith("```c\nstruct loopy_priv {\n\tstruct net_device *")
            assert "/* padding: 7 */" in text

            # a member where it is declared, and through a variable's members where it is used
            member = (
                "```c\nstruct loopy_stats tx;\n```\noffset 24, 16 bytes, cache line 0; "
                f"in **struct loopy_priv** of 64 bytes, as last built in {Driver.MODULE}"
            )
            assert await one.hover(header, "rx, tx", "tx") == member
            assert await one.hover(main, "priv->tx.packets", "tx") == member
            deep = await one.hover(main, "priv->tx.bytes", "bytes")
            assert deep is not None and deep.startswith("```c\nu64 bytes;\n```\noffset 8, 8 bytes")
            assert "**struct loopy_stats** of 16 bytes" in deep

            # a type of vmlinux, a typedef, and what is neither
            device = await one.hover(main, "struct net_device *dev)", "net_device")
            assert device is not None and device.startswith("**struct net_device**: ")
            assert await one.hover(main, "loopy_open(", "loopy_open") is None
            assert await one.hover(main, "return 0", "return") is None

            assert await one.hints(header) == {
                "u64 packets;": "@0 8 B",
                "u64 bytes;": "@8 8 B",
                "struct net_device *dev;": "@0 8 B",
                "struct loopy_stats rx, tx;": "rx @8 16 B, tx @24 16 B",
                "struct list_head queue;": "@40 16 B",
                "bool carrier;": "@56 1 B",
                "u32 (*get_link)(struct loopy_priv *priv);": "@0 8 B",
                "void (*get_stats)(const struct loopy_priv *priv, struct loopy_stats *out);": (
                    "@8 8 B"
                ),
            }
            assert await one.hints(main) == {}
            (lens,) = await one.lenses(main)
            stats = btfd("stats", driver.tree, "--json").stdout
            sizes = next(line for line in stats.splitlines() if Driver.MODULE in line)
            words = lens.replace(",", "").split()
            assert words[0] == f"{Driver.MODULE}:"
            assert f'"split_bytes":{words[3]}' in sizes
            assert f'"full_bytes":{words[5]}' in sizes

    asyncio.run(look())


def test_a_save_that_changes_a_layout(driver: Driver) -> None:
    kept = driver.root / "abi"
    assert btfd("diff", "--save", kept, driver.tree / Driver.MODULE).returncode == 0
    header = driver.source / Driver.HEADER
    old, new = "\tu64 bytes;\n", "\tu64 bytes;\n\tu32 lost;\n"

    async def edit() -> None:
        async with editor(driver.env, "--baseline", str(kept), "--build") as one:
            one.open(header)
            await one.until(lambda: header.as_uri() in one.told)
            assert one.diagnostics(header) == []

            # A comment: built anew, and nothing to say.
            refreshed = one.refreshed
            one.type(header, "/* Shared by", "/* What is shared by")
            one.save(header)
            await one.refresh(refreshed)
            assert one.diagnostics(header) == []

            one.type(header, old, new)
            # Not built yet: the hints are the last build's, at their places in the new text.
            assert "u32 lost;" not in await one.hints(header)
            assert (await one.hints(header))["struct list_head queue;"] == "@40 16 B"
            one.save(header)
            await one.until(lambda: len(one.diagnostics(header)) == 2)
            assert one.diagnostics(header) == [
                (
                    "loopy_stats",
                    "struct loopy_stats 16 -> 24 bytes: +lost (u32) at 16; padding 0 -> 4 bytes "
                    f"(against {kept})",
                ),
                (
                    "loopy_priv",
                    "struct loopy_priv 64 -> 80 bytes: rx 16 -> 24 bytes; tx 16 -> 24 bytes; "
                    f"queue crosses into cache line 1; 3 members moved (against {kept})",
                ),
            ]
            hints = await one.hints(header)
            assert hints["u32 lost;"] == "@16 4 B"
            assert hints["struct list_head queue;"] == "@56 16 B, lines 0-1"

            one.type(header, new, old)
            one.save(header)
            await one.until(lambda: one.diagnostics(header) == [])

            one.type(header, old, "\tu64 bytes bytes;\n")
            one.save(header)
            await one.until(lambda: bool(one.messages))
            assert "the build failed" in one.messages[0]
            assert "error:" in one.messages[0]

    asyncio.run(edit())


def test_a_build_by_somebody_else(driver: Driver) -> None:
    header = driver.source / Driver.HEADER

    async def edit() -> None:
        async with editor(driver.env) as one:
            one.open(header)
            assert "u32 lost;" not in await one.hints(header)
            one.type(header, "\tu64 bytes;\n", "\tu64 bytes;\n\tu32 lost;\n")
            one.save(header)
            sample.build(driver.tree, "-B", Driver.MODULE, sources=driver.source)

            async def told() -> None:
                # The link and what follows it are several builds to see.
                while (await one.hints(header)).get("u32 lost;") != "@16 4 B":
                    seen = one.refreshed
                    await one.refresh(seen)

            await asyncio.wait_for(told(), 60)

    asyncio.run(edit())


def test_an_editor_that_is_gone_is_told_nothing() -> None:
    class Gone:
        tries = 0

        def write(self, data: bytes) -> None:
            self.tries += 1
            raise ValueError("I/O operation on closed file")

        def close(self) -> None:
            pass

    server, gone = make(Built(native(), [], lambda tree: encoder_options(None, None))), Gone()
    server.protocol.set_writer(gone)
    server.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, "the build failed"))
    # What was to be said, and that it could not be.
    assert gone.tries == 2


def test_without_pygls(driver: Driver) -> None:
    # Hidden, as where it is not installed.
    code = (
        "import sys, importlib.util as u; found = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'pygls' else found(name, *a);"
        "from btfd.__main__ import main; sys.exit(main(['lsp']))"
    )
    done = run(sys.executable, "-c", code, env=driver.env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "btfd: the language server needs pygls",
        f"hint: {sys.executable} -m pip install 'pygls>=2,<3'",
    ]


def test_what_it_cannot_start_with(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "no-baseline").write_text("{}")
    done = run(
        *(sys.executable, "-m", "btfd", "lsp", "--baseline", str(tmp_path / "no-baseline")),
        env=driver.env,
    )
    assert done.returncode == 1
    assert "not a baseline" in done.stderr
