"""Binary and ternary networks from the statement to the artifact: they learn, on networks that nobody prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checked import step
from contexts import context
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import RecipeError, Refusal
from recipelang.images.batches import count
from recipelang.kinds import Quiet
from recipelang.measuring.structure import stored_bytes
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.stages import quantize
from recipelang.surgery import artifact
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.simulated import running
from recipelang.training import loop
from recipelang.training.loop import fit

BOTH = {
    "bnn": "quantize weights, activations by bnn",
    "bnn_dl": "quantize weights, activations by bnn_dl",
    "xnor": "quantize weights, activations to 1 bit by xnor",
    "gxnor": "quantize weights, activations to 2 bits by gxnor",
    "abc": "quantize weights, activations to 3 bits by abc",
    "benn": "quantize weights, activations by benn(networks=2)",
}
STATEMENTS = {
    **BOTH,
    "binaryconnect": "quantize weights by binaryconnect",
    "stochastic": "quantize weights by binaryconnect(stochastic=true)",
    "bwn": "quantize weights by bwn",
    "twn": "quantize weights by twn",
    "ttq": "quantize weights to 2 bits by ttq",
}


def operation(statement: str) -> Any:
    return step(f"model digits_lenet\ndata digits\n{statement}\n").operation


class Depthwise(nn.Module):
    """A convolution of each channel alone between two that mix them, beside a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU6())
        self.widen = nn.Sequential(nn.Conv2d(24, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU6(inplace=True))
        self.depth = nn.Sequential(
            nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False), nn.BatchNorm2d(48), nn.ReLU6(inplace=True)
        )
        self.narrow = nn.Sequential(nn.Conv2d(48, 24, 1, bias=False), nn.BatchNorm2d(24))
        self.head = nn.Linear(24 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.narrow(self.depth(self.widen(x)))
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))  # type: ignore[no-any-return]


