"""What a companion of a training costs: processor time of a step with it over that of a plain step; the target is 1.10.

    python benchmarks/companions.py [--rounds 5] [--steps 24] [--every 12] [--threads 1] [--only rigl,agp,ssl]

ResNet-20 trains on images of CIFAR's size, in batches of 128, to 90 % zeros by each schedule of masks in turn, with
each companion that `with` names, and without any, in an order that changes from round to round. A step is timed from
the end of the one before it; the first of a training is left out. Masks move every `--every` steps, so the time of
updates is in the mean; by default they move eight times as often as those of `rigl` and `agp` do where a recipe says
nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import torch
from training import synthetic

from recipelang import catalogue
from recipelang.kinds import Dataset, Masking, ModelRequest, Quiet
from recipelang.methods.companions.ssl import Ssl
from recipelang.methods.companions.sss import Sss
from recipelang.methods.models.resnet20 import ResNet20
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.plan import Course, Duration, Training
from recipelang.scoring.following import following
from recipelang.surgery import masks
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.machine import choose_precision

TARGET = 1.10
TARGETED = ("rigl", "agp", "surgery", "slimming")
SHARE = 0.9
#: companions that differ in what they do by their settings
MORE = {
    "ssl layers": Ssl(1e-3, unit=Layers()),
    "ssl channels": Ssl(channels=1e-3),
    "ssl shapes": Ssl(shapes=1e-3),
    "ssl in the loss": Ssl(1e-3, proximal=False),
    "sss filters": Sss(unit=Filters()),
}


class Marks(Quiet):
    """Notes the processor time at the end of every step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def advance(self, parts: int = 1, note: str = "") -> None:
        if parts:
            self.marks.append(time.process_time())

    @property
    def step(self) -> float:
        """The mean of all steps but the first."""
        return (self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)


def schedule(name: str, every: int) -> Any:
    """A schedule that moves masks so often, if that can be said."""
    found: Any = catalogue.find("schedule", name)
    return found(every=Duration(every, "steps")) if "every" in {field.name for field in fields(found)} else found()


def following_masks(network: Network, made: Any) -> Any:
    """What accompanies a training to 90 % zeros by this schedule."""
    names, _ = masks.eligible(network, Weights(SHARE))

    def score(live: Network) -> dict[str, torch.Tensor]:
        return {name: live.module.get_parameter(name).detach().abs() for name in names}

    return following(Masking(Course(made, SHARE), Weights(SHARE), names, dict.fromkeys(names, SHARE), score))


def companion(name: str, network: Network, every: int) -> Any:
    """The companion of this name, or the one of the schedule."""
    if name in MORE:
        return MORE[name]
    found: Any = catalogue.find("companion", name)
    return found() if found is not None else following_masks(network, schedule(name, every))


def trained(network: Network, data: Dataset, steps: int, companions: tuple[Any, ...]) -> float:
    """The processor time of a step of a training with these companions."""
    training = Training(Duration(steps, "steps"), Sgd(0.01), companions=companions)
    marks = Marks()
    fit(network, data, training, task=Classification(), seed=0, progress=marks)
    return marks.step


def in_turn(names: Sequence[str], rounds: int, measure: Callable[[str], float]) -> dict[str, list[float]]:
    """What each of several ways takes in every round, one after another, each round beginning with the next one."""
    found: dict[str, list[float]] = {name: [] for name in names}
    order = list(names)
    for _ in range(rounds):
        for name in order:
            found[name].append(measure(name))
        order = [*order[1:], order[0]]
    return found


def main() -> None:
    every: dict[str, Any] = {name: catalogue.find("schedule", name) for name in catalogue.names("schedule")}
    names = [name for name, cls in every.items() if "masks" in cls.moves and not hasattr(cls, "states")]
    names += [*catalogue.names("companion"), *MORE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(names))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = synthetic()
    network = ResNet20().build(ModelRequest(classes=data.classes, input_shape=data.input_shape))
    ways: dict[str, tuple[Any, ...]] = {"": ()}
    ways |= {name: (companion(name, network, given.every),) for name in given.only.split(",")}
    seconds = in_turn(list(ways), given.rounds, lambda name: trained(network, data, given.steps, ways[name]))
    plain = seconds.pop("")
    precision = choose_precision("auto", "cpu")
    print(
        f"a plain step: {1e3 * statistics.median(plain):.0f} ms of processor time, {precision}, batches of {data.batch}"
    )
    for name, taken in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(taken, plain, strict=True)]
        target = f", target {TARGET:.2f}" if name in TARGETED else ""
        print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}){target}")


if __name__ == "__main__":
    main()
