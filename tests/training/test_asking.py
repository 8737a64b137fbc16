"""`query_efficient`: the teacher is asked where the network errs, and nowhere else; the record says how often."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Moment, Seen
from recipelang.methods.losses.query_efficient import QueryEfficient
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.teachers import Teacher

TASK = Classification()
NOW = Moment(0, 10, 5)


def test_it_is_the_formula_of_the_thesis() -> None:
    loss = QueryEfficient()
    outputs, theirs = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4)
    targets = outputs.argmax(1).clone()
    targets[[1, 4, 6]] = (targets[[1, 4, 6]] + 1) % 4  # where it errs
    asked = loss.asks(outputs.detach(), targets, TASK)
    assert asked.nonzero().flatten().tolist() == [1, 4, 6]
    teacher = Seen(None, theirs[asked], (), None, asked)
    got = loss(Seen(None, outputs, (), None), (teacher,), targets, TASK, loss.parts(()), NOW)
    wanted = -torch.stack([outputs[k].log_softmax(0)[theirs[k].argmax()] for k in (1, 4, 6)]).mean()
    torch.testing.assert_close(got, wanted)


def test_without_errors_nothing_is_asked_and_nothing_learned() -> None:
    loss = QueryEfficient()
    outputs = torch.randn(5, 4, requires_grad=True)
    nobody = torch.zeros(5, dtype=torch.bool)
    teacher = Seen(None, None, (), None, nobody)
    got = loss(Seen(None, outputs, (), None), (teacher,), outputs.argmax(1), TASK, loss.parts(()), NOW)
    got.backward()
    assert float(got.detach()) == 0 and outputs.grad is not None and not outputs.grad.any()


class Counting(nn.Module):
    """A teacher that counts the images that it is asked about."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        COUNTS.append(len(images))
        answer: Tensor = self.inner(images)
        return answer


COUNTS: list[int] = []


def trained(network: Network, data: ImageDataset, silent: Any, **more: Any) -> tuple[Network, FitRecord]:
    teacher = network.clone()
    counting = Network(Counting(teacher.module).eval(), {}, teacher.input_shape, classes=teacher.classes)
    training = Training(Duration(3), Sgd(0.1), (Term(1.0, TaskLoss()), Term(1.0, QueryEfficient())))
    how: Any = {"task": TASK, "seed": 4, "precision": "float32", "progress": silent(), **more}
    return fit(network, data, training, teachers=(Teacher("big", counting),), **how)


def test_the_teacher_sees_what_it_is_asked_about(network: Network, data: ImageDataset, silent: Any) -> None:
    COUNTS.clear()
    _, record = trained(network, data, silent)
    (share, count) = re.search(r"asked about ([\d.]+)% of (\d+) samples", record.left.note).groups()  # type: ignore[union-attr]
    assert int(count) == record.images
    asked = sum(COUNTS[:-3])  # the last three are timed, on whole batches
    assert COUNTS[-3:] == [COUNTS[-1]] * 3
    assert f"{asked / record.images:.1%}" == f"{share}%" and 0 < asked < record.images
    assert "which saved about" in record.left.note


def test_a_killed_training_counts_on(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    whole, record = trained(network, data, silent)
    with pytest.raises(Killed):
        trained(network, data, silent, progress=silent(kill_after(5)), checkpoint=tmp_path / "c")
    again, continued = trained(network, data, silent, checkpoint=tmp_path / "c")
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name])
    assert continued.left.note.split(", which")[0] == record.left.note.split(", which")[0]


def test_another_loss_of_the_same_teacher_is_refused() -> None:
    text = "model digits_resnet\ndata digits\nprune 1 layers by random\n"
    with pytest.raises(RecipeError) as refused:
        check(parse(f"{text}distill from healthy with kd + query_efficient"))
    assert [one.code for one in refused.value.diagnostics] == ["RCP0412"]
    assert check(parse(f"{text}distill from healthy with query_efficient")).nodes


def test_the_record_says_it(tmp_path: Path) -> None:
    text = """
        model digits_resnet
        data digits
        train for 1 epochs
        prune 2 layers by random
        distill from healthy for 1 epochs with query_efficient, mixup
        measure top1
    """
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    assert "the teacher was asked about" in json.dumps(result.report)
