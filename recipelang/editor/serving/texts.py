"""Texts that are opened, changed and closed, and what is wrong with them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from lsprotocol import types as lsp

from recipelang import __version__
from recipelang.editor import cards
from recipelang.editor.analysis import Analysis, place_in
from recipelang.editor.formatting import prepare
from recipelang.editor.positions import Lines
from recipelang.editor.serving.host import SERVER, RecipeServer, path_of, range_of
from recipelang.errors import Diagnostic
from recipelang.plugins import raised_by_one

#: seconds without typing before a text is checked
QUIET = 0.15
#: a longer text is laid out in advance, so that formatting it is answered at once
LONG = 20_000
#: warnings of names that nothing uses, which editors show faded
UNUSED = ("RCP0250", "RCP0251")
#: seconds between two looks whether the editor is still there
WATCH = 5.0


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


@SERVER.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
@SERVER.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
def _saved(server: RecipeServer, params: lsp.DidSaveTextDocumentParams | lsp.DidChangeWatchedFilesParams) -> None:
    """Other texts may use a file that was saved or has changed, and the profile may be among them."""
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
    _schedule_users(server, path)  # what was typed and not saved is gone


def _changed(server: RecipeServer, uri: str, text: str) -> None:
    """Take a new text and check it soon, and those that use it."""
    path = path_of(uri)
    server.documents.texts[path] = text
    _schedule(server, uri)
    _schedule_users(server, path)


def _schedule_users(server: RecipeServer, path: Path) -> None:
    """Check the open texts that use a file."""
    users = set(server.documents.users_of(path))
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
    try:
        found = await loop.run_in_executor(server.checker, server.documents.analyse, path, text)
    except Exception as error:  # a bug of ours or of a plug-in: the other questions are still answered
        _failed(server, uri, error)
        return
    if server.documents.texts.get(path) != text:
        return  # it changed meanwhile, and is checked again
    shown = shown_diagnostics(server, path, found)
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, shown))
    if len(text) > LONG:
        await loop.run_in_executor(server.checker, prepare, text)


def _failed(server: RecipeServer, uri: str, error: Exception) -> None:
    """Say that a text could not be checked, and whose fault it is."""
    theirs = raised_by_one(error)
    whose = theirs.message if theirs else f"this is a bug in recipelang {__version__}: {type(error).__name__}: {error}"
    server.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"{whose} (while checking {uri})"))
    start = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 1))
    shown = lsp.Diagnostic(start, f"the recipe could not be checked: {whose}", source="recipe")
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, [shown]))


def shown_diagnostics(server: RecipeServer, path: Path, found: Analysis) -> list[lsp.Diagnostic]:
    """The diagnostics of a document as the protocol has them."""
    lines = server.lines(found.text)
    return [shown_diagnostic(server, lines, path, found, diagnostic) for diagnostic in found.diagnostics]


def shown_diagnostic(
    server: RecipeServer, lines: Lines, path: Path, found: Analysis, diagnostic: Diagnostic
) -> lsp.Diagnostic:
    """One diagnostic as the protocol has it; one of another file is shown at the `use` that leads there."""
    said = diagnostic.message + (f"\nhelp: {diagnostic.help}" if diagnostic.help else "")
    place = range_of(lines, 0, 0)
    related = None
    if found.here(diagnostic):
        if diagnostic.span:
            start = min(diagnostic.span.start, len(found.text))
            place = range_of(lines, start, max(diagnostic.span.end, min(start + 1, len(found.text))))
    else:
        used = place_in(found.recipe, diagnostic.path)
        if used:
            place = range_of(lines, used.span.start, used.span.end)
        line = f":{diagnostic.span.line}" if diagnostic.span else ""
        related = _elsewhere(server, path, diagnostic)
        said = f"{diagnostic.path}{line}: {said}"
    severity = lsp.DiagnosticSeverity.Warning if diagnostic.severity == "warning" else lsp.DiagnosticSeverity.Error
    return lsp.Diagnostic(
        place,
        said,
        severity=severity,
        code=diagnostic.code,
        source="recipe",
        tags=[lsp.DiagnosticTag.Unnecessary] if diagnostic.code in UNUSED else None,
        related_information=related,
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
    place = lsp.Location(other.as_uri(), range_of(lines, span.start, span.end) if span else range_of(lines, 0, 0))
    return [lsp.DiagnosticRelatedInformation(place, diagnostic.message)]
