"""From a name in a recipe to a method of the catalogue, or to a message that helps; and misspelt clause
words, which look like names."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.errors import Refusal, did_you_mean, nearest
from recipelang.meaning import trees
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.pathlike import meant_by
from recipelang.meaning.wording import KINDS, listing, one_of
from recipelang.syntax import nodes
from recipelang.syntax.grammar import CLAUSES
from recipelang.units import listed


def lookup(call: nodes.Call, kinds: tuple[str, ...], place: str, refuse: Refuse) -> tuple[str, type] | None:
    """The kind and class of the method that a call names.

    Args:
        call: `kd(T=4)`, or a dotted `torchvision.resnet18` whose rest a setting takes.
        kinds: the kinds that are allowed here, in order of preference.
        place: the place that takes it, for messages: "`with`".
        refuse: notes RCP0202 (no such name) or RCP0203 (a name of another kind).
    """
    for kind in kinds:
        try:
            found = catalogue.find(kind, call.path[0].text)
        except Refusal as refusal:  # a plug-in
            refuse(refusal.code, refusal.message, call.name_span, refusal.help)
            return None
        if found and (len(call.path) == 1 or any(s.dotted for s in catalogue.settings(found))):
            return kind, found
    known = sorted({name for kind in kinds for name in catalogue.names(kind)})
    choices = f"{listed(KINDS[kind].many for kind in kinds)} here: {listing(known)}"
    elsewhere = [kind for kind in catalogue.kinds_of(call.path[0].text) if kind not in kinds]
    if elsewhere:
        is_one, belongs = KINDS[elsewhere[0]].one, KINDS[elsewhere[0]].place
        message = f"`{call.name}` is {is_one}; {place} takes {one_of(kinds)}"
        # Where the same word takes both (`with` of `train` and of `sparsify`), its place does not help.
        move = "" if "`with`" in place and belongs == "after `with`" else f"write it {belongs}; "
        refuse("RCP0203", message, call.name_span, move + choices)
    else:
        kind_words = listed((KINDS[kind].one.split(" ", 1)[1] for kind in kinds), last="or")
        whole = _dotted(call.name, kinds)
        guess = f"did you mean {whole}? " if whole else did_you_mean(call.name, known)
        if meant := next((help for kind in kinds if (help := meant_by(kind, call.name))), ""):
            guess, choices = meant, ""
        refuse("RCP0202", f"there is no {kind_words} `{call.name}`", call.name_span, guess + choices)
    return None


def _dotted(rest: str, kinds: tuple[str, ...]) -> str:
    """The names whose part after the dot this is: `timm.resnet18` or `torchvision.resnet18`; "" where there is none."""
    methods = ((name, catalogue.find(kind, name)) for kind in kinds for name in catalogue.names(kind))
    heads = (name for name, method in methods if rest in getattr(method, "dotted_names", frozenset)())
    return " or ".join(f"`{head}.{rest}`" for head in heads)


def misspelt_clause(node: Any, *, first: bool = False) -> tuple[nodes.Call, str] | None:
    """A word that looks like a clause word, and what was meant: `untill` in `imprint untill latency < 0.7`.

    Args:
        node: words, or a comparison that begins with them.
        first: whether the first word may be one too, where only clauses are allowed: `repeat wile top1 > 90%`.
    """
    words = trees.words(node.left if isinstance(node, nodes.Compare) else node)
    if len(words) < 2:
        return None
    for word, follows in zip(words, (*words[1:], None), strict=True):
        if word is words[0] and not first:
            continue
        text = trees.bare_word(word)
        close = nearest(text, CLAUSES) if text else None
        if text and close and abs(len(text) - len(close)) < 2 and not catalogue.kinds_of(text):
            timed = isinstance(follows, nodes.Number) and follows.quantity.dimension in ("epochs", "steps")
            return word, "for" if timed and close == "from" else close
    return None
