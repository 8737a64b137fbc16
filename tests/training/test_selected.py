"""`finetune in "layer3" except …`: what is not selected stays, bit for bit, and the rest trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Selection, Selector, Step, Training, canonical
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.run.planning import make
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training import loop
from recipelang.training.loop import fit

TASK = Classification()


def named(*texts: str) -> tuple[Selector, ...]:
    return tuple(Selector("glob", text) for text in texts)


def trained(network: Network, data: ImageDataset, silent: Any, trains: Selection, **more: Any) -> Network:
    training = Training(Duration(2), Sgd(0.1), trains=trains)
    how: Any = {"progress": silent(), "task": TASK, "seed": 0, "precision": "float32", **more}
    return fit(network, data, training, **how)[0]


def changed(before: Network, after: Network) -> set[str]:
    own = before.module.state_dict()
    return {name for name, tensor in after.module.state_dict().items() if not torch.equal(tensor, own[name])}


def test_only_what_is_selected_trains(network: Network, data: ImageDataset, silent: Any) -> None:
    everything = changed(network, trained(network, data, silent, Selection()))
    head = {name for name in everything if name.startswith("7.")}
    norm = next(path for path, part in network.module.named_modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert changed(network, trained(network, data, silent, Selection(named("7")))) == head
    rest = changed(network, trained(network, data, silent, Selection(exclude=(Selector("last"),))))
    assert rest == everything - head
    assert f"{norm}.running_mean" in rest
    without_norm = changed(network, trained(network, data, silent, Selection(exclude=named(norm))))
    assert without_norm == {name for name in everything if not name.startswith(f"{norm}.")}


def test_what_had_gradients_has_them_again(network: Network, data: ImageDataset, silent: Any) -> None:
    first = next(iter(network.module.parameters()))
    frozen = network.clone()
    next(iter(frozen.module.parameters())).requires_grad_(False)
    after = trained(frozen, data, silent, Selection(named("7")))
    flags = [p.requires_grad for p in after.module.parameters()]
    assert flags == [False] + [True] * (len(flags) - 1) and first.requires_grad
    assert not after.module.training and all(not part.training for part in after.module.modules())


def test_killed_and_continued(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    chosen = Selection(named("4", "7"))
    whole = trained(network, data, silent, chosen)
    with pytest.raises(Killed):
        trained(network, data, silent, chosen, progress=silent(kill_after(3)), checkpoint=tmp_path / "c")
    assert changed(whole, trained(network, data, silent, chosen, checkpoint=tmp_path / "c")) == set()


def test_a_selection_without_parameters_is_refused(network: Network, data: ImageDataset, silent: Any) -> None:
    relu = next(path for path, part in network.module.named_modules() if isinstance(part, torch.nn.ReLU))
    with pytest.raises(Refusal) as refused:
        trained(network, data, silent, Selection(named(relu)))
    assert refused.value.code == "RCP0725" and "`in` and `except`" in refused.value.message


def test_older_keys_of_whole_trainings_are_kept() -> None:
    assert "trains" not in canonical(Training(Duration(2), Sgd(0.1)))


@pytest.mark.parametrize("verb", ["finetune", "distill from healthy"])
def test_in_a_recipe_and_its_control(verb: str, tmp_path: Path) -> None:
    text = f"""
        model digits_resnet
        data digits
        prune 1 layers by random
        {verb} for 2 steps in "layer*" except "layer1"
        control
        measure top1
    """
    plan = check(parse(text))
    step: Any = next(node for node in plan.nodes if isinstance(node, Step) and node.operation.role == "training")
    assert [str(one) for one in step.operation.training.trains.include] == ['"layer*"']
    result = execute(plan, Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    assert result.exit_code == 0


def test_a_selector_without_a_match_fails_the_plan(tmp_path: Path) -> None:
    plan = check(parse('model digits_resnet\ndata digits\nfinetune for 2 steps in "layr1"'))
    with pytest.raises(RecipeError) as refused:
        make(plan, Options(out=tmp_path / "out", store=tmp_path / "store", threads=1), timed=False)
    assert [problem.code for problem in refused.value.diagnostics] == ["RCP0703"]
