"""The shape of a statement compared with what its verb accepts: clauses, block, place."""

from __future__ import annotations

from collections.abc import Iterable

from recipelang.errors import nearest
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.verb import Verb
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes
from recipelang.syntax.grammar import CLAUSES
from recipelang.syntax.place import resembles


def unknown_verb(statement: nodes.Statement, known: Iterable[str], refuse: Refuse) -> None:
    """Note a word that is not a verb (RCP0201)."""
    word = statement.verb.text
    clause, close = resembles(word, CLAUSES), nearest(word, known)
    help = f"did you mean `{close}`? `recipe list verb` shows all" if close else f"verbs: {', '.join(sorted(known))}"
    if clause and statement.operands:
        help = f"write `{clause}` if the statement above continues here"
    refuse("RCP0201", f"`{word}` is not a verb", statement.verb.span, help)


def check(verb: Verb, statement: nodes.Statement, top: bool, refuse: Refuse) -> None:
    """Note clauses that the verb does not take or that appear twice, and a block that is missing or one too many."""
    name = statement.verb.text
    lost_block = verb.block and statement.block is None  # its clauses belong to what should be inside
    seen: dict[str, nodes.Clause] = {}
    for clause in statement.clauses:
        word = clause.word.text
        if word in seen:
            refuse(
                "RCP0402",
                f"`{word}` appears twice",
                clause.word.span,
                f"write each clause once; the first is {seen[word].word.span.at(clause.word.span)}",
            )
        elif verb.clause(word) is None and not lost_block:
            takes = [c.word for c in verb.clauses]
            help = f"its clauses: {listing(takes)}" if takes else f"`{name}` has no clauses"
            refuse("RCP0401", f"`{name}` takes no `{word}`", clause.word.span, help)
        seen[word] = clause
    if lost_block:
        refuse("RCP0407", f"`{name}` needs a block", statement.verb.span, f"write `{name} … {{ … }}`")
    elif statement.block and not verb.block:
        help = "blocks follow `variant`, `sweep` and `repeat`"
        refuse("RCP0407", f"`{name}` has no block", statement.block.span, help)
    if verb.top_level and not top:
        help = "move the line out of the block, above the first variant"
        refuse("RCP0512", f"`{name}` cannot be inside a block", statement.verb.span, help)
