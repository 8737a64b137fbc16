"""`cached`: teachers answer once about each sample; the training is the one in which they answer in each step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.dataset import ArrayImages, FileImages, ImageDataset, SomeImages
from recipelang.images.parts import Picked
from recipelang.images.view import Relabelled
from recipelang.kinds import Companion, Loss
from recipelang.meaning.caching import why_not
from recipelang.methods.companions.accumulate import Accumulate
from recipelang.methods.companions.cached import Cached
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training import loop
from recipelang.training.history import FitRecord
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

TASK = Classification()
SETUP = "model digits_resnet\ndata digits(augment=none)\nprune 1 layer by random\n"
KD = (Term(0.7, Kd(4.0)), Term(0.3, TaskLoss()))
ASKED: list[Tensor] = []
FOUND = {name: catalogue.find("loss", name) for name in catalogue.names("loss")}


class Noting(nn.Module):
    """A teacher that notes the images that it is asked about."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        ASKED.append(images)
        answer: Tensor = self.inner(images)
        return answer


@pytest.fixture
def same(data: ImageDataset) -> ImageDataset:
    """The data without augmentation."""
    images: Any = data.images
    return replace(data, images={split: replace(one, padding=(0, 0), flip=False) for split, one in images.items()})


@pytest.fixture
def trained(
    network: Network, another: Any, same: ImageDataset, silent: Any
) -> Callable[..., tuple[Network, FitRecord]]:
    def run(*companions: Companion, teachers: int = 1, **more: Any) -> tuple[Network, FitRecord]:
        ASKED.clear()
        training = Training(Duration(3), Sgd(0.1), more.pop("losses", KD), companions=companions)
        named = []
        for n in range(teachers):
            made = another(seed=5 + n)
            named.append(Teacher(f"t{n}", replace(made, module=Noting(made.module).eval())))
        how: Any = {"task": TASK, "seed": 4, "progress": silent(), "precision": "float32", **more}
        return fit(network, how.pop("data", same), training, teachers=named, **how)

    return run


def state(network: Network) -> dict[str, Tensor]:
    return network.module.state_dict()


@pytest.mark.parametrize("more", [{}, {"samples": 37}, {"teachers": 2}], ids=str)
def test_it_trains_as_without(trained: Any, more: dict[str, Any]) -> None:
    plain, before = trained(**more)
    kept, after = trained(Cached(), **more)
    for name, tensor in state(plain).items():
        torch.testing.assert_close(state(kept)[name], tensor, rtol=1e-4, atol=1e-5)
    for row, other in zip(before.history, after.history, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-4)


def test_it_trains_as_without_in_steps_of_several_batches(trained: Any) -> None:
    plain, _ = trained(Accumulate(2))
    kept, _ = trained(Accumulate(2), Cached())
    for name, tensor in state(plain).items():
        torch.testing.assert_close(state(kept)[name], tensor, rtol=1e-4, atol=1e-5)


def test_each_sample_is_asked_about_once(trained: Any, same: ImageDataset) -> None:
    trained(Cached())
    every = torch.cat([inputs for inputs, _ in same.batches("train")])
    asked = torch.cat(ASKED[:-3])  # the last three are timed
    assert torch.equal(asked, every) and {len(images) for images in ASKED[-3:]} == {16}


def test_the_record_says_what_it_cost(trained: Any) -> None:
    _, record = trained(Cached(), teachers=2)
    number = r"([\d.e+-]+)"
    told = re.search(
        rf"`cached`: the teachers answered about 70 samples in {number} s, kept in {number} MB; a batch took {number} "
        rf"s, would have taken {number} s with them, and this (saved about {number} s|took about {number} s more than)",
        record.left.note,
    )
    assert told and float(told[2]) == pytest.approx(2 * 70 * 3 * 4 / 1e6, rel=0.01) and float(told[4]) > float(told[3])


