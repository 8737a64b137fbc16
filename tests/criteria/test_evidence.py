"""Evidence: what criteria see is what the network and its data are, and looking leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Evidence
from recipelang.kinds.evidence import NEEDED
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.listed import listed
from recipelang.scoring.ranking import score_elements
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


def test_data_without_classes_has_no_number_of_them(lab: Any) -> None:
    data = lab.images()
    data.labels = None
    with pytest.raises(Refusal) as refusal:
        _ = lab.gathered(lab.small(1), data).classes
    assert refusal.value.code == "RCP1014"


def test_signed_and_squared_gradients_come_from_one_pass(lab: Any) -> None:
    module, data = lab.small().train(), lab.images()
    evidence = lab.gathered(module, data, needs=("gradients", "signed gradients", "batchnorm"))
    passes, batches = [], data.batches
    data.batches = lambda *what, **more: passes.append(what) or batches(*what, **more)
    found = {**evidence.gradients, **{name: mean[:, 0] for name, mean in evidence.scale_gradients.items()}}
    squares = {
        **evidence.squared_gradients,
        **{name: square[:, 0] for name, square in evidence.squared_scale_gradients.items()},
    }
    assert passes == [("train",)] and set(found) == set(squares)
    assert {name for name in found if name.endswith("norm.weight")} == set(evidence.scales)
    module.eval()
    naive = {name: torch.zeros_like(module.get_parameter(name)) for name in found}
    naive_squares = {name: torch.zeros_like(total) for name, total in naive.items()}
    for images, labels in batches("train"):
        module.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        for name in naive:
            gradient = module.get_parameter(name).grad
            naive[name] += gradient / 3
            naive_squares[name] += gradient**2 / 3
    for name in naive:
        torch.testing.assert_close(found[name], naive[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(squares[name], naive_squares[name], rtol=1e-4, atol=1e-9)


def test_what_enters_and_leaves_a_layer_is_a_sample_of_its_rows(lab: Any) -> None:
    """X·Wᵀ + b of the sampled rows are outputs that the layer really gave, in groups too."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(24, 3))
    data = lab.images()
    rows = lab.gathered(module, data, unit="element").reconstructions(["0.weight", "1.weight", "3.weight"], 50)
    sizes = {"0.weight": (1, 9, 4), "1.weight": (2, 8, 6), "3.weight": (1, 24, 3)}
    with torch.no_grad():
        x = data.splits["train"][0]
        outputs = {name: (x := module[int(name[0])](x if name != "3.weight" else x.flatten(1))) for name in sizes}
    for name, (groups, inputs, width) in sizes.items():
        count = min(50, outputs[name].numel() // width)
        entering, leaving = rows[name]
        assert entering.shape == (groups, count, inputs) and leaving.shape == (count, width)
        given = outputs[name].movedim(1, -1).reshape(-1, width)
        made = leaving + module[int(name[0])].bias.detach()
        nearest = torch.cdist(made.double(), given.double()).min(1)
        assert float(nearest.values.max()) < 1e-4 and len(set(nearest.indices.tolist())) == count


def test_extremes_and_numbers_of_places_are_gathered_once(lab: Any) -> None:
    module, data = lab.small(1), lab.images()
    evidence = lab.gathered(module, data)
    passes, batches = [], data.batches
    data.batches = lambda *what, **more: passes.append(what) or batches(*what, **more)
    both = evidence.extremes(["0", "1:input", "1.norm"])
    assert evidence.extremes(["1.norm"]) == {"1.norm": both["1.norm"]}
    assert len(passes) == 1
    with torch.no_grad():
        first = module.eval()[0](data.splits["train"][0])
    torch.testing.assert_close(both["0"].high, first.max())
    torch.testing.assert_close(both["1:input"].low, first.min())
    torch.testing.assert_close(evidence.extremes(["0"], channels=True)["0"].high, first.amax((0, 2, 3)))
    assert len(evidence.numbers(["0"], 30)["0"]) == 30


def test_any_module_can_be_watched(lab: Any) -> None:
    module, data = lab.small(1), lab.images()
    seen: list[tuple[str, str, Tensor, Tensor]] = []
    lab.gathered(module, data).watch("val", lambda *what: seen.append(what), ["1.norm"])
    assert [what[:2] for what in seen] == [("1.norm", "input"), ("1.norm", "output")] * 2
    with torch.no_grad():
        torch.testing.assert_close(seen[1][2], module.eval()[1].norm(seen[0][2]))
    assert torch.equal(seen[0][3], data.splits["val"][1][:16])


@pytest.mark.parametrize("name", catalogue.names("criterion"))
def test_every_criterion_uses_only_what_it_lists(lab: Any, name: str) -> None:
    asked = set[str]()

    class Noting:
        def __init__(self, evidence: Any) -> None:
            self.evidence = evidence

        def __getattr__(self, member: str) -> Any:
            asked.add(member)
            return getattr(self.evidence, member)

    method = catalogue.find("criterion", name)()  # type: ignore[misc]
    method.score(listed(Noting(lab.gathered(lab.small(1), lab.images(), needs=method.needs)), method))  # type: ignore[arg-type]
    used = {need for member in asked for need in NEEDED.get(member, ())}
    assert used <= set(method.needs)
    assert set(method.needs) <= {need for needs in NEEDED.values() for need in needs}


def test_evidence_that_is_not_listed_is_refused_and_names_what_is_missing(lab: Any) -> None:
    class Greedy:
        unit, needs = "element", ("weights",)

        def score(self, evidence: Any) -> Any:
            return evidence.input_norms

    evidence = lab.gathered(lab.small(1), lab.images())
    with pytest.raises(Refusal, match="`Greedy` uses `evidence.input_norms`.*'activations'") as refusal:
        lab.ranking(Greedy(), evidence)
    assert refusal.value.code == "RCP1020"


def test_the_list_of_evidence_is_what_evidence_has() -> None:
    free = {"unit", "seed", "groups", "shapes", "layers", "progress", "kept"}
    members = {name for name in vars(Evidence) if not name.startswith("_")}
    assert set(NEEDED) | free == members
    assert members <= set(dir(Gathered)) | set(Gathered.__dataclass_fields__)


class Wrong:
    """A criterion whose scores are what a test says."""

    name, unit, needs = "wrong", "element", ("weights",)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, evidence: Any) -> Any:
        return self.answer(evidence.weights)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (lambda weights: None, "RCP0255", "returns NoneType instead of tensors"),
        (lambda weights: dict.fromkeys(weights, 1.0), "RCP0255", "returns dict instead of tensors"),
        (lambda weights: {name: weight[0] for name, weight in weights.items()}, "RCP0255", "have the shape"),
        (lambda weights: {"nowhere": next(iter(weights.values()))}, "RCP0255", "no weight `nowhere`"),
        (lambda weights: {}, "RCP1007", "scores none of these weights"),
        (lambda weights: {name: weight * float("nan") for name, weight in weights.items()}, "RCP1006", "nan"),
    ],
)
def test_scores_that_break_the_contract_are_refused(lab: Any, answer: Any, code: str, said: str) -> None:
    with pytest.raises(Refusal, match=said) as caught:
        score_elements(Wrong(answer), lab.gathered(lab.small(), lab.images()))
    assert caught.value.code == code
