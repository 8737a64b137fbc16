"""Self-distillation: the formula of the thesis, where classifiers are, and the networks that it leaves."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Loss, Moment, Point, Points, Seen
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.points import find_points
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.training import loop
from recipelang.training.loop import fit

SELF: Any = catalogue.find("loss", "self")
TASK = Classification()


def naive(heads: Any, features: Any, outputs: Tensor, labels: Tensor, a: float, temperature: float) -> Tensor:
    """Equations 7.1 and 7.2, sample by sample."""
    total = torch.zeros((), dtype=outputs.dtype)
    for head, maps in zip(heads, features, strict=True):
        scores = head(maps)
        for row, answer, label in zip(scores, outputs, labels, strict=True):
            q = (row / temperature).exp() / (row / temperature).exp().sum()
            total = total - ((1 - a) * q[answer.argmax()].log() + a * q[label].log()) / len(labels)
    return total


@pytest.mark.parametrize("step, alpha", [(0, None), (3, None), (9, None), (5, Linear(0.8, to=0.2)), (5, 0.3)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_equation_7_2(step: int, alpha: Any, temperature: float) -> None:
    torch.manual_seed(0)
    heads = nn.ModuleList(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)) for _ in range(2)).double()
    features = tuple(torch.randn(5, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    outputs = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0])
    moment = Moment(step, 10, 5)
    a = {None: 1 - step / 10, 0.3: 0.3}.get(alpha, 0.5) if not isinstance(alpha, Linear) else 0.8 - 0.6 * step / 10
    found = SELF(alpha=alpha, T=temperature)(Seen(None, outputs, features, None), (), labels, TASK, heads, moment)
    torch.testing.assert_close(found, naive(heads, features, outputs, labels, a, temperature))
    gradients = torch.autograd.grad(found, (*features, outputs), allow_unused=True)
    assert gradients[-1] is None  # the prediction is a target
    assert all(gradient is not None for gradient in gradients[:-1])


def points_of(module: nn.Module, *shape: int) -> Points:
    return find_points(module.eval(), torch.randn(2, *shape), "the network")


def test_classifiers_are_behind_every_part_of_the_blocks() -> None:
    points = points_of(digits_resnet(), 1, 8, 8)
    assert [p.student.path for p in SELF().points(points, ())] == ["layer1.1", "layer1.4", "layer2.2"]
    assert [p.student.path for p in SELF(2).points(points, ())] == ["layer1.4"]
    assert len(SELF(10).points(points, ())) == 9
    assert [p.student.path for p in SELF(at="layer2.0, layer1").points(points, ())] == ["layer1", "layer2.0"]


def test_a_plain_network_is_divided_by_depth_and_a_shallow_one_refused() -> None:
    layers: list[nn.Module] = []
    for wide in (1, 4, 4, 4, 4, 4):
        layers += [nn.Conv2d(wide, 4, 3, padding=1), nn.ReLU()]
    plain = nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.Linear(256, 5))
    depths = [p.student.depth for p in SELF().points(points_of(plain, 1, 8, 8), ())]
    assert depths == pytest.approx([0.25, 0.5, 0.75], abs=0.1)
    with pytest.raises(Refusal) as caught:
        SELF(9).points(points_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 5)), 1, 8, 8), ())
    assert caught.value.code == "RCP1520" and "ask for fewer `classifiers`" in caught.value.help
    with pytest.raises(Refusal) as caught:  # no number of classifiers would do
        SELF(2).points(
            points_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 5)), 1, 8, 8), ()
        )
    assert caught.value.code == "RCP1520" and "take a convolutional network or a transformer" in caught.value.help
    with pytest.raises(Refusal) as caught:
        SELF(at="linear").points(points_of(digits_resnet(), 1, 8, 8), ())
    assert caught.value.code == "RCP0823"


def test_settings_that_contradict_each_other() -> None:
    for wrong in ({"at": "a, b", "classifiers": 2}, {"at": "a, a"}):
        with pytest.raises(SettingError):
            SELF(**wrong)
    assert SELF(at="a, b", classifiers=3).leaves(0) == ("classifier1", "classifier2")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Four residual blocks with BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.drop(x).mean((2, 3)))
        return scores


class Killed(Exception):
    pass


class Dying:
    """A progress that dies after some steps."""

    def __init__(self, after: int) -> None:
        self.after, self.done = after, 0

    def start(self, what: str, total: int | None = None) -> None:
        self.done = 0

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += parts
        if self.done == self.after:
            raise Killed

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.fixture
def toy() -> Any:
    conftest = Path(__file__).parents[1] / "training" / "conftest.py"
    spec = importlib.util.spec_from_file_location("training_fixtures", conftest)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.data.__wrapped__()


def bytes_of(network: Network) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in network.module.state_dict().items()}


def test_killed_and_continued_to_the_same_bytes_and_the_classifiers_end_networks(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module(loop.__name__), "SAVE_EVERY", -1.0)
    network = Network(Residual().eval(), {}, (3, 8, 8), classes=("a", "b", "c"))
    training = Training(Duration(2), Sgd(0.1), (Term(1.0, SELF()), Term(1.0, None)))
    how: Any = {"task": TASK, "seed": 4, "precision": "float32"}
    whole, record = fit(network, toy, training, progress=Dying(-1), **how)
    path = tmp_path / "checkpoint"
    for steps in (2, 5):
        with pytest.raises(Killed):
            fit(network, toy, training, progress=Dying(steps), checkpoint=path, **how)
    again, continued = fit(network, toy, training, progress=Dying(-1), checkpoint=path, **how)
    assert continued.resumed_at == 4
    assert bytes_of(again) == bytes_of(whole)
    assert set(record.beside) == {"classifier1", "classifier2", "classifier3"}
    for name, smaller in record.beside.items():
        assert bytes_of(continued.beside[name]) == bytes_of(smaller)
        shared = {n for n in smaller.module.state_dict() if not n.startswith("exit_")}
        state = whole.module.state_dict()
        assert all(torch.equal(state[n], smaller.module.state_dict()[n]) for n in shared)
        with evaluating(smaller.module):
            assert smaller.module(example_input(network)).shape == (2, 3)
    assert set(whole.module.state_dict()) == set(network.module.state_dict())  # nothing of the classifiers stays
    sizes = [sum(p.numel() for p in record.beside[f"classifier{n}"].module.parameters()) for n in (1, 2, 3)]
    assert sizes == sorted(sizes)


def test_a_loss_without_networks_beside_leaves_none() -> None:
    for name in catalogue.names("loss"):
        kind: Any = catalogue.find("loss", name)
        if kind.leaves is Loss.leaves:
            assert Training(Duration(1), Sgd(), (Term(1.0, kind()),)).beside(2) == ()


def test_a_point_without_places_is_no_place_for_a_classifier() -> None:
    vector = Point("one", (7,), 0.5, True, True)
    with pytest.raises(Refusal, match="no maps or tokens"):
        SELF().points(Points("the network", (vector,)), ())
