"""Pairs of layers between which numbers move, the answer of the network staying what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recipelang.errors import Refusal
from recipelang.plan import Selection
from recipelang.stages._reasons import by_reason
from recipelang.surgery.equalizing import Pair
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve
from recipelang.surgery.simulated import computing

Found = tuple[Sequence[Pair], dict[str, str]]


def require_pairs(
    network: Network,
    selection: Selection,
    find: Callable[[Network, Sequence[str]], Found],
    statement: str,
    none: Callable[[str], Refusal],
) -> Found:
    """The pairs of the selected layers, and why the others begin none.

    Args:
        find: gives both.
        statement: as it is written, for the message.
        none: the refusal where there is no pair, from the reasons.

    Raises:
        Refusal: RCP1437: the network is quantized; what `none` gives.
    """
    if places := sorted(computing(network.restrictions)):
        raise Refusal(
            "RCP1437",
            f"`{places[0]}` is quantized, and its grid was chosen for the network as it is",
            f"write `{statement}` before `quantize`",
        )
    pairs, left = find(network, resolve(network.module, selection))
    if not pairs:
        raise none("; ".join(by_reason(left, "layer")) or "the selection contains none")
    return pairs, left
