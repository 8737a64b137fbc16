"""Names of recipes: where they are given and used, and other names for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams

from recipelang.editor import names
from recipelang.editor.analysis import Analysis
from recipelang.editor.cursor import cursor
from recipelang.editor.names import Symbol
from recipelang.editor.serving.host import SERVER, RecipeServer, offset_of, path_of, range_of, shown_edits
from recipelang.errors import Refusal
from recipelang.meaning.mentions import Mention


def symbol_in(server: RecipeServer, path: Path, found: Analysis, offset: int) -> Symbol | None:
    """The name at an offset; None too where the file that gives it cannot be read any more."""
    try:
        return names.symbol_at(found, offset, lambda name: server.documents.beside(path, name))
    except (OSError, UnicodeDecodeError):
        return None


async def _named(server: RecipeServer, uri: str, position: lsp.Position) -> tuple[Path, Analysis, Symbol] | None:
    """The recipe and the name that a request is about."""
    found = await server.analysis(uri)
    if found is None:
        return None
    symbol = symbol_in(server, path_of(uri), found, offset_of(server.lines(found.text), position))
    return (path_of(uri), found, symbol) if symbol else None


def _locations(server: RecipeServer, uri: str, found: Analysis, words: Iterable[Mention]) -> list[lsp.Location]:
    """Where words are, in this document and in files that it uses."""
    path, made = path_of(uri), list[lsp.Location]()
    for name, several in groupby(words, key=lambda word: word.path):
        own = name == found.recipe.path
        lines = server.lines(found.text if own else server.documents.beside(path, name))
        there = uri if own else (path.parent / name).as_uri()
        made += [lsp.Location(there, range_of(lines, word.span.start, word.span.end)) for word in several]
    return made


@SERVER.feature(lsp.TEXT_DOCUMENT_DEFINITION)
async def _define(server: RecipeServer, params: lsp.DefinitionParams) -> lsp.Location | None:
    named = await _named(server, params.text_document.uri, params.position)
    if named is None:
        return await _used_file(server, params)
    return _locations(server, params.text_document.uri, named[1], (named[2].given,))[0]


async def _used_file(server: RecipeServer, params: lsp.DefinitionParams) -> lsp.Location | None:
    """The file that a `use` names."""
    uri = params.text_document.uri
    found, path = await server.analysis(uri), path_of(uri)
    if found is None or not path.is_absolute():
        return None
    word = cursor(found.text, offset_of(server.lines(found.text), params.position), within=True).typed
    name = word.text.strip('"') if word and word.type == "STRING" else ""
    place = path.parent / name
    if name not in found.files or not place.is_file():
        return None
    start = lsp.Position(0, 0)
    return lsp.Location(place.as_uri(), lsp.Range(start, start))


@SERVER.feature(lsp.TEXT_DOCUMENT_REFERENCES)
async def _refer(server: RecipeServer, params: lsp.ReferenceParams) -> list[lsp.Location] | None:
    named = await _named(server, params.text_document.uri, params.position)
    if named is None:
        return None
    _, found, symbol = named
    words = (*((symbol.given,) if params.context.include_declaration else ()), *symbol.uses)
    return _locations(server, params.text_document.uri, found, words)


@SERVER.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
async def _highlight(server: RecipeServer, params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight] | None:
    named = await _named(server, params.text_document.uri, params.position)
    if named is None:
        return None
    _, found, symbol = named
    lines = server.lines(found.text)
    return [
        lsp.DocumentHighlight(
            range_of(lines, word.span.start, word.span.end),
            lsp.DocumentHighlightKind.Write if word == symbol.given else lsp.DocumentHighlightKind.Read,
        )
        for word in (symbol.given, *symbol.uses)
        if word.path == found.recipe.path
    ]


@SERVER.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
async def _may_rename(server: RecipeServer, params: lsp.PrepareRenameParams) -> lsp.PrepareRenamePlaceholder | None:
    named = await _named(server, params.text_document.uri, params.position)
    if named is None:
        return None
    _, found, symbol = named
    span = symbol.here.span
    start = span.start + (found.text[span.start] == "$")
    return lsp.PrepareRenamePlaceholder(range_of(server.lines(found.text), start, span.end), symbol.name)


@SERVER.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
async def _rename(server: RecipeServer, params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
    named = await _named(server, params.text_document.uri, params.position)
    if named is None:
        return None
    path, found, symbol = named
    documents = server.documents

    def again(texts: Mapping[str, str]) -> Analysis:
        return documents.as_if(path, {path.name: found.text, **texts})

    try:
        made = names.renamed(found, symbol, params.new_name, lambda name: documents.beside(path, name), again)
    except Refusal as refusal:
        raise JsonRpcInvalidParams(f"{refusal.message}: {refusal.help}") from None
    changes = {}
    for name, edits in made.items():
        own = name == found.recipe.path
        uri = params.text_document.uri if own else (path.parent / name).as_uri()
        changes[uri] = shown_edits(server.lines(found.text if own else documents.beside(path, name)), edits)
    return lsp.WorkspaceEdit(changes)
