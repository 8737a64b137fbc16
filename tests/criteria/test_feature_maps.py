"""Feature maps, the columns that read parts and the rows that make them, and networks without parts: by brute force."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network


class Plain(nn.Module):
    """Convolutions, and one feature map after another flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 3, 3, stride=2, padding=1), nn.Linear(3 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.second(F.relu(self.norm(self.first(x)), inplace=True))).flatten(1))

    def read(self, x: Tensor) -> dict[str, list[Tensor]]:
        one = F.relu(self.norm(self.first(x)))
        return {"first": [one], "second": [F.relu(self.second(one)).reshape(len(x), 3, 16)]}


class Residual(nn.Module):
    """A sum whose channels are read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 4, 1)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        one = self.stem(x).relu()
        return self.head((one + self.last(self.inner(one).tanh())).mean((2, 3)))

    def read(self, x: Tensor) -> dict[str, list[Tensor]]:
        one = self.stem(x).relu()
        two = self.inner(one).tanh()
        return {"stem": [one, (one + self.last(two)).mean((2, 3))], "inner": [two]}


class Depthwise(nn.Module):
    """What a depthwise convolution passes on is read after it, by a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.depth = nn.Conv2d(1, 6, 1), nn.Conv2d(6, 6, 3, groups=6)
        self.narrow, self.head = nn.ConvTranspose2d(6, 3, 2, bias=False), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.narrow(F.hardswish(self.depth(F.relu(self.widen(x))))).sigmoid().amax((2, 3)))

    def read(self, x: Tensor) -> dict[str, list[Tensor]]:
        one = F.hardswish(self.depth(F.relu(self.widen(x))))
        return {"widen": [one], "narrow": [self.narrow(one).sigmoid().amax((2, 3))]}


class Grouped(nn.Module):
    """The same channels of both groups leave together, or whole groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.two = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 3, groups=2)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.first(x).relu()).relu().mean((2, 3)))


class Tokens(nn.Module):
    """Linear layers on tokens; in the second half position comes before image, as inside nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up, self.down = nn.Conv2d(1, 6, 4, stride=4), nn.Linear(6, 7), nn.Linear(7, 6)
        self.norm, self.wide, self.narrow = nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.embed(x).flatten(2).mT)
        tokens = (tokens + self.down(F.gelu(self.up(tokens)))).transpose(0, 1)
        return self.head((tokens + self.narrow(self.wide(self.norm(tokens)).relu())).mean(0))

    def read(self, x: Tensor) -> dict[str, list[Tensor]]:
        tokens = self.norm(self.embed(x).flatten(2).mT)
        up = F.gelu(self.up(tokens))
        tokens = tokens + self.down(up)
        return {"up": [up.mT], "wide": [self.wide(self.norm(tokens)).relu().mT]}


NETWORKS = [Plain, Residual, Depthwise, Tokens]


def prepared(lab: Any, made: Any, unit: str, **more: Any) -> tuple[nn.Module, Gathered]:
    torch.manual_seed(3)
    module = made().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -1, 1)
    network = Network(module, {}, (1, 8, 8))
    method: Any = catalogue.find("unit", unit)
    offer = (method() if unit == "layers" else method(round=1)).find(network, Selection())
    ranks = method.ranks

    def edits(gone: Any) -> Any:
        return method(round=1).edits(network, offer, gone) if unit != "layers" else method().edits(network, offer, gone)

    data = lab.images(train=20)
    return module, Gathered(network, data, lab.CrossEntropy(), offer.groups, ranks, edits=edits, **more)


def unit_of(made: Any) -> str:
    return "neurons" if made is Tokens else "filters"


def shrinking(module: nn.Module, group: Any, images: Tensor, labels: Tensor) -> Tensor:
    """∂L/∂s where everything that reads part n of a group is multiplied with s_n = 1."""
    scales = torch.ones(group.size, requires_grad=True)
    weights = {}
    for place in group.source.at("reads"):
        weight = weights.get(place.name, module.get_parameter(place.name).detach())
        factors = torch.ones(weight.shape[place.axis])
        for part, where in enumerate(place.positions):
            factors = factors.index_put((torch.tensor(where),), scales[part].expand(len(where)))
        weights[place.name] = weight * factors.reshape(-1, *(1,) * (weight.ndim - 1 - place.axis))
    loss = F.cross_entropy(torch.func.functional_call(module, weights, (images,)), labels)
    (slopes,) = torch.autograd.grad(loss, scales)
    return slopes


