"""A teacher answers with the student's classes, in the student's order, for the student's images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Preprocessing
from recipelang.surgery.network import Network
from recipelang.training.teachers import translated

DATA = Preprocessing((4, 4), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def network(classes: tuple[str, ...], preprocessing: Preprocessing | None = DATA, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, len(classes)))
    return Network(module, {}, (3, 4, 4), classes=classes, preprocessing=preprocessing)


STUDENT = network(("cat", "dog", "eel"), seed=1)
IMAGES = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(2))


def test_a_teacher_of_the_same_classes_is_left_as_it_is() -> None:
    teacher = network(("cat", "dog", "eel"))
    assert translated(teacher, STUDENT, "old") == (teacher, "")


def test_another_order_is_the_head_with_its_rows_in_the_students_order() -> None:
    teacher = network(("eel", "cat", "dog"))
    by_hand = teacher.clone()
    head, own = by_hand.module[3], teacher.module[3]
    with torch.no_grad():
        for row, source in enumerate((1, 2, 0)):
            head.weight[row], head.bias[row] = own.weight[source], own.bias[source]
    ready, note = translated(teacher, STUDENT, "old")
    assert torch.equal(ready.module(IMAGES), by_hand.module(IMAGES))
    assert ready.classes == STUDENT.classes and note == "the classes of `old` are matched by name"


def test_of_more_classes_the_students_are_taken() -> None:
    teacher = network(("ant", "dog", "bee", "cat", "eel"))
    ready, note = translated(teacher, STUDENT, "old")
    whole = teacher.module(IMAGES)
    assert torch.equal(ready.module(IMAGES), torch.stack([whole[:, 3], whole[:, 1], whole[:, 4]], 1))
    assert note == "3 of the 5 classes of `old` are used, matched by name"


def test_a_teacher_sees_images_normalised_as_it_learnt_them() -> None:
    own = Preprocessing((4, 4), (0.1, 0.2, 0.6), (0.5, 0.4, 0.9))
    teacher = network(("cat", "dog", "eel"), own)
    raw = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    for_student = (raw - torch.tensor(DATA.mean)[:, None, None]) / torch.tensor(DATA.std)[:, None, None]
    for_teacher = (raw - torch.tensor(own.mean)[:, None, None]) / torch.tensor(own.std)[:, None, None]
    ready, _ = translated(teacher, STUDENT, "old")
    torch.testing.assert_close(ready.module(for_student), teacher.module(for_teacher), rtol=1e-4, atol=1e-5)


def test_a_teacher_that_lacks_a_class_or_reads_other_channels_is_refused() -> None:
    for teacher in (network(("cat", "dog")), network(("a", "b", "c")), network(("cat", "dog", "fox", "gnu"))):
        with pytest.raises(Refusal, match="the teacher `old` does not know the class") as refused:
            translated(teacher, STUDENT, "old")
        assert refused.value.code == "RCP0914"
    with pytest.raises(Refusal, match="reads 1 channels") as refused:
        translated(replace(STUDENT, input_shape=(1, 4, 4)), STUDENT, "old")
    assert refused.value.code == "RCP0914"
