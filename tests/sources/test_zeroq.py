"""`zeroq`: images distilled from the statistics of BatchNorm, as samples for `quantize`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checked import step
from torch import Tensor, nn

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Labels, Quiet
from recipelang.methods.sources.zeroq import ZeroQ
from recipelang.methods.tasks.classification import Classification
from recipelang.stages._made import made
from recipelang.stages.context import Context
from recipelang.stages.quantize import foresee, run
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.syntax.parse import parse


def network(kind: str = "image") -> Network:
    """Trained statistics of images whose channels are far from the standard normal distribution."""
    torch.manual_seed(0)
    if kind == "image":
        body: list[nn.Module] = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2)]
        body += [nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
        shape: tuple[int, ...] = (3, 8, 8)
    else:
        body = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)]
        shape = (5,)
    module = nn.Sequential(*body).train()
    with torch.no_grad():
        for _ in range(30):
            module(2 * torch.randn(16, *shape) + 1.5)
    return Network(module.eval(), {"kind": "test"}, shape)


class Nothing:
    """Data that must not be looked at."""

    name, fingerprint, batch, target = "nothing", "", 8, "class"
    labels, input_shape, target_shape, preprocessing = Labels(("a", "b", "c")), (3, 8, 8), None, None

    def size(self, split: str) -> int:
        return 0

    def batches(self, split: str, **_: Any) -> Any:
        raise AssertionError("no data are needed")


def unused(*_: Any) -> Any:
    raise AssertionError("no state and no reading is asked for")


def context(whole: Network, folder: Path, **changes: Any) -> Context:
    task: Any = Classification()
    one = Context(whole, Nothing(), task, 0, "cpu", 1, folder, unused, unused, unused, Quiet())
    return replace(one, **changes)


def operation(text: str) -> Any:
    return step(text).operation


def naive(module: Any, images: Tensor, normalised: bool) -> Tensor:
    """Equation 3 written out, layer by layer."""
    total = torch.zeros(())
    if normalised:
        for c in range(images.shape[1]):
            one = images[:, c]
            total = total + (one.mean() ** 2 + (one.std() - 1) ** 2) / images.shape[1]
    x = images
    for part in module:
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            assert part.running_mean is not None and part.running_var is not None
            for c in range(x.shape[1]):
                far = (x[:, c].mean() - part.running_mean[c]) ** 2
                far = far + (x[:, c].std() - (part.running_var[c]).sqrt()) ** 2
                total = total + far / x.shape[1]
        x = part(x)
    return total


@pytest.mark.parametrize("kind", ["image", "vector"])
@pytest.mark.parametrize("normalised", [True, False])
def test_the_distance_is_equation_3(kind: str, normalised: bool) -> None:
    whole = network(kind)
    images = torch.randn(6, *whole.input_shape)
    with torch.no_grad():
        found = ZeroQ(normalised=normalised).distance(whole.module, images)
        torch.testing.assert_close(found, naive(whole.module, images, normalised), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_images_come_nearer_to_the_statistics_and_the_network_stays(kind: str, tmp_path: Path) -> None:
    whole = network(kind)
    before = {name: value.clone() for name, value in whole.module.state_dict().items()}
    source = ZeroQ(samples=20, steps=60, together=8, normalised=False)
    data, note = made(source, context(whole, tmp_path))
    noise = torch.randn(16, *whole.input_shape)
    with torch.no_grad():
        far, near = (source.distance(whole.module, x) for x in (noise, data.inputs[:16]))
    assert near < 0.2 * far
    assert "distance to the statistics" in note
    assert data.inputs.shape == (20, *whole.input_shape)
    assert all(torch.equal(before[name], value) for name, value in whole.module.state_dict().items())
    assert all(parameter.requires_grad for parameter in whole.module.parameters())


def test_targets_are_the_networks_own_answers(tmp_path: Path) -> None:
    whole = network()
    data, _ = made(ZeroQ(samples=10, steps=2, together=4), context(whole, tmp_path))
    inputs, targets = (torch.cat(parts) for parts in zip(*data.batches("train", batch=3), strict=True))
    with torch.no_grad():
        assert torch.equal(targets, whole.module(inputs).argmax(1))
    assert [len(inputs) for inputs, _ in data.batches("train", batch=3, samples=7, start=1)] == [3, 1]


def test_the_seed_decides(tmp_path: Path) -> None:
    source = ZeroQ(samples=4, steps=3, together=4)
    one, again, other = (
        made(source, context(network(), tmp_path / str(n), seed=seed))[0].inputs for n, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: Any) -> None:
    source = ZeroQ(samples=12, steps=3, together=4)
    whole, _ = made(source, context(network(), tmp_path / "whole"))
    made_before, calls = ZeroQ.make, []

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made_before(*arguments)

    monkeypatch.setattr(ZeroQ, "make", killed)
    with pytest.raises(KeyboardInterrupt):
        made(source, context(network(), tmp_path / "cut"))
    damaged = tmp_path / "cut" / "made" / "0001.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    calls.extend([1] * 10)
    resumed, _ = made(source, context(network(), tmp_path / "cut"))
    assert len(calls) == 15  # the first batch is not made again, the damaged one is
    assert torch.equal(whole.inputs, resumed.inputs) and whole.fingerprint == resumed.fingerprint


@pytest.mark.parametrize("text", ["by minmax", "by mse", "to 4 bits by lapq", "to 4 bits with adaround(steps=3)"])
def test_quantize_needs_no_data(text: str, tmp_path: Path) -> None:
    bits = "" if "bits" in text else "to 8 bits"
    wanted = operation(f"quantize weights, activations {bits} {text} on zeroq(samples=8, steps=4)")
    outcome = run(wanted, context(network(), tmp_path))
    grids = {place for place, each in outcome.network.restrictions.items() if isinstance(each[0], Grid)}
    assert {"0.weight", "3.weight", "8.weight", "input"} <= grids
    assert "`zeroq` made 8 samples" in outcome.note


def test_a_network_without_statistics_is_refused_before_the_run(tmp_path: Path) -> None:
    plain = Network(nn.Sequential(nn.Flatten(), nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)), {}, (5,))
    wanted = operation("quantize weights, activations to 8 bits on zeroq")
    for refused in (lambda: foresee(wanted, plain, lambda _: None), lambda: run(wanted, context(plain, tmp_path))):
        with pytest.raises(Refusal, match="no BatchNorm") as error:
            refused()
        assert error.value.code == "RCP1439"


def test_statistics_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    whole = network()
    module: Any = whole.module
    module[1].running_mean[0] = float("nan")
    with pytest.raises(Refusal, match="NaN or infinite") as error:
        made(ZeroQ(steps=2), context(whole, tmp_path))
    assert error.value.code == "RCP1010"


def codes(text: str) -> list[str]:
    try:
        check(parse(text))
    except RecipeError as error:
        return [one.code for one in error.diagnostics]
    return []


def test_bad_input_is_refused_by_check() -> None:
    assert codes("quantize weights, activations to 8 bits on zeroq(samples=1)") == ["RCP0303"]
    assert codes("quantize weights, activations to 8 bits on zeroq(stepz=1)") == ["RCP0204"]
    assert codes("quantize weights to 8 bits on zeroq(samples=8)") == ["RCP1402"]
    assert codes("quantize weights, activations to 8 bits on zeroq(samples=8)") == []
    assert codes("recalibrate on zeroq(samples=8)") == ["RCP0209"]
