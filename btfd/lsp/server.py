"""The language server of `btfd lsp`, over standard input and output.

Contract: hovers over structs and members, inlay hints with offsets, a code lens with each module's
BTF size, and a diagnostic at each struct that the reference has otherwise. What is said is what was
last built; where in the text it belongs is found in the text as it is being typed. When a module of
an open file is built anew, hints and lenses are asked for again and diagnostics sent again. Nothing
of the project is written; with `build`, a save runs `btfd on-save --build`, which does.

Cost: while files are open, a stat of each of their modules five times a second.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument

from btfd.built import Built, Placed
from btfd.csource import Body, Source
from btfd.lsp import words

if TYPE_CHECKING:
    from pygls.server import ServerErrors

#: Seconds between two looks at the modules of open files.
LOOK = 0.2
NAME = "btfd"
#: Characters that are shown of a build that failed: the first errors matter.
_TOLD = 2000


class Server(LanguageServer):
    """The server, with what it answers from."""

    def __init__(self, built: Built, *, build: bool) -> None:
        super().__init__(NAME, version("btfd"))
        self.built = built
        self.build = build
        self.open: dict[str, str] = {}
        """URIs of open files, and their paths."""
        self._sources: dict[str, tuple[str, Source]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._in_trouble = False

    def report_server_error(self, error: Exception, source: "ServerErrors") -> None:
        """Tells the editor, unless that is what fails: it may be gone, and a failure to send would
        be told by sending, for ever."""
        if self._in_trouble:
            return
        self._in_trouble = True
        try:
            super().report_server_error(error, source)
        finally:
            self._in_trouble = False

    def source(self, document: TextDocument) -> Source:
        """The text of a document, taken apart once."""
        text = document.source
        known = self._sources.get(document.uri)
        if known is None or known[0] != text:
            known = self._sources[document.uri] = (text, Source(text))
        return known[1]

    def opened(self, uri: str) -> str | None:
        """A file is in an editor from now on; its path, where it has one."""
        path = to_fs_path(uri)
        if path is not None:
            self.open[uri] = path
        return path

    def closed(self, uri: str) -> None:
        """It is not any more; what was said of it is taken back."""
        self.open.pop(uri, None)
        self._sources.pop(uri, None)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))

    def start(self) -> None:
        """Begins to look for what is built."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            files = dict(self.open)
            news = set(await asyncio.to_thread(self.built.look, list(files.values())))
            told = [uri for uri, path in files.items() if path in news]
            for uri in told:
                await asyncio.to_thread(self.judge, uri)
            if told:
                self._refresh()

    def _refresh(self) -> None:
        """Has the editor ask again, where it understands that."""
        workspace = self.client_capabilities.workspace
        if workspace is None:
            return
        if workspace.inlay_hint is not None and workspace.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)
        if workspace.code_lens is not None and workspace.code_lens.refresh_support:
            self.workspace_code_lens_refresh(None)

    def judge(self, uri: str) -> None:
        """Says at which structs of a file the reference is another."""
        path = self.open.get(uri)
        if path is None:
            return
        document = self.workspace.get_text_document(uri)
        bodies = {(body.kind, body.name): body for body in self.source(document).bodies}
        found = []
        for one in self.built.differences(path):
            body = bodies.get((one.change.kind, one.change.name))
            if body is None:
                continue
            touched = {detail.name for detail in one.change.details}
            found.append(
                lsp.Diagnostic(
                    range=_range(document, body.start, body.start + len(body.name)),
                    message=words.difference(one),
                    severity=lsp.DiagnosticSeverity.Warning,
                    source=NAME,
                    code="layout",
                    related_information=[
                        lsp.DiagnosticRelatedInformation(
                            lsp.Location(uri, _range(document, m.start, m.start + len(m.name))),
                            m.name,
                        )
                        for m in body.members
                        if m.name in touched
                    ],
                )
            )
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found))

    def placed(self, path: str, body: Body) -> list[tuple[int, Placed]]:
        """The members of a body that exist, with the places of their names in the text."""
        found = []
        for member in body.members:
            placed = self.built.member(path, body.query, (member.name,))
            if placed is not None and "name" in placed.row:
                found.append((member.start, placed))
        return found

    def run_build(self, path: str) -> None:
        """Builds the modules of a file that was saved; says so where that fails."""
        command = [sys.executable, "-m", "btfd", "on-save", "--build", path]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.window_show_message(
                lsp.ShowMessageParams(lsp.MessageType.Error, done.stderr.strip()[:_TOLD])
            )


