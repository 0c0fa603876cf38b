"""An editor for tests: pygls' client around `btfd lsp`, and what the server told it by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

#: Seconds until a test is given up.
PATIENCE = 60.0


class Editor:
    """Files in an editor. Positions are found by the text that stands there."""

    def __init__(self) -> None:
        self.client = LanguageClient("test", "1")
        self.told: dict[str, list[lsp.Diagnostic]] = {}
        """Diagnostics by URI."""
        self.refreshed = 0
        self.messages: list[str] = []
        self._news = asyncio.Event()
        self._texts: dict[Path, str] = {}

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def judged(params: lsp.PublishDiagnosticsParams) -> None:
            self.told[params.uri] = list(params.diagnostics)
            self._news.set()

        @self.client.feature(lsp.WORKSPACE_INLAY_HINT_REFRESH)
        def hints(_: None) -> None:
            self.refreshed += 1
            self._news.set()

        @self.client.feature(lsp.WORKSPACE_CODE_LENS_REFRESH)
        def lenses(_: None) -> None:
            self._news.set()

        @self.client.feature(lsp.WINDOW_SHOW_MESSAGE)
        def message(params: lsp.ShowMessageParams) -> None:
            self.messages.append(params.message)
            self._news.set()

    async def until(self, what: Callable[[], bool]) -> None:
        """Waits until something that the server tells by itself has come."""

        async def wait() -> None:
            while not what():
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(wait(), PATIENCE)

    async def refresh(self, seen: int) -> None:
        """Waits until the server has had hints asked for more often than `seen`."""
        await self.until(lambda: self.refreshed > seen)

    def open(self, path: Path) -> None:
        self._texts[path] = path.read_text()
        item = lsp.TextDocumentItem(path.as_uri(), "c", 1, self._texts[path])
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def type(self, path: Path, old: str, new: str) -> None:
        """Changes the text in the editor."""
        assert old in self._texts[path]
        self._texts[path] = self._texts[path].replace(old, new)
        whole = lsp.TextDocumentContentChangeWholeDocument(self._texts[path])
        name = lsp.VersionedTextDocumentIdentifier(2, path.as_uri())
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(name, [whole]))

    def save(self, path: Path) -> None:
        path.write_text(self._texts[path])
        name = lsp.TextDocumentIdentifier(path.as_uri())
        self.client.text_document_did_save(lsp.DidSaveTextDocumentParams(name))

    def diagnostics(self, path: Path) -> list[tuple[str, str]]:
        """The text that each stands at, and what it says."""
        lines = self._texts[path].splitlines()
        return [
            (lines[d.range.start.line][d.range.start.character : d.range.end.character], d.message)
            for d in self.told.get(path.as_uri(), [])
        ]

    async def hover(self, path: Path, before: str, at: str) -> str | None:
        """Over the first `at` behind `before`."""
        text = self._texts[path]
        offset = text.index(at, text.index(before))
        line, column = text.count("\n", 0, offset), offset - text.rfind("\n", 0, offset) - 1
        params = lsp.HoverParams(
            lsp.TextDocumentIdentifier(path.as_uri()), lsp.Position(line, column)
        )
        found = await asyncio.wait_for(self.client.text_document_hover_async(params), PATIENCE)
        if found is None:
            return None
        assert isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value

    async def hints(self, path: Path) -> dict[str, str]:
        """Hints of the whole file, by the line that they stand behind."""
        lines = self._texts[path].splitlines()
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(len(lines), 0))
        params = lsp.InlayHintParams(lsp.TextDocumentIdentifier(path.as_uri()), whole)
        found = await asyncio.wait_for(self.client.text_document_inlay_hint_async(params), PATIENCE)
        told = {}
        for hint in found or []:
            line = lines[hint.position.line]
            assert hint.position.character == len(line)
            told[line.strip()] = str(hint.label)
        return told

    async def lenses(self, path: Path) -> list[str]:
        params = lsp.CodeLensParams(lsp.TextDocumentIdentifier(path.as_uri()))
        found = await asyncio.wait_for(self.client.text_document_code_lens_async(params), PATIENCE)
        return [lens.command.title for lens in found or [] if lens.command is not None]


@asynccontextmanager
async def editor(env: Mapping[str, str], *more: str) -> AsyncIterator[Editor]:
    """An editor that has started the server, and ends it."""

    one = Editor()
    await one.client.start_io(sys.executable, "-m", "btfd", "lsp", *more, env={**os.environ, **env})
    capabilities = lsp.ClientCapabilities(
        workspace=lsp.WorkspaceClientCapabilities(
            inlay_hint=lsp.InlayHintWorkspaceClientCapabilities(refresh_support=True),
            code_lens=lsp.CodeLensWorkspaceClientCapabilities(refresh_support=True),
        )
    )
    await asyncio.wait_for(
        one.client.initialize_async(lsp.InitializeParams(capabilities)), PATIENCE
    )
    one.client.initialized(lsp.InitializedParams())
    try:
        yield one
    finally:
        await asyncio.wait_for(one.client.shutdown_async(None), PATIENCE)
        one.client.exit(None)
        await asyncio.wait_for(one.client.stop(), PATIENCE)
