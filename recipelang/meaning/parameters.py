"""What `$name` stands for at one place of a recipe."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import Any

from recipelang.errors import Span, nearest
from recipelang.meaning import trees
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.trees import Extent
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes


@dataclass
class Bound:
    """A value under a name, by `let` or `sweep`.

    Attributes:
        value: what replaces `$name`; None where the `let` itself is wrong, which is noted there.
        extent: how large it is, with the values that it names filled in.
        span, path: where the name was given.
        used: whether `$name` is used anywhere.
    """

    value: Any
    extent: Extent
    span: Span
    path: str = ""
    used: bool = False


@dataclass(frozen=True)
class Bindings:
    """The names that are bound here; an inner block sees those of the outer ones.

    Attributes:
        bound: name → value, the innermost block first.
        every: all that were ever bound in the recipe, by place, to find those never used.
    """

    bound: ChainMap[str, Bound] = field(default_factory=ChainMap)
    every: dict[tuple[str, Span], tuple[str, Bound]] = field(default_factory=dict)

    def inner(self) -> Bindings:
        """These bindings for a block, which binds names of its own."""
        return Bindings(self.bound.new_child(), self.every)

    def bind(self, name: str, value: Any, extent: Extent, span: Span, path: str) -> None:
        """Bind a name in this block, in place of an earlier value. The arguments are those of `Bound`."""
        used = self.every[path, span][1].used if (path, span) in self.every else False
        entry = Bound(value, extent, span, path, used)
        self.every[path, span] = name, entry
        self.bound[name] = entry

    def extent(self, node: Any) -> Extent:
        """How large a node is with the values of its parameters filled in."""
        return trees.extent(node, self._extent)

    def _extent(self, name: str) -> Extent | None:
        known = self.bound.get(name)
        return known.extent if known else None

    def fill(self, node: Any, notes: Notes) -> Any:
        """The node with every `$name` replaced; names that are not bound are noted (RCP0206) and stay."""

        def value_of(parameter: nodes.Parameter) -> Any:
            known = self.bound.get(parameter.name)
            if known is not None:
                known.used = True
                self.every[known.path, known.span][1].used = True
                notes.mentions.use(notes.path, parameter.span, known.span, known.path)
                return known.value
            bound = listing([f"${name}" for name in self.bound]) if self.bound else "nothing"
            close = nearest(parameter.name, self.bound)
            only = next(iter(self.bound)) if len(self.bound) == 1 else None
            guess = close or only
            help = f"write `${guess}`" if guess else f"write `let {parameter.name} = …` above"
            notes.refuse("RCP0206", f"`${parameter.name}` is not bound here; bound: {bound}", parameter.span, help)
            return None

        return trees.substitute(node, value_of)
