"""How a training computes, as its recipe says: its precision, and whether its network is compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import nn

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Scheme
from recipelang.methods.companions.accumulate import Accumulate
from recipelang.methods.companions.bfloat16 import Bfloat16
from recipelang.methods.companions.compile import Compile
from recipelang.methods.companions.float32 import Float32
from recipelang.methods.companions.l0 import L0
from recipelang.methods.losses.at import At
from recipelang.methods.losses.kd import Kd
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.syntax.parse import parse
from recipelang.training import compiling, machine
from recipelang.training import loop as loop
from recipelang.training.history import FitRecord
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

TASK = Classification()
SETUP = "model digits_resnet\ndata digits\n"


@pytest.fixture
def trained(network: Network, data: ImageDataset, silent: Any) -> Callable[..., tuple[Network, FitRecord]]:
    def run(*companions: Companion, start: Network = network, **more: Any) -> tuple[Network, FitRecord]:
        training = Training(Duration(2), Sgd(0.1), more.pop("losses", ()), companions=companions)
        how: Any = {"task": TASK, "seed": 4, "progress": silent(), **more}
        return fit(start, data, training, **how)

    return run


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was compiled, as torch records it; it then runs as it is, so that a test need not wait for a compiler."""
    found: list[Any] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    return found


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.tensors().items(), other.tensors().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("companion", [Float32(), Bfloat16()], ids=["float32", "bfloat16"])
def test_the_recipe_decides_the_precision(trained: Any, companion: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for auto in ("float32", "bfloat16"):  # whatever the machine would choose
        chosen = machine.choose_precision
        with monkeypatch.context() as patched:
            patched.setattr(machine, "choose_precision", lambda asked, device, auto=auto, _=chosen: auto)
            found, record = trained(companion)
            assert record.precision == companion.name
            slow = (companion.name, auto) == ("bfloat16", "float32")
            assert record.left.note == ("bfloat16 is emulated on this CPU, and slow" if slow else "")
        assert same(found, trained(precision=companion.name)[0])


def test_bfloat16_that_would_be_wrong_is_refused(data: ImageDataset, silent: Any) -> None:
    layers = nn.Conv2d(3, 4, 8), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(), nn.Linear(4, 3)
    network = Network(nn.Sequential(*layers).eval(), {}, (3, 8, 8), classes=("a", "b", "c"))
    training = Training(Duration(1), Sgd(0.1), companions=(Bfloat16(),))
    with pytest.raises(Refusal) as wrong:
        fit(network, data, training, task=TASK, seed=0, progress=silent())
    assert wrong.value.code == "RCP1542"


def test_a_compiled_training_trains_the_same(trained: Any, network: Network, graphs: list[Any]) -> None:
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    how: Any = {
        "start": masked, "precision": "float32", "losses": (Term(1.0, Kd()),), "teachers": [Teacher("healthy", network)]
    }  # fmt: skip
    plain, before = trained(Accumulate(2), **how)
    assert not graphs
    found, record = trained(Accumulate(2), Compile(), **how)
    assert graphs and same(plain, found) and record.history == before.history
    assert not any("forward" in vars(part) for part in found.module.modules())
    copy.deepcopy(found.module)(torch.zeros(2, 3, 8, 8))


def test_many_networks_of_one_class_are_compiled(trained: Any, graphs: list[Any]) -> None:
    for count in range(1, 11):
        trained(Compile())
        assert len(graphs) >= count


def test_a_compiled_training_that_is_killed_continues(
    trained: Any, graphs: list[Any], silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    whole, _ = trained(Compile())
    with pytest.raises(Killed):
        trained(Compile(), checkpoint=tmp_path / "c", progress=silent(kill_after(3)))
    again, record = trained(Compile(), checkpoint=tmp_path / "c")
    assert record.resumed_at == 2 and same(whole, again)


def test_a_compiler_that_fails_is_a_refusal(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: Any, _: Any) -> Any:
        raise RuntimeError("there is no C++ compiler")

    monkeypatch.setattr(compiling, "BACKEND", backend)
    with pytest.raises(Refusal) as failed:
        trained(Compile())
    assert failed.value.code == "RCP1013" and "there is no C++ compiler" in failed.value.message


def test_what_compiled_code_does_not_see_is_refused(trained: Any, network: Network) -> None:
    grid = Grid.between(-torch.tensor(2.0), torch.tensor(2.0), Scheme(4))
    for how in (
        {"start": network.restricted({"input": grid})},
        {"losses": (Term(1.0, At()),), "teachers": [Teacher("healthy", network)]},
    ):
        with pytest.raises(Refusal) as unseen:
            trained(Compile(), **how)
        assert unseen.value.code == "RCP1541"
    with pytest.raises(Refusal) as gated:
        trained(Compile(), L0())
    assert gated.value.code == "RCP1541"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("finetune for 1 epoch with bfloat16, float32", "RCP0408"),
        ("prune 1 layer by random\ndistill from healthy with at, compile", "RCP1541"),
        ("train for 1 epoch with compile, l0", "RCP1541"),
        ("quantize weights to 8 bits\nfinetune for 1 step with compile", "RCP0850"),
        ("prune 1 layer by random\ndistill from healthy with jacobian, compile", "RCP1541"),
    ],
)
def test_check_refuses_what_it_can_know(text: str, code: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(SETUP + text))
    assert [one.code for one in refused.value.diagnostics] == [code]
