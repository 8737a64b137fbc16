"""`features`, `bn_taylor` and `snip` against autograd, `probe` against scikit-learn, `ablate` against brute force."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.measuring.imprinting import embed
from recipelang.measuring.probing import trained
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import part_scores, score_elements
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.grid import Grid


class Residual(nn.Module):
    """The channels of `stem` are read by `inner` and by `head`; `inner` is read by `last`, over fewer positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner, self.norm_inner = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.last, self.norm_last = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 4)

    def maps(self, x: Tensor) -> dict[str, list[Tensor]]:
        """What each weight reads."""
        one = self.norm(self.stem(x)).relu()
        two = self.norm_inner(self.inner(one)).relu()
        three = (one + self.norm_last(self.last(two))).mean((2, 3))
        return {"stem": [one, three], "inner": [two], "out": [self.head(three)]}

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)["out"][0]


def made(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    module = Residual().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.3, 2)
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
    return module


def scores(lab: Any, module: nn.Module, name: str, unit: str = "filters", data: Any = None, **settings: Any) -> Any:
    of: Any = catalogue.find("unit", unit)
    of = of() if unit == "layers" else of(round=1)
    network = Network(module, {}, (1, 8, 8))
    offer = of.find(network, Selection())
    method: Any = catalogue.find("criterion", name)(**settings)  # type: ignore[misc]

    def edits(gone: Any) -> Any:
        return of.edits(network, offer, gone)

    evidence = Gathered(
        network, data or lab.images(), lab.CrossEntropy(), offer.groups, of.ranks, method.needs, edits=edits
    )
    return part_scores(method, of, evidence, offer.groups)


