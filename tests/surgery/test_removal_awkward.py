"""Networks that nobody prepared: channels are removed where that is exact, and stay with a reason where it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from awkward_networks import NETWORKS, Net, conv
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection, Selector
from recipelang.surgery.network import Network
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed

Law = Callable[..., tuple[Removable, Removed]]


@pytest.mark.parametrize("name", NETWORKS)
def test_an_awkward_network(name: str, wrap: Callable[..., Network], law: Law) -> None:
    build, groups, frozen = NETWORKS[name]
    torch.manual_seed(0)
    network = wrap(build(), (3, 8, 8))
    found = law(network, build)[0] if groups else find_removable(network)
    assert {group.name: group.size for group in found.groups} == groups, found.frozen
    assert {path: why in found.frozen.get(path, "") for path, why in frozen.items()} == dict.fromkeys(frozen, True)


def test_a_reason_names_a_function_without_its_address(wrap: Callable[..., Network]) -> None:
    net = Net(lambda net, x: net.b(torch.func.vmap(lambda one: one / one.norm())(net.a(x))), a=conv(3, 8), b=conv(8, 6))
    assert find_removable(wrap(net)).frozen["a.0"].startswith("`_add_batch_dim` is not known")


def shared_twice(net: Net, x: Tensor) -> Tensor:
    return F.relu(net.again(F.relu(net.once(F.relu(net.first(x))))))


def test_a_module_that_appears_under_two_names_is_cut_once(wrap: Callable[..., Network], law: Law) -> None:
    def build() -> nn.Module:
        once = nn.Conv2d(8, 8, 3, padding=1)
        return Net(shared_twice, first=nn.Conv2d(3, 8, 3, padding=1), once=once, again=once)

    found, removed = law(wrap(build(), (3, 8, 8)), build)
    assert len(found.groups) == 1
    net = removed.network.module
    assert net.once is net.again and net.once.weight is net.again.weight
    assert net.once.weight.shape[0] == net.once.weight.shape[1] == net.head.weight.shape[1] < 8


def own_weights(net: Net, x: Tensor) -> Tensor:
    return F.relu(F.conv2d(F.relu(F.conv2d(x, net.v, padding=1)), net.w, padding=1))


def test_parameters_of_the_network_itself_are_selected_unless_in_names_modules(wrap: Callable[..., Network]) -> None:
    net = Net(own_weights, v=nn.Parameter(torch.randn(8, 3, 3, 3)), w=nn.Parameter(torch.randn(6, 8, 3, 3)))
    network, unit = wrap(net, (3, 8, 8)), Filters()
    assert [group.size for group in unit.find(network, Selection()).groups] == [8, 6]
    with pytest.raises(Refusal, match="the selection excludes the network itself"):
        unit.find(network, Selection((Selector("glob", "head"),)))
