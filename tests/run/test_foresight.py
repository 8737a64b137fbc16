"""What a plan says of time and a failed export leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import Refusal
from recipelang.plan import steps_of
from recipelang.run import foresight

HEAD = "model digits_resnet\ndata digits\nmeasure top1\n"


@pytest.fixture
def seconds(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The rough time of a last line, one second for an image."""
    monkeypatch.setattr(foresight, "_seconds_per_image", lambda network, options: 1.0)

    def read(line: str) -> float:
        plan = lab.checked(HEAD + line + "\n")
        operation = list(steps_of(plan.nodes))[-1].operation
        network, data = network_and_data(lab)
        return float(foresight.seconds(operation, network, data, lab.options(smoke=False)) or 0.0)

    return read


def network_and_data(lab: Any) -> tuple[Any, Any]:
    from recipelang.kinds import ModelRequest
    from recipelang.methods.data.digits import Digits
    from recipelang.methods.models.digits_resnet import DigitsResNet

    data = Digits().open(lambda path: path)
    return DigitsResNet().build(ModelRequest(data.classes, data.input_shape)), data


def test_a_plan_counts_the_images_that_a_criterion_looks_at(seconds: Any) -> None:
    assert seconds("sparsify nm 2:4 by magnitude") == 0
    assert seconds("sparsify nm 2:4 by wanda on train(samples=64)") == 64
    assert seconds("sparsify nm 2:4 by taylor on train(samples=64)") == 3 * 64
    assert seconds("sparsify nm 2:4 by sparsegpt on train(samples=64)") == 64 * 22 / 2  # weights
    assert seconds("sparsify nm 2:4 by wanda") == 1079
    assert seconds("prune 1 layers by imprint") == 1079 + 359


def test_a_variant_whose_export_fails_keeps_its_numbers(lab: Any) -> None:
    done = lab.run(
        HEAD + "variant a { sparsify nm 2:4 }\nvariant b { sparsify nm 4:8 }\nexport safetensors(packed=true)\n"
    )
    assert done.code == 3
    broken = done.variant("b")
    assert broken["error"]["code"] == "RCP1301"
    assert broken["metrics"]["top1"]["value"] == done.metric("top1", "b")
    assert broken["layers"] and broken["runs"][0]["folder"] == "b"
    assert not (done.folder / "b" / "export").exists()
    assert (done.folder / "a" / "export" / "model.safetensors").exists()


def test_a_plan_holds_schedules_in_epochs_against_trainings_in_steps(lab: Any) -> None:
    """1079 training images in batches of 64 are 16 steps an epoch."""
    _, data = network_and_data(lab)
    assert data.size("train") // data.batch == 16

    def told(text: str) -> str:
        *_, step = steps_of(lab.checked(HEAD + text).nodes)
        try:
            foresight.fit_schedules(step.operation, data)
        except Refusal as refusal:
            return refusal.message
        return ""

    assert told("train for 33 steps with sgd(lr=multistep(0.1, at=[2]))") == ""
    assert told("train for 32 steps with sgd(lr=multistep(0.1, at=[2]))") == (
        "epoch 2 of `at` is never reached: the training lasts 32 steps (an epoch is 16 steps)"
    )
    rounds = "prune 1 layers by imprint over 4 rounds for @ steps with sgd(lr=multistep(1, at=[1]))"
    assert "never reached" in told(rounds.replace("@", "64"))
    assert told(rounds.replace("@", "68")) == ""
    assert "warm-up" in told("train for 1 epochs on train(samples=128) with sgd(lr=cosine(0.1, warmup=2 steps))")
