"""High-bias absorption: activations with smaller ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recipelang.errors import Refusal
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.stages._reasons import by_reason
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.absorbing import absorbed, absorbing
from recipelang.surgery.equalizing import Pair
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve
from recipelang.surgery.simulated import computing
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


def _require(operation: Absorb, network: Network) -> tuple[Sequence[Pair], dict[str, str]]:
    if places := sorted(computing(network.restrictions)):
        raise Refusal(
            "RCP1437",
            f"`{places[0]}` is quantized, and its grid was chosen for the network as it is",
            "write `absorb biases` before `quantize`",
        )
    pairs, left = absorbing(network, resolve(network.module, operation.selection))
    if not pairs:
        raise Refusal(
            "RCP1438",
            f"no layer can absorb a bias: {_left(left) or 'the selection contains none'}",
            "leave `absorb biases` out",
        )
    return pairs, left


def _left(left: Mapping[str, str]) -> str:
    """What gives nothing to absorb, by reason."""
    return f"stays: {'; '.join(by_reason(left, 'layer'))}" if left else ""
