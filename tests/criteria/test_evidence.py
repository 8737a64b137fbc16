"""Evidence: what criteria see is what the network and its data are, and looking leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network


def test_squared_gradients_are_the_mean_over_batches_of_autograds(lab: Any) -> None:
    module, data = lab.small().train(), lab.images()
    found = lab.gathered(module, data).squared_gradients
    module.eval()
    weights = {name: module.get_parameter(name) for name in found}
    squares = {name: torch.zeros_like(w) for name, w in weights.items()}
    for images, labels in data.batches("train"):
        module.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        for name, weight in weights.items():
            squares[name] += weight.grad**2 / 3  # type: ignore[operator]
    for name in squares:
        torch.testing.assert_close(found[name], squares[name], rtol=1e-4, atol=1e-9)


def test_looking_leaves_the_network_as_it_was(lab: Any) -> None:
    module = lab.small().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    evidence = lab.gathered(module, lab.images())
    _ = evidence.squared_gradients, evidence.embedding_length
    evidence.watch("val", lambda *_: None)
    assert module.training and all(m.training for m in module.modules())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in evidence.module.modules())


def test_hooks_are_gone_even_after_an_error(lab: Any) -> None:
    evidence = lab.gathered(lab.small(), lab.images())

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evidence.watch("val", fail)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in evidence.module.modules())


def test_watch_shows_every_candidate_in_order_with_what_goes_in_and_out(lab: Any) -> None:
    module, data = lab.small(), lab.images()
    seen: list[tuple[str, str, Tensor, Tensor]] = []
    lab.gathered(module, data).watch("val", lambda *what: seen.append(what))
    assert [(name, side) for name, side, _, _ in seen[:6]] == [(b, s) for b in "123" for s in ("input", "output")]
    assert len(seen) == 6 * 2
    first = data.splits["val"][0][:16]
    with torch.no_grad():
        expected = module.eval()[:3](first)
    torch.testing.assert_close(seen[3][2], expected)
    assert torch.equal(seen[3][3], data.splits["val"][1][:16])
    assert seen[1][2].data_ptr() == seen[2][2].data_ptr()  # the input of the second is the output of the first


@pytest.mark.parametrize(
    ("name", "axes", "length"),
    [("vit_b_16", 3, 768), ("swin_t", 4, 768), ("convnext_tiny", 4, 768), ("vgg11_bn", 4, 4096)],
)
def test_activations_are_filters_first_whatever_the_network(lab: Any, name: str, axes: int, length: int) -> None:
    module = torchvision.models.get_model(name, **({"image_size": 32} if name == "vit_b_16" else {}))
    side = {"vit_b_16": 32, "vgg11_bn": 32}.get(name, 64)
    images = torch.randn(2, 3, side, side)
    split = (images, torch.zeros(2, dtype=torch.long))
    data = lab.Images({"train": split, "val": split}, 10, batch=2)
    evidence = lab.gathered(module, data)
    widths = {candidate.name: candidate.width for candidate in evidence.candidates}
    shapes: list[tuple[str, torch.Size]] = []
    evidence.watch("val", lambda candidate, side, activation, labels: shapes.append((candidate, activation.shape)))
    assert widths and {name for name, _ in shapes} == set(widths)
    assert all(len(shape) == axes and shape[:2] == (2, widths[name]) for name, shape in shapes)
    assert evidence.embedding_length == length


def test_layers_name_the_weights_inside(lab: Any) -> None:
    assert lab.gathered(lab.small(2), lab.images()).layers == {"1": ("1.conv.weight",), "2": ("2.conv.weight",)}


def test_samples_limit_training_and_not_validation(lab: Any) -> None:
    seen = {"train": 0, "val": 0}
    evidence = lab.gathered(lab.small(1), lab.images(), samples=20)
    for split in seen:

        def count(candidate: str, side: str, activation: Tensor, labels: Tensor, split: str = split) -> None:
            seen[split] += len(labels) * (side == "output")

        evidence.watch(split, count)
    assert seen == {"train": 20, "val": 32}


def test_an_empty_split_is_refused(lab: Any) -> None:
    data = lab.images()
    data.splits["val"] = (data.splits["val"][0][:0], data.splits["val"][1][:0])
    with pytest.raises(Refusal, match="no val samples") as refusal:
        lab.gathered(lab.small(1), data).watch("val", lambda *_: None)
    assert refusal.value.code == "RCP1008"


def test_gradients_that_are_no_numbers_are_refused(lab: Any) -> None:
    module, data = lab.small(1), lab.images()
    data.splits["train"][0][3] = float("nan")
    with pytest.raises(Refusal) as refusal:
        _ = lab.gathered(module, data).squared_gradients
    assert refusal.value.code == "RCP1005"


def test_a_network_without_any_matrix_has_no_embedding_length(lab: Any) -> None:
    with pytest.raises(Refusal) as refusal:
        _ = Gathered(Network(nn.Flatten(), {}, (1, 8, 8)), lab.images(), lab.CrossEntropy()).embedding_length
    assert refusal.value.code == "RCP1009"
