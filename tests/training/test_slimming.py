"""Network slimming against its formula, and every companion of the catalogue: its state, its end, its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Moment, Seen
from recipelang.methods.companions.slimming import Slimming
from recipelang.methods.companions.ssl import Ssl
from recipelang.methods.companions.sss import Sss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.schedules.agp import Agp
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.plan import Course, Duration, Selector, Training, canonical
from recipelang.scoring.following import Following
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.loop import fit

TASK = Classification()
MOMENT = Moment(0, 10, 5)


def norms(*extra: nn.Module) -> Network:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    return Network(nn.Sequential(conv, norm, *extra, nn.Flatten(), nn.Linear(144, 3)), {}, (3, 8, 8), classes=(*"abc",))


def penalty(network: Network, companion: Slimming, moment: Moment = MOMENT) -> torch.Tensor:
    return companion.penalty(Seen(None, None, (), network), None, moment)


def test_the_penalty_is_the_l1_norm_of_the_scales() -> None:
    network = norms()
    norm: Any = network.module[1]  # type: ignore[index]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -2.0, 0.0, 1.5]))
    found = penalty(network, Slimming(0.1))
    assert float(found.detach()) == pytest.approx(0.1 * (0.5 + 2.0 + 0.0 + 1.5))
    found.backward()
    assert torch.allclose(norm.weight.grad, torch.tensor([0.1, -0.1, 0.0, 0.1]))  # s · sign(γ), as in the authors' code
    assert all(p.grad is None for n, p in network.module.named_parameters() if n != "1.weight")


def test_a_scale_that_two_layers_share_counts_once_and_a_layer_of_small_scales_is_named() -> None:
    tied = nn.BatchNorm2d(4)
    network = norms(tied)
    tied.weight = network.module[1].weight  # type: ignore[index]
    assert float(penalty(network, Slimming(1.0)).detach()) == pytest.approx(float(tied.weight.detach().abs().sum()))
    network = norms(nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    assert Slimming().finish(network, None).note == ""
    nn.init.constant_(network.module[2].weight, 1e-4)  # type: ignore[index]
    assert "every scale of `2` is below 1 %" in Slimming().finish(network, None).note


def test_the_strength_may_be_a_ramp() -> None:
    network = norms()
    ramp = Slimming(Linear(1.0, to=0.0))
    whole, half = (float(penalty(network, ramp, Moment(at, 10, 5)).detach()) for at in (0, 5))
    assert half == pytest.approx(whole / 2)


def test_frozen_and_shared_scales_and_those_that_are_not_there() -> None:
    frozen, shared = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    frozen.requires_grad_(False)
    network = norms(frozen, nn.BatchNorm2d(4, affine=False), shared, shared, nn.GroupNorm(2, 4))
    own: Any = network.module[1]  # type: ignore[index]
    expected = own.weight.abs().sum() + shared.weight.abs().sum()
    assert float(penalty(network, Slimming(1.0)).detach()) == pytest.approx(float(expected.detach()))


def test_the_same_as_a_step_along_the_sign(network: Network, data: ImageDataset, silent: Any) -> None:
    """One step of SGD without momentum: γ moves by lr · strength · sign(γ) more than without the companion."""
    plain = Sgd(0.1, momentum=0.0, weight_decay=0.0)
    how: Any = {"task": TASK, "seed": 1}
    without, _ = fit(network, data, Training(Duration(1, "steps"), plain), progress=silent(), **how)
    training = Training(Duration(1, "steps"), plain, companions=(Slimming(0.01),))
    slim, record = fit(network, data, training, progress=silent(), **how)
    for name, tensor in without.module.state_dict().items():
        expected = tensor - 0.1 * 0.01 if name == "1.weight" else tensor  # all scales begin at 1
        torch.testing.assert_close(slim.module.state_dict()[name], expected)
    assert record.history[0]["loss"] > 0


def test_scales_become_small(network: Network, data: ImageDataset, silent: Any) -> None:
    training = Training(Duration(6), Sgd(0.1, weight_decay=0.0), companions=(Slimming(0.5),))
    slim, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1)
    assert slim.module.get_parameter("1.weight").abs().mean() < 0.5 < network.module.get_parameter("1.weight").mean()


def test_a_network_without_batchnorm_is_refused_before_anything_trains(data: ImageDataset, silent: Any) -> None:
    bare = Network(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), {}, (3, 8, 8), classes=(*"abc",))
    training = Training(Duration(1), Sgd(0.1), companions=(Slimming(),))
    with pytest.raises(Refusal) as refusal:
        fit(bare, data, training, progress=silent(lambda done: pytest.fail("a step")), task=TASK, seed=1)
    assert refusal.value.code == "RCP0833"


# every companion ------------------------------------------------------------------------------


def scores(network: Network) -> dict[str, torch.Tensor]:
    return {"4.weight": network.module.get_parameter("4.weight").detach().abs()}


#: settings of companions that have no default
NEEDED: dict[str, tuple[Any, ...]] = {
    "accumulate": (2,),
    "decays": (0.5, "others"),
    "rate": (2.0, (Selector("glob", "4"),)),
}


def companions() -> dict[str, Any]:
    """Those of the catalogue with their defaults, and those that stages make."""
    course = Course(Agp(every=Duration(2, "steps")), 0.5)
    made: dict[str, Any] = {
        "following": Following(course, Weights(), ("4.weight",), scores),
        "sss of filters": Sss(2.0, unit=Filters(round=1)),
        "ssl of several sorts": Ssl(0.5, unit=Filters(round=1), channels=0.2, shapes=0.1),
        "ssl in the loss": Ssl(0.5, shapes=0.1, proximal=False),
    }
    for name in catalogue.names("companion"):
        found = catalogue.find("companion", name)
        assert found is not None
        if name not in ("sss", "cached"):  # of blocks by default, which this network lacks; of teachers
            made[name] = found(*NEEDED.get(name, ()))
    return made


@pytest.mark.parametrize("name", companions())
def test_a_companion_is_killed_and_continued_and_leaves_nothing_behind(
    name: str, network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    companion = companions()[name]
    assert canonical(companion) == json.loads(json.dumps(canonical(companion)))
    training = Training(Duration(2 * companion.gathers()), Sgd(0.1), companions=(companion,))
    how: Any = {"task": TASK, "seed": 4}
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.module.modules())
    whole, record = fit(network, data, training, progress=silent(), **how)

    def die(done: int) -> None:
        if done == 5:
            raise KeyError

    with pytest.raises(KeyError):
        fit(network, data, training, progress=silent(die), checkpoint=tmp_path / "c", **how)
    again, continued = fit(network, data, training, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert continued.resumed_at == 4 and continued.history == record.history
    assert {n: t.numpy().tobytes() for n, t in again.tensors().items()} == {
        n: t.numpy().tobytes() for n, t in whole.tensors().items()
    }
    assert list(whole.module.state_dict()) == list(network.module.state_dict()), "no parts stay"
    assert [type(part) for part in whole.module.modules()] == [type(part) for part in network.module.modules()]
    assert hooks == sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in whole.module.modules())


@pytest.mark.parametrize("name", companions())
def test_the_state_of_a_companion_survives_a_round_trip(name: str, network: Network) -> None:
    companion = companions()[name]
    one, other = companion.begin(network, MOMENT), companion.begin(network, MOMENT)
    if one is None:
        assert other is None
        return
    for tensor in one.state_dict().values():
        tensor.copy_(torch.zeros_like(tensor))
    other.load_state_dict(one.state_dict())
    assert all(not tensor.any() for tensor in other.state_dict().values())
