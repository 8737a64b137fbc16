"""The server as one object, with what it knows, and how texts, places and edits look in the protocol of editors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from recipelang import __version__
from recipelang.editor.analysis import Analysis
from recipelang.editor.documents import Documents
from recipelang.editor.formatting import Edit
from recipelang.editor.positions import Lines


class RecipeServer(LanguageServer):
    """The server with what it knows; one editor talks to it."""

    def __init__(self) -> None:
        super().__init__("recipelang", __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.documents = Documents()
        self.checker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="check")
        self.waiting: dict[str, asyncio.Task[None]] = {}

    def lines(self, text: str) -> Lines:
        """The text by the positions that were agreed on with the editor."""
        return Lines(text, str(getattr(self.workspace.position_encoding, "value", self.workspace.position_encoding)))

    async def analysis(self, uri: str) -> Analysis | None:
        """What is known of an open document as it is now; None for one that is not open."""
        path, text = path_of(uri), self.text(uri)
        known = self.documents.known.get(path)
        if text is None or (known and known.text == text):
            return known if text is not None else None
        return await asyncio.get_running_loop().run_in_executor(self.checker, self.documents.analyse, path, text)

    def text(self, uri: str) -> str | None:
        """The text of an open document; None for one that is not open."""
        return self.documents.texts.get(path_of(uri))


SERVER = RecipeServer()


def path_of(uri: str) -> Path:
    """The file of a document; for one that is not a file (`untitled:…`), a relative path that names it."""
    if uri.startswith("file:") and (found := to_fs_path(uri)):
        return Path(found)
    return Path(uri.replace("/", "_"))


def range_of(lines: Lines, start: int, end: int) -> lsp.Range:
    return lsp.Range(lsp.Position(*lines.place(start)), lsp.Position(*lines.place(end)))


def offset_of(lines: Lines, position: lsp.Position) -> int:
    return lines.offset(position.line, position.character)


def markdown(text: str) -> lsp.MarkupContent:
    return lsp.MarkupContent(lsp.MarkupKind.Markdown, text)


def shown_edits(lines: Lines, edits: Iterable[Edit]) -> list[lsp.TextEdit]:
    """Edits as the protocol has them."""
    return [lsp.TextEdit(range_of(lines, edit.start, edit.end), edit.text) for edit in edits]
