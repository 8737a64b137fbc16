"""Cross-layer equalization: the same function, with ranges that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

from recipelang.errors import Refusal
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.stages._pairs import Found, require_pairs
from recipelang.stages._reasons import by_reason
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.equalizing import equalized, pairs_of
from recipelang.surgery.network import Network
from recipelang.verbs.equalize import Equalize


def run(operation: Equalize, context: Context) -> Outcome:
    """Equalize the pairs of layers of the selection.

    Raises:
        Refusal: RCP1437: a weight is quantized. RCP1438: no two layers can be equalized.
    """
    pairs, left = _require(operation, context.network)
    network, moved, stay = equalized(context.network, pairs)
    return Outcome(
        network,
        reached=(_counted(len(moved)),),
        note=_left(left | stay),
        edits=tuple(f"channels of `{name}` are scaled by up to {exp(most):.3g}" for name, most in moved.items()),
    )


def foresee(operation: Equalize, network: Network, known: Known) -> Foresight:
    """How many pairs there are.

    Raises:
        Refusal: as `run`.
    """
    pairs, left = _require(operation, network)
    return Foresight(tuple(filter(None, (words((_counted(len(pairs)),)), _left(left)))))


def _require(operation: Equalize, network: Network) -> Found:
    return require_pairs(network, operation.selection, pairs_of, "equalize", _none)


def _none(why: str) -> Refusal:
    return Refusal(
        "RCP1438",
        f"no two layers can be equalized: {why}",
        "leave `equalize` out; ranges for each channel (`per=channel`) need it less",
    )


def _counted(count: int) -> Figure:
    return Figure(f"{'is' if count == 1 else 'are'} equalized", count, noun="pair")


def _left(left: Mapping[str, str]) -> str:
    """What begins no pair, by reason."""
    return f"begins no pair: {'; '.join(by_reason(left, 'layer'))}" if left else ""
