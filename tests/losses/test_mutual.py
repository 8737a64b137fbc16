"""Mutual learning: the formula of the paper, two networks in one training against two trainings written out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Moment, Preprocessing, Quiet, Seen
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

MUTUAL: Any = catalogue.find("loss", "mutual")
TASK = Classification()


def naive(mine: Tensor, others: list[Tensor], labels: Tensor) -> Tensor:
    """Equation 8 for one network, sample by sample."""
    total = torch.zeros((), dtype=mine.dtype)
    for n, label in enumerate(labels):
        p = mine[n].exp() / mine[n].exp().sum()
        total = total - p[label].log()
        for other in others:
            q = (other[n].exp() / other[n].exp().sum()).detach()
            total = total + (q * (q.log() - p.log())).sum() / len(others)
    return total / len(labels)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_sum_is_that_of_all_networks(count: int) -> None:
    torch.manual_seed(0)
    answers = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(count + 1)]
    labels = torch.tensor([0, 1, 2, 3, 0])
    mine, *peers = (Seen(None, answer, (), None) for answer in answers)
    found = MUTUAL()(mine, tuple(peers), labels, TASK, None, Moment(0, 1, 1)) + TASK.loss(answers[0], labels)
    wanted = sum(naive(one, [other for other in answers if other is not one], labels) for one in answers)
    torch.testing.assert_close(found, wanted)
    for one, two in zip(torch.autograd.grad(found, answers), torch.autograd.grad(wanted, answers), strict=True):
        torch.testing.assert_close(one, two)


def small(seed: int, wide: int = 6) -> Network:
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, wide, 3), nn.BatchNorm2d(wide), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = nn.Sequential(*body, nn.Linear(wide, 3))
    return Network(module.eval(), {}, (3, 8, 8), classes=("a", "b", "c"))


def data() -> ImageDataset:
    import numpy as np

    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    pixels = (random.integers(0, 90, (24, 8, 8, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    images: Any = {split: ArrayImages(pixels, labels.astype(np.int64)) for split in ("train", "val", "test")}
    return ImageDataset("toy", ("a", "b", "c"), Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3), "f" * 64, 8, images)


def trained(student: Network, peer: Network, steps: int = 4, **how: Any) -> Any:
    training = Training(
        Duration(steps, "steps"), Sgd(0.1, momentum=0.9, weight_decay=0.0), (Term(1.0, MUTUAL()), Term(1.0, None))
    )
    teachers = (Teacher("other", peer),)
    return fit(
        student,
        data(),
        training,
        teachers=teachers,
        task=TASK,
        seed=3,
        precision="float32",
        **{"progress": Quiet(), **how},
    )


def test_two_networks_in_one_training_are_two_trainings_written_out() -> None:
    student, peer = small(0), small(1, 9)
    after, record = trained(student, peer)
    nets = [copy.deepcopy(one.module).train() for one in (student, peer)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in nets]
    given = [batch for epoch in range(2) for batch in data().batches("train", epoch=epoch, seed=3)][:4]
    for images, labels in given:
        answers = [net(images) for net in nets]
        for one, optimizer in zip(answers, optimizers, strict=True):
            optimizer.zero_grad()
            naive(one, [other.detach() for other in answers if other is not one], labels).backward()
        for optimizer in optimizers:
            optimizer.step()
    for net, found in zip(nets, (after, record.beside["peer1"]), strict=True):
        for name, tensor in net.state_dict().items():
            torch.testing.assert_close(found.module.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert torch.equal(peer.module[0].weight, small(1, 9).module[0].weight)  # the state stays as it was
    assert list(after.module.state_dict()) == list(student.module.state_dict())


class Dying(Quiet):
    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done = getattr(self, "done", 0) + parts
        if self.done == 3:
            raise ZeroDivisionError


def test_killed_and_continued_to_the_same_bytes_with_masks_of_the_peer(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("recipelang.training.loop.SAVE_EVERY", -1.0)
    student, peer = small(0), small(1)
    keep = torch.rand(6, 3, 3, 3) < 0.5
    peer = peer.restricted({"0.weight": Mask("some", keep)})
    whole, record = trained(student, peer)
    path = tmp_path / "checkpoint"
    with pytest.raises(ZeroDivisionError):
        trained(student, peer, progress=Dying(), checkpoint=path)
    again, continued = trained(student, peer, checkpoint=path)
    assert continued.resumed_at == 2
    for one, two in ((whole, again), (record.beside["peer1"], continued.beside["peer1"])):
        for name, tensor in one.module.state_dict().items():
            assert torch.equal(tensor, two.module.state_dict()[name])
    found = record.beside["peer1"]
    assert (found.module[0].weight[~keep] == 0).all() and (found.module[0].weight[keep] != 0).any()
    assert set(found.restrictions) == {"0.weight"}


def test_what_makes_no_sense_is_refused(tmp_path: Any) -> None:
    from recipelang.stages.distill import _require_different

    head = "data digits\nmodel digits_resnet\nkeep as other\ntrain from scratch for 1 steps\n"
    plan = check(parse(head + "distill from other for 1 steps with mutual", "test.rcp"))
    operation: Any = plan.nodes[-1].operation  # type: ignore[union-attr]
    assert operation.needs().beside == ("peer1",)
    with pytest.raises(Refusal) as caught:
        _require_different(operation, small(0), [Teacher("other", small(0))])
    assert caught.value.code == "RCP1521"
    _require_different(operation, small(0), [Teacher("other", small(1))])
    for text, code in (
        ("distill from other for 1 steps with mutual + kd", "RCP0412"),
        ("finetune for 1 steps with mutual", "RCP0411"),
    ):
        with pytest.raises(RecipeError) as wrong:
            check(parse(head + text, "test.rcp"))
        assert [error.code for error in wrong.value.diagnostics] == [code]


EQUAL = "data digits\nmodel digits_resnet\n"
TOGETHER = "distill from other for 1 steps with mutual\n"


@pytest.mark.parametrize(
    "text",
    [
        "keep as other\n",
        "keep as other\nmeasure top1\n",
        "train for 1 steps\nkeep as other\nfinetune for 1 steps\nstart from other\n",
    ],
    ids=["kept", "measured", "returned"],
)
def test_a_peer_that_the_network_is_itself_is_known_without_a_run(text: str) -> None:
    with pytest.raises(RecipeError) as wrong:
        check(parse(EQUAL + text + TOGETHER, "test.rcp"))
    assert [error.code for error in wrong.value.diagnostics] == ["RCP1521"]


@pytest.mark.parametrize(
    "text",
    [
        "keep as other\ntrain from scratch for 1 steps\n",
        "train for 1 steps\nkeep as other\nprune 1 layers by random\n",
        "keep as other\ntrain for 1 steps\n",
        "train for 1 steps\nkeep as other\nvariant a { finetune for 1 steps }\nvariant b { prune 1 layers by random }\n"
        "choose by flops\n",
    ],
    ids=["scratch", "pruned", "trained", "chosen"],
)
def test_a_peer_that_may_differ_is_not_refused(text: str) -> None:
    assert check(parse(EQUAL + text + TOGETHER, "test.rcp")).nodes
