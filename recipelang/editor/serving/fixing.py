"""Fixes of what is wrong in a text."""

from __future__ import annotations

import asyncio

from lsprotocol import types as lsp

from recipelang.editor.fixes import fixes
from recipelang.editor.offers import Fix
from recipelang.editor.serving.host import SERVER, RecipeServer, offset_of, path_of, shown_edits
from recipelang.editor.serving.texts import shown_diagnostic
from recipelang.errors import Diagnostic

#: mistakes at one place of which fixes are looked for
MOST_MISTAKES = 10


@SERVER.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
async def _act(server: RecipeServer, params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
    wanted = params.context.only
    uri, path = params.text_document.uri, path_of(params.text_document.uri)
    found = await server.analysis(uri)
    if found is None or (
        wanted and not any(str(lsp.CodeActionKind.QuickFix.value).startswith(kind) for kind in wanted)
    ):
        return None
    lines = server.lines(found.text)
    start, end = offset_of(lines, params.range.start), offset_of(lines, params.range.end)
    here = [d for d in found.diagnostics if found.here(d) and d.span and d.span.start <= end and start <= d.span.end]

    def look() -> list[tuple[Diagnostic, Fix]]:
        documents, name = server.documents, path.name
        several = here[:MOST_MISTAKES]
        return [(d, fix) for d in several for fix in fixes(found, d, lambda text: documents.as_if(path, {name: text}))]

    made = await asyncio.get_running_loop().run_in_executor(server.checker, look)
    return [
        lsp.CodeAction(
            title=fix.title,
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[shown_diagnostic(server, lines, path, found, diagnostic)],
            is_preferred=fix.sure or None,
            edit=lsp.WorkspaceEdit({uri: shown_edits(lines, fix.edits)}),
        )
        for diagnostic, fix in made
    ]
