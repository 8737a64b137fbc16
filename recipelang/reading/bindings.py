"""What `$name` stands for at one place of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recipelang.errors import Span, nearest
from recipelang.reading import trees
from recipelang.reading.notes import Notes
from recipelang.reading.wording import listing
from recipelang.syntax import nodes


@dataclass
class Bound:
    """A value under a name, by `let` or `sweep`.

    Attributes:
        value: what stands instead of `$name`; None where the `let` itself is wrong, which is noted there.
        span, path: where the name was given.
        used: whether `$name` stands anywhere.
    """

    value: Any
    span: Span
    path: str = ""
    used: bool = False


@dataclass(frozen=True)
class Bindings:
    """The names that are bound here; an inner block sees those of the outer ones.

    Attributes:
        bound: name → value.
        every: all that were ever bound in the recipe, by place, for what is never used.
    """

    bound: Mapping[str, Bound] = field(default_factory=dict)
    every: dict[tuple[str, Span], tuple[str, Bound]] = field(default_factory=dict)

    def bind(self, name: str, value: Any, span: Span, path: str) -> Bindings:
        """These bindings and one more; the later one of a name wins."""
        _, entry = self.every.setdefault((path, span), (name, Bound(value, span, path)))
        entry = Bound(value, span, path, entry.used)
        self.every[path, span] = name, entry
        return Bindings({**self.bound, name: entry}, self.every)

    def fill(self, node: Any, notes: Notes) -> Any:
        """The node with every `$name` replaced; names that are not bound are noted (RCP0206) and stay."""

        def value_of(parameter: nodes.Parameter) -> Any:
            known = self.bound.get(parameter.name)
            if known is not None:
                known.used = True
                self.every[known.path, known.span][1].used = True
                return known.value
            bound = listing([f"${name}" for name in self.bound]) if self.bound else "nothing"
            close = nearest(parameter.name, self.bound)
            only = next(iter(self.bound)) if len(self.bound) == 1 else None
            guess = close or only
            help = f"write `${guess}`" if guess else f"write `let {parameter.name} = …` above"
            notes.refuse("RCP0206", f"`${parameter.name}` is not bound here; bound: {bound}", parameter.span, help)
            return None

        return trees.substitute(node, value_of)
