"""What to say of a loss that is not finite: where, which term, and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.plan import Term
from recipelang.units import listed


@dataclass(frozen=True)
class Looked:
    """The loss of one step.

    Attributes:
        loss: its value.
        terms: name → value, weight included, where there are several.
    """

    loss: float
    terms: Mapping[str, Tensor] = field(default_factory=dict)


def named(term: Term) -> str:
    """A term without its weight, as the curves call it."""
    return spell(term.loss) if term.loss is not None else "task"


def exploded(terms: Sequence[Term], step: int, lr: float, now: Looked, before: Looked | None) -> Refusal:
    """RCP0811, with the term that is to blame where that can be told.

    A weight above 1 is suspected if its term alone is not finite, or was most of the loss in the step before.

    Args:
        terms: of the loss; none where the task's own is trained with.
        step: which, from 1.
        lr: its learning rate.
        now: of this step.
        before: of the last step whose loss was finite; None where there was none.
    """
    broken = [name for name, value in now.terms.items() if not value.isfinite()]
    some = 0 < len(broken) < len(now.terms)
    message = f"the loss became {now.loss} at step {step}, with the learning rate {lr:g}"
    lower = f"a lower learning rate, as in `lr={lr / 10:.2g}`, or warm it up: `lr=cosine({lr:.2g}, warmup=1 epochs)`"
    if some:
        message += f"; of its terms, {listed(tuple(f'`{name}`' for name in broken))} did"
    for term in terms:
        name = named(term)
        share = _share(name, len(terms), before)
        if _heavy(term) and (name in broken if some else share is None or share > 0.5):
            if share is not None and len(terms) > 1 and not some:
                message += f"; the step before, {100 * share:.0f} % of it came from `{name}`"
            than = f" than {term.weight:g}" if isinstance(term.weight, int | float) else ""
            return Refusal("RCP0811", message, f"give `{name}` a smaller weight{than}, or write {lower}")
    return Refusal("RCP0811", message, f"write {lower}")


def _heavy(term: Term) -> bool:
    """Whether its weight may be to blame: a number above 1, or one that changes."""
    return not isinstance(term.weight, int | float) or term.weight > 1


def _share(name: str, terms: int, before: Looked | None) -> float | None:
    """Which part of the last finite loss a term was; None where it is the only one, or nothing is known."""
    if before is None or terms == 1:
        return None
    sizes = {each: abs(float(value)) for each, value in before.terms.items()}
    total = sum(sizes.values())
    return sizes[name] / total if name in sizes and total > 0 and math.isfinite(total) else 0.0