def make(built: Built, *, build: bool = False) -> Server:
    """A server, ready to be started with `start_io`. `build`: a save builds its modules."""
    server = Server(built, build=build)
    _follow(server)
    _answer(server)
    return server


def _follow(server: Server) -> None:
    """What an editor tells."""

    @server.feature(lsp.INITIALIZED)
    def initialized(_: lsp.InitializedParams) -> None:
        server.start()

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        path = server.opened(params.text_document.uri)
        if path is not None:
            # As it is now is no news: the editor is about to ask.
            await asyncio.to_thread(server.built.look, [path])
        await asyncio.to_thread(server.judge, params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.closed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        path = server.open.get(params.text_document.uri)
        if path is None:
            return
        if server.build:
            await asyncio.to_thread(server.run_build, path)
        server.built.forget(path)
        await asyncio.to_thread(server.judge, params.text_document.uri)


def _answer(server: Server) -> None:
    """What an editor asks. In threads: the first question about a tree loads its base."""

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    @server.thread()
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        uri = params.text_document.uri
        path = server.open.get(uri)
        document = server.workspace.get_text_document(uri)
        meaning = server.source(document).meaning(document.offset_at_position(params.position))
        if path is None or meaning is None:
            return None
        if meaning.path:
            placed = server.built.member(path, meaning.query, meaning.path)
            text = words.member(placed) if placed is not None else None
        else:
            laid = server.built.layout(path, meaning.query)
            if not meaning.sure and any(
                server.built.layout(path, f"{kind} {meaning.query}") for kind in ("struct", "union")
            ):
                laid = None  # a variable, most likely: only typedefs go by their name alone
            text = words.struct(laid) if laid is not None else None
        if text is None:
            return None
        content = lsp.MarkupContent(lsp.MarkupKind.Markdown, text)
        return lsp.Hover(content, _range(document, meaning.start, meaning.end))

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    @server.thread()
    def hints(params: lsp.InlayHintParams) -> Sequence[lsp.InlayHint]:
        uri = params.text_document.uri
        path = server.open.get(uri)
        if path is None:
            return []
        document = server.workspace.get_text_document(uri)
        found: dict[int, list[Placed]] = {}
        for body in server.source(document).bodies:
            starts = [member.start for member in body.members]
            if not starts or not _meets(document, params.range, min(starts), max(starts)):
                continue
            for start, placed in server.placed(path, body):
                line = document.client_position_at_offset(start).line
                if params.range.start.line <= line <= params.range.end.line:
                    found.setdefault(line, []).append(placed)
        return [
            lsp.InlayHint(
                position=_end_of(document, line),
                label=", ".join(words.hint(one, named=len(members) > 1) for one in members),
                padding_left=True,
            )
            for line, members in sorted(found.items())
        ]

    @server.feature(lsp.TEXT_DOCUMENT_CODE_LENS)
    @server.thread()
    def lenses(params: lsp.CodeLensParams) -> Sequence[lsp.CodeLens]:
        path = server.open.get(params.text_document.uri)
        if path is None:
            return []
        top = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
        return [
            lsp.CodeLens(top, command=lsp.Command(words.lens(sizes), ""))
            for sizes in server.built.sizes(path)
        ]


def _range(document: TextDocument, start: int, end: int) -> lsp.Range:
    place = document.client_position_at_offset
    return lsp.Range(place(start), place(end))


def _meets(document: TextDocument, asked: lsp.Range, first: int, last: int) -> bool:
    place = document.client_position_at_offset
    return place(first).line <= asked.end.line and place(last).line >= asked.start.line


def _end_of(document: TextDocument, line: int) -> lsp.Position:
    """Behind the last character of a line, in the client's units."""
    text = document.lines[line].rstrip("\r\n")
    return document.position_codec.position_to_client_units(
        document.lines, lsp.Position(line, len(text))
    )
