"""What could not be read, and which mistakes in the rest it may have caused.

A statement that cannot be read may have given a name, opened variants or chosen one; a mistake that is only due to its
absence is not reported. A mistake that no unread statement could resolve is always reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from recipelang.errors import Diagnostic, Refusal
from recipelang.meaning.verb import Verb
from recipelang.syntax import nodes
from recipelang.syntax.grammar import RESERVED
from recipelang.syntax.place import resembles
from recipelang.syntax.show import show

#: unknown names: the statement that gives them may be unread
NAMES = ("RCP0205", "RCP0206", "RCP0208", "RCP0209")
#: mistakes that may be due to an unread brace: names in two blocks, blocks, the order of statements
OF_BLOCKS = ("RCP0207", "RCP0213", "RCP0407", "RCP05")
#: of those, mistakes within a single statement: the split that it chooses by or trains on
OF_ITSELF = ("RCP0509", "RCP0513")
#: code → whether a statement of this verb would resolve it; any would for the codes of the order that are not listed
RESOLVED_BY: Mapping[str, Callable[[Verb], bool]] = {
    "RCP0207": lambda verb: False,
    "RCP0213": lambda verb: verb.joins,
    "RCP0407": lambda verb: False,
    "RCP0437": lambda verb: verb.throughout,
    "RCP0438": lambda verb: verb.throughout,
    "RCP0501": lambda verb: verb.restricts,
    "RCP0502": lambda verb: verb.joins,
    "RCP0503": lambda verb: bool(verb.provides),
    "RCP0504": lambda verb: False,
    "RCP0505": lambda verb: bool(verb.provides),
    "RCP0506": lambda verb: False,
    "RCP0507": lambda verb: verb.block,
    "RCP0508": lambda verb: verb.verdict,
    "RCP0510": lambda verb: False,
    "RCP0512": lambda verb: False,
    "RCP0591": lambda verb: verb.restricts or not (verb.operation is None or verb.operation.before_healthy),
    "RCP0915": lambda verb: verb.restricts,
    "RCP1301": lambda verb: verb.restricts,
    "RCP1445": lambda verb: verb.restricts,
}
#: longer unread texts are not searched for verbs
MOST_WORDS = 2000


@dataclass
class Unread:
    """What is known of the statements that could not be read.

    Attributes:
        find_verb, verb_names: the verb of a name, and all names.
        why_no_verb: what is wrong with the verb of a plug-in.
        words: all their words.
        verbs: the verbs that they may be of.
        anything: whether they may be of any verb.
        everything: whether a whole file is among them, so that they may hold any name.
        braces: whether a brace is among what could not be read, so that blocks may end elsewhere.
    """

    find_verb: Callable[[str], Verb | None]
    verb_names: Callable[[], tuple[str, ...]]
    why_no_verb: Callable[[str], Refusal | None] = lambda name: None
    words: set[str] = field(default_factory=set)
    verbs: list[Verb] = field(default_factory=list)
    anything: bool = False
    everything: bool = False
    braces: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything that could not be read."""
        return bool(self.words) or self.anything or self.braces

    def text(self, text: str) -> None:
        """Add one or more stretches that the parser could not read, on the lines where they are."""
        lines = [found for line in text.split("\n") if (found := re.findall(r"\w+", line))]
        words = {word for found in lines for word in found}
        self.braces = self.braces or "{" in text or "}" in text
        if len(words) > MOST_WORDS:
            self.anything = self.everything = True
            return
        self.words |= words
        meant = {word: resembles(word, self.verb_names()) for word in words if len(word) < 20}
        self._may_be(verb for verb in meant.values() if verb)
        self.anything = self.anything or not all(meant.get(found[0]) or found[0] in RESERVED for found in lines)

    def unknown(self, statement: nodes.Statement) -> None:
        """Add a statement whose verb does not exist; its block, if it has one, is read."""
        head = nodes.Statement(statement.verb, statement.operands, statement.clauses, None, statement.span)
        self.text(show(head))
        if statement.block:
            self._may_be(name for name in self.verb_names() if (verb := self.find_verb(name)) and verb.block)

    def refused(self, statement: nodes.Statement, verb: Verb) -> None:
        """Add a statement that was read and is wrong: it may give names, and does not do what its verb does."""
        given = [a for clause in statement.clauses if clause.word.text == "as" for a in clause.arguments]
        self.words.update(show(node) for node in (*given, *(statement.operands if verb.block else ())))
        self.words.add(statement.verb.text)
        self.verbs.append(verb)

    def _may_be(self, names: Iterable[str]) -> None:
        self.verbs += [verb for name in names if (verb := self.find_verb(name))]

    def explains(self, found: Diagnostic) -> bool:
        """Whether a mistake may be due only to what could not be read."""
        if not self or found.code in OF_ITSELF:
            return False
        if self.braces and found.code.startswith((*NAMES, *OF_BLOCKS)):
            return True
        if found.code in NAMES:
            quoted = re.search(r"`([^`]*)`", found.message)
            named = re.findall(r"\w+", quoted[1]) if quoted else []
            return self.everything or not named or named[-1] in self.words
        if not found.code.startswith(OF_BLOCKS) and found.code not in RESOLVED_BY:
            return False
        resolved = RESOLVED_BY.get(found.code)
        return resolved is None or any(resolved(verb) for verb in self.verbs) or (self.anything and resolved(ANY))


#: a statement that may be of any verb
ANY = Verb(
    "",
    "",
    (),
    "",
    lambda reader: None,
    joins=True,
    provides="model",
    block=True,
    verdict=True,
    restricts=True,
    throughout=True,
)