@pytest.mark.parametrize("steps", [2, 9])
def test_a_killed_training_ends_with_the_same_bytes(
    trained: Any, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """After two batches the teachers are answering, which takes five; after nine the network trains."""
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    whole, record = trained(Cached())
    with pytest.raises(Killed):
        trained(Cached(), checkpoint=tmp_path / "c", progress=silent(kill_after(steps)))
    assert (tmp_path / "c-answers" / "answers.json").exists() is (steps == 9)
    again, continued = trained(Cached(), checkpoint=tmp_path / "c")
    asked = len(ASKED) - 3
    assert (continued.resumed_at, asked) == ((0, 5) if steps == 2 else (8, 0))
    assert continued.history == record.history
    for name, tensor in state(whole).items():
        assert torch.equal(state(again)[name], tensor)


def test_answers_of_another_training_are_not_used(trained: Any, tmp_path: Path) -> None:
    first, _ = trained(Cached(), checkpoint=tmp_path / "c")
    whole, _ = trained(Cached(), seed=5)
    other, record = trained(Cached(), seed=5, checkpoint=tmp_path / "c")
    assert record.resumed_at == 0 and len(ASKED) - 3 == 5
    assert all(torch.equal(state(other)[name], tensor) for name, tensor in state(whole).items())
    assert not all(torch.equal(state(other)[name], tensor) for name, tensor in state(first).items())


def test_answers_that_were_damaged_are_asked_for_again(trained: Any, silent: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(Cached(), checkpoint=tmp_path / "c", progress=silent(kill_after(9)))
    (tmp_path / "c-answers" / "0.npy").write_bytes(b"\x93NUMPY")
    trained(Cached(), checkpoint=tmp_path / "c")
    assert len(ASKED) - 3 == 5


def test_answers_larger_than_allowed_are_refused(trained: Any, same: ImageDataset) -> None:
    class Small(Cached):
        def holds(self) -> int:
            return 839

    with pytest.raises(Refusal, match=r"need 8.4e-07 GB, and `cached` may keep 8.39e-07 GB") as no:
        trained(Small())
    assert no.value.code == "RCP1524" and not ASKED


class Telling:
    """Data that says this of its augmentation; nothing where it is None."""

    def __init__(self, data: ImageDataset, augments: bool | None) -> None:
        self._data, self._augments = data, augments

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or (name == "augments" and self._augments is None):
            raise AttributeError(name)
        return self._augments if name == "augments" else getattr(self._data, name)


def test_data_is_refused_that_augments_or_does_not_say(trained: Any, data: ImageDataset, same: ImageDataset) -> None:
    for one, why in ((data, "augments its samples"), (Telling(same, None), "does not say whether it augments")):
        with pytest.raises(Refusal, match=why) as no:
            trained(Cached(), data=one)
        assert no.value.code == "RCP1523" and not ASKED

    class Unnumbered(Telling):
        def __getattr__(self, name: str) -> Any:
            if name == "drawn":
                raise AttributeError(name)
            return super().__getattr__(name)

    with pytest.raises(Refusal, match="`cached` keeps something for each training sample") as no:
        trained(Cached(), data=Unnumbered(same, False))
    assert no.value.code == "RCP1500"


def test_data_says_whether_it_augments(data: ImageDataset, same: ImageDataset) -> None:
    pixels: Any = data.images["train"]
    assert data.augments and not same.augments
    assert SomeImages(pixels, np.arange(3)).augments and not SomeImages(same.images["train"], np.arange(3)).augments
    assert ArrayImages(pixels.images, pixels.labels, flip=True).augments
    nothing: Any = None
    files = [FileImages(nothing, (), pixels.labels, data.preprocessing, one) for one in (True, False)]
    assert [one.augments for one in files] == [True, False]
    assert Relabelled(data, ("c", "b", "a"), (2, 1, 0)).augments and not Picked(data, (1, 2)).augments
    silent: Any = Telling(same, None)
    assert not hasattr(Relabelled(silent, ("a", "b", "c"), (0, 1, 2)), "augments")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("distill from healthy for 2 epochs with at, cached", "`at` compares more than outputs"),
        ("distill from healthy for 2 epochs with kd + at, cached", "`at` compares more than outputs"),
        ("distill from healthy for 2 epochs with jacobian, cached", "`jacobian` "),
        ("distill from healthy for 2 epochs with query_efficient, cached", "`query_efficient` asks its teacher only"),
        ("distill from healthy for 2 epochs with mutual, cached", "`mutual` trains its teachers along"),
        ("distill from healthy for 2 epochs with kd, cached, mixup", "`mixup` changes the images in every step"),
        ("distill from healthy for 2 epochs with kd, cutmix, cached", "`cutmix` changes the images in every step"),
        ("distill from healthy on nothing for 2 epochs with kd, cached", "`on nothing` makes its own"),
        ("distill from self for 2 epochs with self(classifiers=2), cached", "compare with none"),
        ("finetune for 2 epochs with cached", "compare with none"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_check(line: str, why: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(f"{SETUP}{line}"))
    assert [one.code for one in refused.value.diagnostics] == ["RCP1523"]
    assert why in refused.value.diagnostics[0].message


def test_every_loss_is_kept_or_refused_with_a_reason() -> None:
    kept = set()
    for name, loss in FOUND.items():
        made: Any = loss()  # type: ignore[misc]
        why = why_not(Training(Duration(1), Sgd(0.1), (Term(1.0, made),), companions=(Cached(),)))
        assert not why or f"`{name}`" in why or made.teachers[1] == 0
        kept |= set() if why else {name}
        assert why or made.compares == ("outputs",)
    assert {"kd", "mis"} <= kept and not {"at", "crd", "deit", "mutual", "query_efficient"} & kept


class Inside(Loss):
    """Of a package: it says no more than it must."""

    name: ClassVar[str] = "inside"
    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = True


def test_a_loss_of_a_package_that_looks_inside_is_refused() -> None:
    made = Inside()  # type: ignore[abstract]
    training = Training(Duration(1), Sgd(0.1), (Term(1.0, made),), companions=(Cached(),))
    assert why_not(training) == "`inside` compares more than outputs, and `cached` keeps the outputs of teachers alone"


def test_a_whole_recipe(tmp_path: Path) -> None:
    text = f"{SETUP}distill from healthy for 2 epochs with kd, cached\nmeasure top1\ncontrol\n"
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    assert "`cached`: the teachers answered about" in json.dumps(result.report, ensure_ascii=False)
    assert not list((tmp_path / "store").rglob("*-answers"))
