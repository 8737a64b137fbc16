"""A network with the numbers of another state of the same architecture."""

from __future__ import annotations

from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import hold


def rewound(network: Network, state: Network) -> Network:
    """The network with the parameters, norms and statistics of a state; what its restrictions hold at zero stays zero.

    Args:
        network: is not changed.
        state: of the same architecture.
    """
    module = network.clone().module
    module.load_state_dict(state.module.state_dict())
    hold(module, network.restrictions)
    return replace(network, module=module)


def require_same(network: Network, state: Network, name: str) -> None:
    """Refuse a state of another architecture.

    Raises:
        Refusal: RCP0791: a tensor of one of the two has no counterpart of its name and shape in the other.
    """
    mine, other = ({key: tuple(one.shape) for key, one in n.module.state_dict().items()} for n in (network, state))
    key = next((key for key in {**mine, **other} if mine.get(key) != other.get(key)), None)
    if key is None:
        return
    sizes = [f"of {'×'.join(map(str, found[key]))}" if key in found else "absent" for found in (mine, other)]
    raise Refusal(
        "RCP0791",
        f"the network cannot go back to `{name}`: it has another architecture (`{key}` is {sizes[0]} here and "
        f"{sizes[1]} there)",
        f"write `keep as {name}` after the last statement that removes something",
    )
