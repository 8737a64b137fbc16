"""The lexer that Pygments finds by its entry point: recipes in colour in Sphinx, rich, Jupyter and `pygmentize`.

Pygments itself comes with rich; nothing but Pygments imports this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pygments.lexer import Lexer
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from recipelang.syntax.roles import Role, roles

#: role of a word → token type of Pygments
TYPES = {
    Role.VERB: Keyword,
    Role.CLAUSE: Keyword.Pseudo,
    Role.NAME: Name,
    Role.FUNCTION: Name.Function,
    Role.SETTING: Name.Attribute,
    Role.VARIABLE: Name.Variable,
    Role.NUMBER: Number,
    Role.PATTERN: Number,
    Role.RANGE: Number,
    Role.STRING: String.Double,
    Role.COMPARISON: Operator,
    Role.OPERATOR: Operator,
    Role.PUNCTUATION: Punctuation,
    Role.COMMENT: Comment.Single,
    Role.STRAY: Error,
}


class RecipeLexer(Lexer):
    """Recipes of recipelang: the language's own scanner, so that nothing can be coloured in another way than read."""

    name = "Recipe"
    aliases = ["recipe", "rcp"]
    filenames = ["*.rcp"]
    mimetypes = ["text/x-recipe"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        """Every stretch of the text in order, as (offset, type, text); joined they are the text.

        Args:
            text: a recipe, right or wrong; what is nothing of the language becomes `Error`.
        """
        at = 0
        for token, role in roles(text):
            if at < token.start:
                yield at, Whitespace, text[at : token.start]
            yield token.start, Whitespace if token.text == "\n" else TYPES[role], token.text
            at = token.end
        if at < len(text):
            yield at, Whitespace, text[at:]