def test_features_are_the_equations_of_the_paper(lab: Any) -> None:
    """Eq 8 with autograd's gradients image by image, added over the two readers of the sum; then Eq 9."""
    module, data = made(), lab.images(train=40)  # batches of 16, 16 and 8
    found = scores(lab, module, "features", data=data)
    normal = scores(lab, module, "features", data=data, normalise=True)
    images, labels = data.splits["train"]
    naive: dict[str, list[Tensor]] = {"stem": [], "inner": []}
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        size = min(16, 40 - len(naive["stem"]) // 16 * 16)  # gradients are those of a mean over the batch
        one = module.norm(module.stem(image)).relu()
        read = one.clone()  # by `inner` alone
        two = module.norm_inner(module.inner(read)).relu()
        three = (one + module.norm_last(module.last(two))).mean((2, 3))
        loss = F.cross_entropy(module.head(three), label) / size
        of_read, of_two, of_three = torch.autograd.grad(loss, [read, two, three])
        stem = (read * of_read).mean((2, 3)) + three * of_three
        naive["stem"].append(stem.abs()[0].detach() * size)
        naive["inner"].append((two * of_two).mean((2, 3)).abs()[0].detach() * size)
    assert set(found) == set(naive)
    for group, values in naive.items():
        mean = torch.stack(values).double().mean(0)
        torch.testing.assert_close(found[group], mean, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(normal[group], mean / mean.norm(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["head.weight", "inner.weight", "last.weight"])
def test_features_of_a_network_with_a_grid_are_those_of_its_weights_before_rounding(lab: Any, name: str) -> None:
    """A reader whose weight is rounded still counts: products are recognised by the memory of their weights."""
    module = made()
    weight = module.get_parameter(name).detach()
    grid = Grid.between(-weight.abs().max(), weight.abs().max(), Scheme(4, signed=True, symmetric=True))
    plain, rounded = Network(module, {}, (1, 8, 8)), restrict(Network(module, {}, (1, 8, 8)), {name: grid})
    found = []
    for network in (plain, rounded):
        offer = catalogue.find("unit", "filters")(round=1).find(network, Selection())  # type: ignore[misc]
        method: Any = catalogue.find("criterion", "features")()  # type: ignore[misc]
        data, task = lab.images(), lab.CrossEntropy()
        found.append(method.score(Gathered(network, data, task, offer.groups, "filter", method.needs)))
    assert found[0].keys() == found[1].keys() and len(found[0]) == 2
    for group, score in found[0].items():
        torch.testing.assert_close(found[1][group], score)


def test_features_of_a_layer_are_the_mean_over_its_filters(lab: Any) -> None:
    module, data = lab.small(2).eval(), lab.images()
    found = scores(lab, module, "features", "layers", data)
    sums: dict[str, Tensor] = {}
    for images, labels in data.batches("train"):
        x = module[0](images)
        outs = []
        for block in module[1:3]:
            outs.append(block.conv(torch.relu(block.norm(x))))
            x = x + outs[-1]
        loss = F.cross_entropy(module[3:](x), labels)
        for name, a, g in zip("12", outs, torch.autograd.grad(loss, outs), strict=True):
            sums[name] = sums.get(name, 0) + ((a * g).mean((2, 3)).abs().detach() * len(labels)).sum(0)
    for name, total in sums.items():
        assert float(found[name]) == pytest.approx(float((total / 48).mean()), rel=1e-4)


def test_bn_taylor_is_the_square_of_scale_times_gradient(lab: Any) -> None:
    module, data = made(), lab.images()
    found = scores(lab, module, "bn_taylor", data=data)
    norms = {"stem": [module.norm, module.norm_last], "inner": [module.norm_inner]}
    naive = {name: torch.zeros(len(each[0].weight)) for name, each in norms.items()}
    for images, labels in data.batches("train"):
        module.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        for name, each in norms.items():
            naive[name] += sum((norm.weight * norm.weight.grad).detach() ** 2 for norm in each) / 3  # type: ignore[union-attr]
    assert set(found) == set(naive)
    for name, values in naive.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-10)


def test_snip_is_a_share_of_one_batch(lab: Any) -> None:
    module, data = made(), lab.images()
    read: list[Any] = []
    batches = data.batches
    data.batches = lambda *what, **more: (read.append(batch) or batch for batch in batches(*what, **more))
    method: Any = catalogue.find("criterion", "snip")()  # type: ignore[misc]
    evidence = Gathered(Network(module, {}, (1, 8, 8)), data, lab.CrossEntropy(), unit="element", needs=method.needs)
    found = score_elements(method, evidence)
    [(images, labels)] = read
    assert len(labels) == 16
    F.cross_entropy(module(images), labels).backward()
    naive = {name: (module.get_parameter(name).grad * module.get_parameter(name)).abs().detach() for name in found}
    total = sum(float(each.sum()) for each in naive.values())
    for name, each in naive.items():
        torch.testing.assert_close(found[name], each / total, rtol=1e-4, atol=1e-9)
    assert sum(float(each.sum()) for each in found.values()) == pytest.approx(1)


def test_snip_of_a_network_without_gradients_is_zero(lab: Any) -> None:
    module = made()
    nn.init.zeros_(module.head.weight)
    found = scores(lab, module, "snip")
    assert all(bool((each == 0).all()) for each in found.values())


@pytest.mark.parametrize("by", ["loss", "score"])
@pytest.mark.parametrize("unit", ["filters", "layers"])
def test_ablate_is_brute_force(lab: Any, by: str, unit: str) -> None:
    module = made() if unit == "filters" else lab.small(3).eval()
    data = lab.images(train=40)
    images, labels = data.splits["train"]
    found = scores(lab, module, "ablate", unit, data, by=by)

    def worth(network: nn.Module) -> float:
        with torch.no_grad():
            outputs = network(images)
        if by == "score":
            return float((outputs.argmax(1) == labels).float().mean())
        return -float(F.cross_entropy(outputs, labels))

    if unit == "layers":
        for name in "123":
            kept = nn.Sequential(*(part for path, part in module.named_children() if path != name))
            assert float(found[name]) == pytest.approx(worth(module) - worth(kept), rel=1e-3, abs=1e-6)
        return
    rows = {"stem": ["stem", "norm", "norm_last"], "inner": ["inner", "norm_inner"]}
    columns = {"stem": [("inner", 1), ("head", 1), ("last", 1)], "inner": [("last", 0)]}
    for group, each in found.items():
        for part, score in enumerate(each.tolist()):
            twin = copy.deepcopy(module)
            with torch.no_grad():
                for path in (*rows[group], *(["last"] if group == "stem" else [])):
                    layer = twin.get_submodule(path)
                    if path != "last":
                        layer.weight[part] = 0
                    layer.bias[part] = 0
                for path, axis in columns[group]:
                    twin.get_submodule(path).weight.select(axis, part).zero_()
            assert score == pytest.approx(worth(module) - worth(twin), rel=1e-3, abs=1e-6)


def test_ablate_by_score_refuses_a_task_without_one(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.CrossEntropy, "score", lambda *_: None)
    with pytest.raises(Refusal) as refusal:
        scores(lab, made(), "ablate", by="score")
    assert refusal.value.code == "RCP1061"
    assert scores(lab, made(), "ablate")


def test_ablate_by_a_score_of_which_less_is_better(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = scores(lab, made(), "ablate", by="score")
    monkeypatch.setattr(lab.CrossEntropy, "score_better", "lower", raising=False)
    turned = scores(lab, made(), "ablate", by="score")
    assert all(torch.equal(-usual[name], turned[name]) for name in usual) and any(each.any() for each in usual.values())


@pytest.mark.parametrize("classes", [2, 4])
def test_a_trained_classifier_is_that_of_scikit_learn(classes: int) -> None:
    random = torch.Generator().manual_seed(classes)
    labels = torch.arange(90) % classes
    rows = torch.randn(90, 5, generator=random) * torch.tensor([1.0, 10, 0.1, 3, 1]) + labels[:, None] * 0.7
    rows[:, 4] = 2.5  # a value that never changes
    weight, bias = trained(rows, labels, classes, penalty := 0.01)
    wide = rows[:, :4].double()
    standard = ((wide - wide.mean(0)) / wide.std(0, correction=0)).numpy()
    probabilities = (rows @ weight.T + bias).softmax(1)
    if classes == 2:  # of two classes scikit-learn penalises one vector, here there are two of half the length
        penalty = penalty / 2
    model = LogisticRegression(C=1 / (penalty * 90), tol=1e-8, max_iter=5000).fit(standard, labels.numpy())
    torch.testing.assert_close(
        probabilities.double(), torch.from_numpy(model.predict_proba(standard)), rtol=1e-3, atol=1e-4
    )
    assert not bool(weight[:, 4].any())


@pytest.mark.parametrize("against", ["candidate", "input"])
def test_probe_is_the_gain_of_classifiers_of_scikit_learn(lab: Any, against: str) -> None:
    module, data = lab.small(2).eval(), lab.images(train=96, val=64)
    found = scores(lab, module, "probe", "layers", data, embedding=6, penalty=0.05, against=against)

    def seen(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            x = module[0](images)
            return [x, x := module[1](x), module[2](x)]

    accuracies = []
    for train, val in zip(*(seen(data.splits[split][0]) for split in ("train", "val")), strict=True):
        rows, others = embed(train, 6, False).double(), embed(val, 6, False).double()
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        model = LogisticRegression(C=1 / (0.05 * 96), tol=1e-8, max_iter=5000)
        model.fit(((rows - mean) / scale).numpy(), data.splits["train"][1].numpy())
        accuracies.append(model.score(((others - mean) / scale).numpy(), data.splits["val"][1].numpy()))
    assert float(found["1"]) == pytest.approx(accuracies[1] - accuracies[0])
    assert float(found["2"]) == pytest.approx(accuracies[2] - accuracies[1])