@pytest.mark.parametrize("made", [*NETWORKS, Grouped])
def test_a_times_its_gradient_summed_over_readers_is_the_change_of_the_loss(lab: Any, made: Any) -> None:
    module, evidence = prepared(lab, made, unit_of(made))
    sums: list[dict[str, Tensor]] = []
    batch: list[Any] = [None]

    def add(name: str, maps: Tensor, gradients: Tensor | None, targets: Tensor) -> None:
        if batch[0] is not targets:
            batch[0] = targets
            sums.append({})
        sums[-1][name] = sums[-1].get(name, torch.zeros(())) + (maps * gradients).sum((0, 2)).detach()

    evidence.feature_maps(add, gradients=True)
    batches = list(evidence.data.batches("train"))
    assert len(sums) == len(batches) and set(sums[0]) == {group.name for group in evidence.groups}
    for found, (images, labels) in zip(sums, batches, strict=True):
        for group in evidence.groups:
            torch.testing.assert_close(
                found[group.name], shrinking(module, group, images, labels), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("made", NETWORKS)
def test_maps_are_what_the_readers_see(lab: Any, made: Any) -> None:
    module, evidence = prepared(lab, made, unit_of(made))
    seen: dict[str, list[Tensor]] = {}
    evidence.feature_maps(lambda name, maps, *_: seen.setdefault(name, []).append(maps.clone()))
    back: dict[str, list[Tensor]] = {}
    evidence.feature_maps(
        lambda name, maps, *_: back.setdefault(name, []).append(maps.detach().clone()), gradients=True
    )
    for number, (images, _) in enumerate(evidence.data.batches("train")):
        for group, maps in module.read(images).items():  # type: ignore[operator]
            mine = seen[group][number * len(maps) : (number + 1) * len(maps)]
            later = back[group][number * len(maps) : (number + 1) * len(maps)]
            for want, one, other in zip(maps, mine, later[::-1], strict=True):
                torch.testing.assert_close(one, want.detach().reshape(*want.shape[:2], -1), rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("made", [Plain, Tokens])
def test_maps_of_single_weights_are_what_they_make(lab: Any, made: Any) -> None:
    module, evidence = prepared(lab, made, unit_of(made))
    evidence = Gathered(evidence.network, evidence.data, lab.CrossEntropy(), unit="element")
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def see(name: str, maps: Tensor, gradients: Tensor | None, targets: Tensor) -> None:
        assert gradients is not None
        seen.setdefault(name, (maps.detach(), gradients))

    evidence.feature_maps(see, gradients=True)
    images, labels = next(iter(evidence.data.batches("train")))
    made_by: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(part: nn.Module, args: Any, output: Tensor) -> Tensor:
            made_by[f"{path}.weight"] = output
            return output.clone()  # the next function may work in place

        return hook

    layers = [(path, part) for path, part in module.named_modules() if hasattr(part, "weight") and "norm" not in path]
    handles = [part.register_forward_hook(keep(path)) for path, part in layers]
    loss = F.cross_entropy(module(images), labels)
    slopes = dict(zip(made_by, torch.autograd.grad(loss, list(made_by.values())), strict=True))
    for handle in handles:
        handle.remove()
    assert set(seen) == set(made_by)
    for name, (maps, gradients) in seen.items():
        for mine, want in ((maps, made_by[name].detach()), (gradients, slopes[name])):
            if want.ndim == 3:  # tokens: image or position first
                want = want.movedim(-1, 1) if len(want) == len(images) else want.movedim((1, 2), (0, 1))
            torch.testing.assert_close(mine, want.reshape(*want.shape[:2], -1), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("made", [*NETWORKS, Grouped])
def test_columns_that_read_a_part_compute_what_it_adds(lab: Any, made: Any) -> None:
    """The rows that enter a weight times these columns alone are the product less that without them."""
    module, evidence = prepared(lab, made, unit_of(made))
    assert set(evidence.readers) == {group.name for group in evidence.groups}
    for group in evidence.groups:
        for name, columns in evidence.readers[group.name].items():
            weight = evidence.weights[name]
            (place,) = [each for each in group.source.at("reads") if each.name == name and each.axis == 1]
            rows, outputs = evidence.reconstructions([name], 40)[name]
            groups, _, size = rows.shape
            whole = torch.zeros(groups * size, len(weight))  # of every output, the inputs of its own group
            matrix = weight.movedim(1, -1).flatten(1)
            for output, values in enumerate(matrix):
                start = output * groups // len(weight) * size
                whole[start : start + size, output] = values
            flat = rows.movedim(0, 1).flatten(1)
            torch.testing.assert_close(flat @ whole, outputs, rtol=1e-4, atol=1e-5)
            for part in range(group.size):
                without = weight.clone()
                without.index_fill_(1, torch.tensor(place.positions[part]), 0)
                expected = torch.zeros_like(whole)
                for output, values in enumerate(without.movedim(1, -1).flatten(1)):
                    start = output * groups // len(weight) * size
                    expected[start : start + size, output] = values
                left = whole.clone()
                left[columns[part]] = 0
                assert torch.equal(left, expected)


@pytest.mark.parametrize("made", [*NETWORKS, Grouped])
def test_rows_that_make_a_part_are_those_that_the_cut_removes(lab: Any, made: Any) -> None:
    module, evidence = prepared(lab, made, unit_of(made))
    for group in evidence.groups:
        assert evidence.makers[group.name]
        for name, rows in evidence.makers[group.name].items():
            for part in range(group.size):
                assert evidence.edits is not None
                (edit,) = evidence.edits({group.name: [part]})
                axis = evidence.outputs[name]
                numbers = torch.arange(float(evidence.weights[name].shape[axis]))
                shape = [1] * evidence.weights[name].ndim
                shape[axis] = -1
                left = edit.left(name, numbers.reshape(shape).expand(evidence.weights[name].shape))
                assert set(numbers.long().tolist()) - set(left.flatten().long().tolist()) == set(rows[part].tolist())


@pytest.mark.parametrize(("made", "unit"), [(Plain, "filters"), (Residual, "filters"), (Tokens, "neurons")])
def test_ablated_parts_are_parameters_at_zero(lab: Any, made: Any, unit: str) -> None:
    module, evidence = prepared(lab, made, unit)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    cases: list[Any] = [{}, *({group.name: [part]} for group in evidence.groups for part in range(group.size))]
    cases.append({group.name: [0, 1] for group in evidence.groups})
    images, labels = (evidence.data.splits["train"][k] for k in (0, 1))  # type: ignore[attr-defined]
    for case, found in zip(cases, evidence.ablated(cases), strict=True):
        twin = copy.deepcopy(module)
        with torch.no_grad():
            for group in evidence.groups:
                for place in group.source.places:
                    for part in case.get(group.name, ()):
                        if place.name in dict(twin.named_parameters()):
                            where = torch.tensor(place.positions[part])
                            twin.get_parameter(place.name).index_fill_(place.axis, where, 0)
            outputs = twin(images)
        assert found.loss == pytest.approx(float(F.cross_entropy(outputs, labels)), rel=1e-5)
        assert found.score == pytest.approx(float((outputs.argmax(1) == labels).float().mean()))
    assert all(torch.equal(before[name], tensor) for name, tensor in evidence.module.state_dict().items())


def test_ablated_layers_leave_only_their_skip_connection(lab: Any) -> None:
    module = lab.small(3)
    evidence = lab.gathered(module, lab.images(val=20))
    cases = [{}, {"1": [0]}, {"2": [0], "3": [0]}]
    images, labels = evidence.data.splits["val"]
    for case, found in zip(cases, evidence.ablated(cases, "val"), strict=True):
        kept = [part for name, part in module.eval().named_children() if name not in case]
        outputs = nn.Sequential(*kept)(images).detach()
        assert found.loss == pytest.approx(float(F.cross_entropy(outputs, labels)), rel=1e-5)
        assert found.score == pytest.approx(float((outputs.argmax(1) == labels).float().mean()))
    names = [name for name, _ in evidence.module.named_modules()]
    assert names == [name for name, _ in module.named_modules()]
    assert not any(type(part).__name__ == "StandIn" for part in evidence.module.modules())


def test_a_case_that_leaves_nothing_of_a_group_is_refused(lab: Any) -> None:
    _, evidence = prepared(lab, Plain, "filters")
    with pytest.raises(Refusal) as refusal:
        list(evidence.ablated([{"second": [0, 1, 2]}]))
    assert refusal.value.code == "RCP0755"


def test_the_loss_of_a_copy_is_that_of_the_task_and_trains_it(lab: Any) -> None:
    module, evidence = prepared(lab, Plain, "filters", samples=10)
    twin = copy.deepcopy(evidence.module).requires_grad_(True)
    for batch in evidence.batches("train"):
        with torch.no_grad():
            expected = F.cross_entropy(module(batch.inputs), batch.targets)
        loss = evidence.answer_loss(batch, twin)
        assert loss.item() == pytest.approx(float(expected)) == float(evidence.answer_loss(batch))
        loss.backward()
    assert sum(len(batch.targets) for batch in evidence.batches("train")) == 10
    assert all(parameter.grad is not None for parameter in twin.parameters())
    assert all(parameter.grad is None for parameter in evidence.module.parameters())


def test_looking_at_maps_leaves_the_network_as_it_was(lab: Any) -> None:
    _, evidence = prepared(lab, Residual, "filters")
    evidence.feature_maps(lambda *_: None, gradients=True)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in evidence.module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in evidence.module.modules())


def test_a_loss_that_is_not_a_number_is_refused(lab: Any) -> None:
    _, evidence = prepared(lab, Residual, "filters")
    evidence.data.splits["train"][0][3] = float("nan")  # type: ignore[attr-defined]
    with pytest.raises(Refusal) as refusal:
        evidence.feature_maps(lambda *_: None, gradients=True)
    assert refusal.value.code == "RCP1005"
