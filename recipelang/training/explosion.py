"""What to say of a loss that is not finite: where, which term, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.plan import Term
from recipelang.units import listed


def named(term: Term) -> str:
    """A term without its weight, as the curves call it."""
    return spell(term.loss) if term.loss is not None else "task"


def exploded(
    loss: float, step: int, lr: float, terms: Sequence[Term], now: Mapping[str, Tensor], before: Mapping[str, Tensor]
) -> Refusal:
    """RCP0811, with the term that is to blame where that can be told.

    A weight above 1 is suspected where its term is the only one, where its term and not all of them became infinite,
    or where it was more than half of the loss in the step before.

    Args:
        loss: its value, not finite.
        step: which, from 1.
        lr: its learning rate.
        terms: of the loss; none where the task's own is trained with.
        now: name of a term → its value in this step, weight included; empty where there are not several.
        before: the same in the step before; empty where there was none.
    """
    message = f"the loss became {loss} at step {step}, with the learning rate {lr:g}"
    lower = f"write a lower learning rate, as in `lr={lr / 10:.2g}`, or warm it up: "
    lower += f"`lr=cosine({lr:.2g}, warmup=1 epochs)`"
    broken = [name for name, value in now.items() if not value.isfinite()]
    shares: dict[str, float] = {}
    if 0 < len(broken) < len(now):
        message += f"; of its terms, {listed(tuple(f'`{name}`' for name in broken))} did"
        suspects = broken
    elif len(terms) == 1:
        suspects = [named(terms[0])]
    else:
        shares = _shares(before)
        suspects = [name for name, share in shares.items() if share > 0.5]
    heavy = next((term for term in terms if named(term) in suspects and _heavy(term)), None)
    if heavy is None:
        return Refusal("RCP0811", message, lower)
    name = named(heavy)
    if name in shares:
        message += f"; the step before, {100 * shares[name]:.0f} % of it came from `{name}`"
    than = f" than {heavy.weight:g}" if isinstance(heavy.weight, int | float) else ""
    return Refusal("RCP0811", message, f"give `{name}` a smaller weight{than}, or {lower}")


def _heavy(term: Term) -> bool:
    """Whether its weight may be to blame: a number above 1, or one that changes."""
    return not isinstance(term.weight, int | float) or term.weight > 1


def _shares(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Which part of a loss each of its terms was, by size."""
    sizes = {name: abs(float(value)) for name, value in terms.items()}
    total = sum(sizes.values())
    return {name: size / total for name, size in sizes.items()} if total > 0 else {}