def plain() -> nn.Module:
    """A perceptron without any norm."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 96), nn.ReLU(), nn.Linear(96, 10))


@pytest.fixture(scope="module")
def digits() -> Any:
    return catalogue.find("data", "digits")().open(Path)  # type: ignore[misc]


def network(module: nn.Module) -> Network:
    names = tuple(map(str, range(10)))
    return Network(module.eval(), {"model": "none"}, (1, 8, 8), classes=names)


def tuned(start: Network, data: Any, epochs: int, **more: Any) -> Network:
    training = Training(Duration(epochs, "epochs"), Adam(Cosine(0.01)))
    return fit(start, data, training, task=Classification(), seed=0, progress=Quiet(), precision="float32", **more)[0]


@torch.no_grad()
def accuracy(found: Network, data: Any) -> float:
    module = running(found).eval()
    batches = list(data.batches("test"))
    right = sum(int((module(x).argmax(1) == y).sum()) for x, y in batches)
    return right / sum(count(y) for _, y in batches)


@pytest.fixture(scope="module", params=[plain, Depthwise], ids=["perceptron", "depthwise"])
def start(request: Any, digits: Any) -> Network:
    """A network that was trained for two epochs."""
    torch.manual_seed(0)
    return tuned(network(request.param()), digits, 2)


@pytest.mark.parametrize("name", STATEMENTS)
def test_it_learns_digits(name: str, start: Network, digits: Any) -> None:
    done = quantize.run(operation(STATEMENTS[name]), context(start, digits))
    quantized = done.network
    assert "the first layer, unless `in` names it" in done.note
    trained = tuned(quantized, digits, 6 if name in ("benn", "stochastic") else 3)
    assert accuracy(trained, digits) > 0.8, "a tenth is what guessing gets"
    for place, each in trained.restrictions.items():
        (one,) = each
        levels = 2 if one.levels.shape[-1] == 2 else {"abc": 4}.get(name, 3)  # type: ignore[attr-defined]
        assert one.levels.shape[-1] == levels, place  # type: ignore[attr-defined]
    if name not in ("benn", "abc"):
        dense = stored_bytes(trained.module)
        assert stored_bytes(trained.module, trained.restrictions) < dense


def test_inputs_are_read_before_the_relu_and_sums_read_numbers(digits: Any) -> None:
    torch.manual_seed(0)
    start = network(Depthwise())
    found = quantize.run(operation(BOTH["bnn"]), context(start, digits)).network
    assert {place for place in found.restrictions if ":" in place} == {
        "widen.0:conv2d(input)", "depth.0:conv2d(input)", "narrow.0:conv2d(input)",
    }  # fmt: skip
    assert not any(place.startswith(("stem", "head")) for place in found.restrictions)
    whole = operation('quantize weights by bnn in "stem", "head"')
    assert set(quantize.run(whole, context(start, digits)).network.restrictions) == {"stem.0.weight", "head.weight"}


def test_an_input_whose_signs_are_all_alike_stays_and_is_named(digits: Any) -> None:
    torch.manual_seed(0)
    gated = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Sigmoid(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )
    done = quantize.run(operation(BOTH["xnor"]), context(network(gated), digits))
    assert set(done.network.restrictions) == {"2.weight"}
    assert "1 input, for example of `2` (its signs are all alike)" in done.note


@pytest.mark.parametrize("name", ["bnn", "abc", "benn", "bwn", "binaryconnect"])
def test_masks_that_would_not_stay_are_refused(name: str, digits: Any) -> None:
    start = network(plain())
    masked = start.restricted({"3.weight": Mask("some", torch.rand(96, 128) < 0.5)})
    with pytest.raises(Refusal, match="has no zero") as refused:
        quantize.run(operation(STATEMENTS[name]), context(masked, digits))
    assert refused.value.code == "RCP1454"
    with pytest.raises(RecipeError) as told:
        operation(f"sparsify weights by magnitude to 80%\n{STATEMENTS[name]}")
    assert [one.code for one in told.value.diagnostics] == ["RCP1454"]
    elsewhere = start.restricted({"1.weight": Mask("some", torch.rand(128, 64) < 0.5)})
    assert quantize.run(operation(STATEMENTS[name]), context(elsewhere, digits)).network.masks


@pytest.mark.parametrize("name", ["twn", "ttq", "gxnor"])
def test_masks_stay_in_ternary_weights(name: str, digits: Any) -> None:
    torch.manual_seed(0)
    keep = torch.rand(96, 128) < 0.5
    start = tuned(network(plain()).restricted({"3.weight": Mask("some", keep)}), digits, 1)
    found = quantize.run(operation(STATEMENTS[name]), context(start, digits)).network
    trained = tuned(found, digits, 2)
    (codebook,) = (one for one in trained.restrictions["3.weight"] if one.kind == "codebook")
    computed = codebook.apply(trained.module.get_parameter("3.weight"))
    assert not computed[~keep].any() and computed[keep].any()


@pytest.mark.parametrize("name", ["benn", "gxnor", "stochastic", "ttq", "abc", "bnn_dl"])
def test_killed_and_the_same_bytes(name: str, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    start = quantize.run(operation(STATEMENTS[name]), context(network(Depthwise()), digits)).network
    training = Training(Duration(6, "steps"), Adam(0.01))
    how: Any = {"task": Classification(), "seed": 3, "precision": "float32", "samples": 256}
    whole, _ = fit(start, digits, training, progress=Quiet(), **how)

    class Dying(Quiet):
        done = 0

        def advance(self, parts: int = 1, note: str = "") -> None:
            self.done += 1
            kill_after(4)(self.done)

    with pytest.raises(Killed), monkeypatch.context() as often:
        often.setattr(loop, "SAVE_EVERY", -1.0)
        fit(start, digits, training, progress=Dying(), checkpoint=tmp_path / "c", **how)
    again, record = fit(start, digits, training, progress=Quiet(), checkpoint=tmp_path / "c", **how)
    assert record.resumed_at and all(torch.equal(v, whole.tensors()[n]) for n, v in again.tensors().items())
    assert set(again.tensors()) == set(whole.tensors())


@pytest.mark.parametrize("name", ["bnn", "abc", "ttq", "benn"])
def test_the_artifact_computes_the_same(name: str, digits: Any, tmp_path: Path) -> None:
    from recipelang.nets.digits_resnet import digits_resnet

    torch.manual_seed(0)
    names = tuple(map(str, range(10)))
    source = {"model": "digits_resnet", "settings": {"classes": 10}, "classes": list(names), "input_shape": [1, 8, 8]}
    start = Network(digits_resnet().eval(), source, (1, 8, 8), classes=names, preprocessing=digits.preprocessing)
    found = quantize.run(operation(STATEMENTS[name]), context(start, digits)).network
    artifact.save(found, tmp_path)
    images, _ = next(iter(digits.batches("test", samples=8)))
    with torch.no_grad():
        again = running(artifact.load(tmp_path)).eval()(images)
        assert torch.equal(again, running(found).eval()(images))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("quantize weights to 2 bits by bnn", "RCP1401"),
        ("quantize weights to 1 bit by twn", "RCP1401"),
        ("quantize weights by abc", "RCP0403"),
        ("quantize weights, activations by twn", "RCP1407"),
        ("quantize activations by binaryconnect", "RCP1407"),
        ("quantize weights, activations by benn(networks=1)", "RCP0303"),
        ("quantize weights by ttq(threshold=2)", "RCP0303"),
        ("quantize weights to 1 bit by bwn with adaround on train(samples=64)", "RCP1434"),
    ],
)
def test_bad_input_is_refused_by_check(statement: str, code: str) -> None:
    with pytest.raises(RecipeError) as refused:
        operation(statement)
    assert [one.code for one in refused.value.diagnostics] == [code]
