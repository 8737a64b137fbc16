"""High-bias absorption: activations with smaller ranges."""

from __future__ import annotations

from collections.abc import Mapping

from recipelang.errors import Refusal
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.stages._pairs import Found, require_pairs
from recipelang.stages._reasons import by_reason
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.absorbing import absorbed, absorbing
from recipelang.surgery.network import Network
from recipelang.verbs.absorb import Absorb

LOW = "no channel is above zero by three deviations"


def run(operation: Absorb, context: Context) -> Outcome:
    """Let layers absorb what the norms before them add.

    Raises:
        Refusal: RCP1437: the network is quantized. RCP1438: no layer can absorb anything.
    """
    pairs, left = _require(operation, context.network)
    network, moved = absorbed(context.network, pairs)
    return Outcome(
        network,
        reached=(Figure("absorbed what comes before", len(moved), noun="layer"),),
        note=_left(left | {pair.first: LOW for pair in pairs if pair.first not in moved}),
        edits=tuple(f"what follows `{name}` absorbs up to {most:.3g}" for name, most in moved.items()),
    )


def foresee(operation: Absorb, network: Network, known: Known) -> Foresight:
    """How many layers could.

    Raises:
        Refusal: as `run`.
    """
    pairs, left = _require(operation, network)
    found = (Figure("can absorb", len(pairs), noun="layer"),)
    return Foresight(tuple(filter(None, (words(found), _left(left)))))


def _require(operation: Absorb, network: Network) -> Found:
    return require_pairs(network, operation.selection, absorbing, "absorb biases", _none)


def _none(why: str) -> Refusal:
    return Refusal("RCP1438", f"no layer can absorb a bias: {why}", "leave `absorb biases` out")


def _left(left: Mapping[str, str]) -> str:
    """What gives nothing to absorb, by reason."""
    return f"stays: {'; '.join(by_reason(left, 'layer'))}" if left else ""
