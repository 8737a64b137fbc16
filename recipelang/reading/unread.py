"""What could not be read, and which mistakes of the rest it may be the reason of.

A statement that cannot be read may have given a name, opened variants or chosen one; what is only wrong because that
is missing is not said. What no unread statement can mend is said, whatever else stands in the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from recipelang.errors import Diagnostic
from recipelang.reading.verb import Verb
from recipelang.syntax import nodes
from recipelang.syntax.grammar import RESERVED
from recipelang.syntax.place import resembles
from recipelang.syntax.show import show

#: names that nothing gives: the statement that gives them may be unread
NAMES = ("RCP0205", "RCP0206", "RCP0208", "RCP0209")
#: what may be wrong only because a brace is unread: names in two blocks, blocks, the order of statements
OF_BLOCKS = ("RCP0207", "RCP0213", "RCP0407", "RCP05")
#: of those, what a statement says by itself: the split that it chooses by or learns from
OF_ITSELF = ("RCP0509", "RCP0513")
#: code → whether a statement of this verb would mend it; what is of the order of statements and not here, any would
MENDED_BY: Mapping[str, Callable[[Verb], bool]] = {
    "RCP0207": lambda verb: False,
    "RCP0213": lambda verb: verb.joins,
    "RCP0407": lambda verb: False,
    "RCP0501": lambda verb: getattr(verb.operation, "restricts", False),
    "RCP0502": lambda verb: verb.joins,
    "RCP0503": lambda verb: bool(verb.provides),
    "RCP0504": lambda verb: False,
    "RCP0505": lambda verb: bool(verb.provides),
    "RCP0506": lambda verb: False,
    "RCP0507": lambda verb: verb.block,
    "RCP0508": lambda verb: verb.verdict,
    "RCP0510": lambda verb: False,
    "RCP0512": lambda verb: False,
    "RCP0915": lambda verb: getattr(verb.operation, "restricts", False),
    "RCP1301": lambda verb: getattr(verb.operation, "restricts", False),
}
#: of longer texts nobody asks which word of them is which verb
MOST_WORDS = 2000


@dataclass
class Unread:
    """What is known of the statements that could not be read.

    Attributes:
        find_verb, verb_names: the verb of a name, and all names.
        words: every word of them.
        verbs: the verbs that they may be of.
        anything: whether they may be of any verb.
        everything: whether a whole file is among them, so that they may hold any name.
        braces: whether a brace is among what could not be read, so that blocks may end elsewhere.
    """

    find_verb: Callable[[str], Verb | None]
    verb_names: tuple[str, ...]
    words: set[str] = field(default_factory=set)
    verbs: list[Verb] = field(default_factory=list)
    anything: bool = False
    everything: bool = False
    braces: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything that could not be read."""
        return bool(self.words) or self.anything or self.braces

    def text(self, text: str) -> None:
        """A stretch that the parser could not read, or several, on the lines where they stand."""
        lines = [found for line in text.split("\n") if (found := re.findall(r"\w+", line))]
        words = {word for found in lines for word in found}
        self.braces = self.braces or "{" in text or "}" in text
        if len(words) > MOST_WORDS:
            self.anything = self.everything = True
            return
        self.words |= words
        meant = {word: resembles(word, self.verb_names) for word in words if len(word) < 20}
        self._may_be(verb for verb in meant.values() if verb)
        self.anything = self.anything or not all(meant.get(found[0]) or found[0] in RESERVED for found in lines)

    def unknown(self, statement: nodes.Statement) -> None:
        """A statement whose verb there is not; its block, if it has one, is read."""
        head = nodes.Statement(statement.verb, statement.operands, statement.clauses, None, statement.span)
        self.text(show(head))
        if statement.block:
            self._may_be(name for name in self.verb_names if (verb := self.find_verb(name)) and verb.block)

    def refused(self, statement: nodes.Statement, verb: Verb) -> None:
        """A statement that was read and is wrong: it may give names, and does not do what its verb does."""
        given = [a for clause in statement.clauses if clause.word.text == "as" for a in clause.arguments]
        self.words.update(show(node) for node in (*given, *(statement.operands if verb.block else ())))
        self.words.add(statement.verb.text)
        self.verbs.append(verb)

    def _may_be(self, names: Iterable[str]) -> None:
        self.verbs += [verb for name in names if (verb := self.find_verb(name))]

    def explains(self, found: Diagnostic) -> bool:
        """Whether a mistake may be there only because of what could not be read."""
        if not self or found.code in OF_ITSELF:
            return False
        if self.braces and found.code.startswith((*NAMES, *OF_BLOCKS)):
            return True
        if found.code in NAMES:
            quoted = re.search(r"`([^`]*)`", found.message)
            named = re.findall(r"\w+", quoted[1]) if quoted else []
            return self.everything or not named or named[-1] in self.words
        if not found.code.startswith(OF_BLOCKS) and found.code not in MENDED_BY:
            return False
        mended = MENDED_BY.get(found.code)
        return mended is None or any(mended(verb) for verb in self.verbs) or (self.anything and mended(ANY))


class _Any:
    restricts = True


#: a statement that may be of any verb
ANY = Verb("", "", (), "", lambda reader: None, _Any, joins=True, provides="model", block=True, verdict=True)
