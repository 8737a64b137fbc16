"""The language server: `recipelang.editor` behind the protocol that editors speak, by pygls.

Answers come from the words of the text alone, at once. Checking takes longer on a long recipe; it waits until nothing
was typed for a moment and runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from recipelang import __version__
from recipelang.editor import cards
from recipelang.editor.analysis import Analysis, place_in
from recipelang.editor.completion import Choice, card_of, choices_at
from recipelang.editor.documents import Documents
from recipelang.editor.formatting import Edit, formatted
from recipelang.editor.positions import Lines
from recipelang.errors import Diagnostic, RecipeError, Refusal

#: seconds without typing before a text is checked
QUIET = 0.15
#: seconds between two looks whether the editor is still there
WATCH = 5.0


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

    def text(self, uri: str) -> str | None:
        """The text of an open document; None for one that is not open."""
        return self.documents.texts.get(path_of(uri))


SERVER = RecipeServer()


def serve() -> None:
    """Talk to an editor over standard input and output until it ends the conversation, or goes away.

    What a plug-in prints goes to standard error, so that it cannot get into the conversation.
    """
    speech = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    SERVER.start_io(sys.stdin.buffer, speech)


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────


def path_of(uri: str) -> Path:
    """The file of a document; for one that is not a file (`untitled:…`), a relative path that names it."""
    if uri.startswith("file:") and (found := to_fs_path(uri)):
        return Path(found)
    return Path(uri.replace("/", "_"))


@SERVER.feature(lsp.INITIALIZED)
def _begun(server: RecipeServer, params: lsp.InitializedParams) -> None:
    server.checker.submit(cards.prepare)
    if server.process_id:
        asyncio.get_running_loop().create_task(_watch(server.process_id))


async def _watch(editor: int) -> None:
    """End when the editor's process has ended without a word, and another one holds our input open."""
    while _runs(editor):
        await asyncio.sleep(WATCH)
    os._exit(1)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0) if os.name == "posix" else None
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@SERVER.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
def _opened(server: RecipeServer, params: lsp.DidOpenTextDocumentParams) -> None:
    _changed(server, params.text_document.uri, params.text_document.text)


@SERVER.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
def _typed(server: RecipeServer, params: lsp.DidChangeTextDocumentParams) -> None:
    uri = params.text_document.uri
    _changed(server, uri, server.workspace.get_text_document(uri).source)


@SERVER.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
def _saved(server: RecipeServer, params: lsp.DidSaveTextDocumentParams) -> None:
    """A saved file may be used by others, and files beside it may have changed."""
    for uri in list(server.workspace.text_documents):
        _schedule(server, uri)


@SERVER.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
def _closed(server: RecipeServer, params: lsp.DidCloseTextDocumentParams) -> None:
    path = path_of(params.text_document.uri)
    if task := server.waiting.pop(params.text_document.uri, None):
        task.cancel()
    server.documents.texts.pop(path, None)
    server.documents.known.pop(path, None)
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(params.text_document.uri, []))


def _changed(server: RecipeServer, uri: str, text: str) -> None:
    """Take a new text and check it soon, and those that use it."""
    path = path_of(uri)
    server.documents.texts[path] = text
    users = set(server.documents.users_of(path))
    _schedule(server, uri)
    for other in list(server.workspace.text_documents):
        if path_of(other) in users:
            _schedule(server, other)


def _schedule(server: RecipeServer, uri: str) -> None:
    if task := server.waiting.pop(uri, None):
        task.cancel()
    server.waiting[uri] = asyncio.get_running_loop().create_task(_check(server, uri))


async def _check(server: RecipeServer, uri: str) -> None:
    """Check a document when typing pauses, and show what is wrong with it."""
    await asyncio.sleep(QUIET)
    path = path_of(uri)
    text = server.documents.texts.get(path)
    if text is None:
        return
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(server.checker, server.documents.analyse, path, text)
    if server.documents.texts.get(path) != text:
        return  # it changed meanwhile, and is checked again
    shown = shown_diagnostics(server, path, found)
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, shown))


# ── diagnostics ─────────────────────────────────────────────────────────────────────────────────────────


def shown_diagnostics(server: RecipeServer, path: Path, found: Analysis) -> list[lsp.Diagnostic]:
    """The diagnostics of a document as the protocol has them."""
    lines = server.lines(found.text)
    return [_shown(server, lines, path, found, diagnostic) for diagnostic in found.diagnostics]


def _shown(server: RecipeServer, lines: Lines, path: Path, found: Analysis, diagnostic: Diagnostic) -> lsp.Diagnostic:
    said = diagnostic.message + (f"\nhelp: {diagnostic.help}" if diagnostic.help else "")
    place = _range(lines, 0, 0)
    related = None
    if found.here(diagnostic):
        if diagnostic.span:
            start = min(diagnostic.span.start, len(found.text))
            place = _range(lines, start, max(diagnostic.span.end, min(start + 1, len(found.text))))
    else:
        used = place_in(found.recipe, diagnostic.path)
        if used:
            place = _range(lines, used.span.start, used.span.end)
        line = f":{diagnostic.span.line}" if diagnostic.span else ""
        related = _elsewhere(server, path, diagnostic)
        said = f"{diagnostic.path}{line}: {said}"
    severity = lsp.DiagnosticSeverity.Warning if diagnostic.severity == "warning" else lsp.DiagnosticSeverity.Error
    return lsp.Diagnostic(
        place, said, severity=severity, code=diagnostic.code, source="recipe", related_information=related
    )


