"""What words are, which may follow, and how they are laid out."""

from __future__ import annotations

from lsprotocol import types as lsp

from recipelang.editor import cards, names
from recipelang.editor.completion import Choice, card_of, choices_at
from recipelang.editor.formatting import formatted
from recipelang.editor.positions import Lines
from recipelang.editor.serving.host import SERVER, RecipeServer, markdown, offset_of, path_of, range_of, shown_edits
from recipelang.editor.serving.naming import symbol_in
from recipelang.errors import RecipeError, Refusal


@SERVER.feature(lsp.TEXT_DOCUMENT_HOVER)
def _hover(server: RecipeServer, params: lsp.HoverParams) -> lsp.Hover | None:
    uri = params.text_document.uri
    text, path = server.text(uri), path_of(uri)
    if text is None:
        return None
    lines = server.lines(text)
    offset, known = offset_of(lines, params.position), server.documents.known.get(path)
    if known and known.text == text and (symbol := symbol_in(server, path, known, offset)):
        told = names.name_card(known, symbol, lambda name: server.documents.beside(path, name))
        return lsp.Hover(markdown(told), range_of(lines, symbol.here.span.start, symbol.here.span.end))
    card = cards.card_at(text, offset)
    return lsp.Hover(markdown(card.text), range_of(lines, card.start, card.end)) if card else None


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
    lines, path, documents = server.lines(text), path_of(params.text_document.uri), server.documents
    found = choices_at(
        text,
        offset_of(lines, params.position),
        modules=lambda: documents.modules_of(path),
        files=lambda: documents.recipes_in(path.parent),
    )
    place = range_of(lines, found.start, found.end)
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
    item.documentation = markdown(card) if card else None
    return item


@SERVER.feature(lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(["(", ","], ["=", ")"]))
def _signature(server: RecipeServer, params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
    text = server.text(params.text_document.uri)
    if text is None:
        return None
    found = cards.signature_at(text, offset_of(server.lines(text), params.position))
    if found is None:
        return None
    shown = Lines(found.label, "utf-16")  # labels are always counted so
    parts = [
        lsp.ParameterInformation((shown.place(start)[1], shown.place(end)[1]), markdown(said))
        for start, end, said in found.parts
    ]
    signature = lsp.SignatureInformation(found.label, markdown(found.text), parts, found.active)
    return lsp.SignatureHelp([signature], 0, found.active)


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
    return _edits(server, text, offset_of(lines, params.range.start), offset_of(lines, params.range.end))


def _edits(server: RecipeServer, text: str, start: int, end: int) -> list[lsp.TextEdit] | None:
    """The edits of the formatter; None where the text cannot be read, which its diagnostics say."""
    try:
        return shown_edits(server.lines(text), formatted(text, start, end))
    except (RecipeError, Refusal):
        return None
