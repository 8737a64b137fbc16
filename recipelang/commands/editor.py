"""The command of editors: `lsp`."""

from __future__ import annotations

import sys

import click

from recipelang.commands.boundary import DONE, WrongUsage, say
from recipelang.errors import Diagnostic


@click.command()
@click.option("--stdio", is_flag=True, help="Talk over standard input and output; editors pass it, it is the default.")
def lsp(stdio: bool) -> int:
    """Serve an editor: mistakes while typing, completion, cards, definitions, renaming, formatting.

    An editor starts it and talks to it over standard input and output; docs/editors.md says how to set it up.
    """
    try:
        from recipelang.editor.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol", "cattrs", "attrs", "attr"):
            raise
        message = f"the language server needs the library `{error.name}`, which is not installed"
        raise WrongUsage([Diagnostic("RCP1027", message, help='`pip install "recipelang[lsp]"`')]) from None
    if sys.stdin.isatty():
        say("waiting for an editor on standard input; docs/editors.md says how one starts this command")
    serve()
    return DONE