def _elsewhere(
    server: RecipeServer, path: Path, diagnostic: Diagnostic
) -> list[lsp.DiagnosticRelatedInformation] | None:
    """Where in another file a diagnostic is."""
    other = path.parent / diagnostic.path
    try:
        lines = server.lines(server.documents.text_of(other))
    except (OSError, UnicodeDecodeError):
        return None
    span = diagnostic.span
    place = lsp.Location(other.as_uri(), _range(lines, span.start, span.end) if span else _range(lines, 0, 0))
    return [lsp.DiagnosticRelatedInformation(place, diagnostic.message)]


def _range(lines: Lines, start: int, end: int) -> lsp.Range:
    return lsp.Range(lsp.Position(*lines.place(start)), lsp.Position(*lines.place(end)))


def _offset(lines: Lines, position: lsp.Position) -> int:
    return lines.offset(position.line, position.character)


# ── formatting ──────────────────────────────────────────────────────────────────────────────────────────


@SERVER.feature(lsp.TEXT_DOCUMENT_FORMATTING)
def _format(server: RecipeServer, params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
    text = server.text(params.text_document.uri)
    return None if text is None else _edits(server, text, 0, len(text))


@SERVER.feature(lsp.TEXT_DOCUMENT_RANGE_FORMATTING)
def _format_range(server: RecipeServer, params: lsp.DocumentRangeFormattingParams) -> list[lsp.TextEdit] | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    lines = server.lines(text)
    return _edits(server, text, _offset(lines, params.range.start), _offset(lines, params.range.end))


def _edits(server: RecipeServer, text: str, start: int, end: int) -> list[lsp.TextEdit] | None:
    """The edits of the formatter; None where the text cannot be read, which its diagnostics say."""
    try:
        return shown_edits(server.lines(text), formatted(text, start, end))
    except (RecipeError, Refusal):
        return None


def shown_edits(lines: Lines, edits: Iterable[Edit]) -> list[lsp.TextEdit]:
    """Edits as the protocol has them."""
    return [lsp.TextEdit(_range(lines, edit.start, edit.end), edit.text) for edit in edits]


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────


@SERVER.feature(lsp.TEXT_DOCUMENT_HOVER)
def _hover(server: RecipeServer, params: lsp.HoverParams) -> lsp.Hover | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    lines = server.lines(text)
    card = cards.card_at(text, _offset(lines, params.position))
    return lsp.Hover(_markdown(card.text), _range(lines, card.start, card.end)) if card else None


#: sort of a choice → how editors show it
_KINDS = {
    "parameter": lsp.CompletionItemKind.Variable,
    "setting": lsp.CompletionItemKind.Property,
    "word": lsp.CompletionItemKind.EnumMember,
    "unit": lsp.CompletionItemKind.Unit,
    "state": lsp.CompletionItemKind.Reference,
    "variant": lsp.CompletionItemKind.Module,
    "split": lsp.CompletionItemKind.Value,
    "file": lsp.CompletionItemKind.File,
    "module": lsp.CompletionItemKind.Field,
    "method": lsp.CompletionItemKind.Function,
    "verb": lsp.CompletionItemKind.Keyword,
    "clause": lsp.CompletionItemKind.Keyword,
}


@SERVER.feature(
    lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=list(' .$"(,='), resolve_provider=True)
)
def _complete(server: RecipeServer, params: lsp.CompletionParams) -> lsp.CompletionList | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    lines, folder = server.lines(text), path_of(params.text_document.uri).parent
    found = choices_at(text, _offset(lines, params.position), files=lambda: server.documents.recipes_in(folder))
    place = _range(lines, found.start, found.end)
    items = [
        lsp.CompletionItem(
            label=choice.label,
            kind=_KINDS[choice.sort],
            detail=choice.wrong or choice.note or choice.owner or None,
            tags=[lsp.CompletionItemTag.Deprecated] if choice.wrong else None,
            sort_text=f"{number:04}",
            filter_text=choice.label,
            text_edit=lsp.TextEdit(place, choice.insert or choice.label),
            data={"sort": choice.sort, "owner": choice.owner},
        )
        for number, choice in enumerate(found.items)
    ]
    return lsp.CompletionList(is_incomplete=False, items=items)


@SERVER.feature(lsp.COMPLETION_ITEM_RESOLVE)
def _resolve(server: RecipeServer, item: lsp.CompletionItem) -> lsp.CompletionItem:
    """The card of the choice that the editor shows in full."""
    data = item.data if isinstance(item.data, dict) else {}
    card = card_of(Choice(item.label, str(data.get("sort", "")), owner=str(data.get("owner", ""))))
    item.documentation = _markdown(card) if card else None
    return item


def _markdown(text: str) -> lsp.MarkupContent:
    return lsp.MarkupContent(lsp.MarkupKind.Markdown, text)


@SERVER.feature(lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(["(", ","], ["=", ")"]))
def _signature(server: RecipeServer, params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    found = cards.signature_at(text, _offset(server.lines(text), params.position))
    if found is None:
        return None
    shown = Lines(found.label, "utf-16")  # labels are always counted so
    parts = [
        lsp.ParameterInformation((shown.place(start)[1], shown.place(end)[1]), _markdown(said))
        for start, end, said in found.parts
    ]
    signature = lsp.SignatureInformation(found.label, _markdown(found.text), parts, found.active)
    return lsp.SignatureHelp([signature], 0, found.active)
