"""The shape of a text: what it consists of, what folds, and what each word is there for."""

from __future__ import annotations

from lsprotocol import types as lsp

from recipelang.editor.positions import Lines
from recipelang.editor.serving.host import SERVER, RecipeServer, range_of
from recipelang.editor.structure import Entry, entries, folds
from recipelang.syntax.roles import Role, roles

_KINDS = {
    "statement": lsp.SymbolKind.Event,
    "variant": lsp.SymbolKind.Namespace,
    "parameter": lsp.SymbolKind.Variable,
    "state": lsp.SymbolKind.Field,
    "model": lsp.SymbolKind.Class,
    "data": lsp.SymbolKind.Array,
}
#: role of a word → how the protocol calls it; other words have no colour of their own
_TOKENS = {
    Role.VERB: lsp.SemanticTokenTypes.Keyword,
    Role.CLAUSE: lsp.SemanticTokenTypes.Keyword,
    Role.FUNCTION: lsp.SemanticTokenTypes.Function,
    Role.SETTING: lsp.SemanticTokenTypes.Property,
    Role.VARIABLE: lsp.SemanticTokenTypes.Variable,
    Role.NUMBER: lsp.SemanticTokenTypes.Number,
    Role.PATTERN: lsp.SemanticTokenTypes.Number,
    Role.RANGE: lsp.SemanticTokenTypes.Number,
    Role.STRING: lsp.SemanticTokenTypes.String,
    Role.COMPARISON: lsp.SemanticTokenTypes.Operator,
    Role.OPERATOR: lsp.SemanticTokenTypes.Operator,
    Role.COMMENT: lsp.SemanticTokenTypes.Comment,
}
_LEGEND = tuple(dict.fromkeys(_TOKENS.values()))


@SERVER.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def _outline(server: RecipeServer, params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    lines = server.lines(text)
    return [_symbol(lines, entry) for entry in entries(text)]


def _symbol(lines: Lines, entry: Entry) -> lsp.DocumentSymbol:
    return lsp.DocumentSymbol(
        name=entry.title,
        kind=_KINDS[entry.sort],
        range=range_of(lines, entry.start, entry.end),
        selection_range=range_of(lines, entry.name_start, entry.name_end),
        children=[_symbol(lines, inner) for inner in entry.inner],
    )


@SERVER.feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)
def _fold(server: RecipeServer, params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange] | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    comment = lsp.FoldingRangeKind.Comment
    return [
        lsp.FoldingRange(fold.first - 1, fold.last - 1, kind=comment if fold.sort == "comment" else None)
        for fold in folds(text)
    ]


@SERVER.feature(
    lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL,
    lsp.SemanticTokensLegend([kind.value for kind in _LEGEND], []),
)
def _colour(server: RecipeServer, params: lsp.SemanticTokensParams) -> lsp.SemanticTokens | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    lines, data = server.lines(text), list[int]()
    line, column = 0, 0
    for word, role in roles(text):
        kind = _TOKENS.get(role)
        if kind is None:
            continue
        at, first = lines.place(word.start)
        data += (at - line, first - column if at == line else first, lines.size(word.text), _LEGEND.index(kind), 0)
        line, column = at, first
    return lsp.SemanticTokens(data)
