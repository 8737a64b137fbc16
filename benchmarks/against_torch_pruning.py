"""Our layers and filters beside the filters of Torch-Pruning: accuracy at equal measured latency; about an hour.

    python benchmarks/against_torch_pruning.py --data cifar10 --weights resnet56.safetensors --out FOLDER

Needs `pip install "recipelang[bench]"`, the images of CIFAR-10 and a ResNet-56 for them.

Every way of pruning gets the same budgets, the same clock and the same fine-tuning: 10,000 images, one epoch, SGD with
lr 0.01, for each seed with other images in another order. A network meets a budget if the upper end of the interval of
its latency does, in the deployed form (BatchNorm folded) with one image: ours is found by `prune … until latency <
0.85`, theirs is that of the smallest ratio of pruning that does. Of several settings of each tool the
best is chosen by its accuracy on the validation split after fine-tuning with the first seed; the figures are those of
the 10,000 test images. What has been done is kept in FOLDER, and a second call continues there.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recipelang.budgets import conditions
from recipelang.check import check
from recipelang.kinds import Dataset, Measurement, ModelRequest, Quiet, names_of
from recipelang.measuring.predict import take
from recipelang.methods.data.cifar10 import Cifar10
from recipelang.methods.metrics.flops import Flops
from recipelang.methods.metrics.latency import Latency
from recipelang.methods.metrics.top1 import Top1
from recipelang.methods.models.resnet56 import ResNet56
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Reading, Step, Training
from recipelang.stages import prune
from recipelang.stages.context import Context
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit

IMAGES = 10_000
ONE = Latency()
#: statements of ours; the first of each sort is the default
LAYERS = {"layers, imprint": "prune layers by imprint"}
FILTERS = {
    "filters, L2": "prune filters by magnitude",
    "filters, L2, multiples of 8": "prune filters(round=8) by magnitude",
    "filters, L1, multiples of 8": "prune filters(round=8) by magnitude(p=1)",
}
#: settings of Torch-Pruning: first what its README shows, then what may be better
THEIRS: dict[str, dict[str, Any]] = {
    "theirs, L2, multiples of 8": {"round_to": 8},
    "theirs, L2, any width": {},
    "theirs, L1, multiples of 8": {"p": 1, "round_to": 8},
    "theirs, L2, global": {"global_pruning": True},
}


@dataclass
class Bench:
    """What both tools share.

    Attributes:
        healthy: the network before any surgery.
        data: its data; `out`: where finished networks and numbers are kept.
    """

    healthy: Network
    data: Dataset
    out: Path
    _known: dict[str, Measurement] = field(default_factory=dict)

    def latency(self, network: Network, metric: Latency = ONE, brief: bool = False) -> Measurement:
        """Timed alternately with healthy; once for each architecture. `brief`: in about a second."""
        key = f"{metric} {brief} {shapes(network.module)}"
        if key not in self._known:
            mine, theirs = (metric.runtime.prepare(n, metric.deployment) for n in (network, self.healthy))
            timed = metric.glance if brief else metric.measure
            self._known[key] = timed(mine, theirs, network.input_shape)
        return self._known[key]

    def flops(self, network: Network) -> float:
        """Relative to healthy."""
        mine, theirs = (Flops().measure(deployed(n), n, n.input_shape).value for n in (network, self.healthy))
        return mine / theirs

    def read(self, reading: Reading, network: Network) -> conditions.Value:
        """A ratio to healthy, for a condition."""
        if isinstance(reading.metric, Latency):
            timed = self.latency(network, reading.metric)
            return conditions.Value(timed.ratio or 1.0, timed.ratio_low or 1.0, timed.ratio_high or 1.0)
        ratio = self.flops(network)
        return conditions.Value(ratio, ratio, ratio)

    def pruned(self, statement: str) -> Network:
        """Healthy after a `prune` statement."""
        context = Context(
            network=self.healthy,
            data=self.data,
            task=Classification(),
            seed=0,
            device="cpu",
            threads=1,
            folder=self.out,
            state=lambda name: self.healthy,
            judge=lambda condition, network, surely: conditions.judge(
                condition, lambda reading: self.read(reading, network), "surely" if surely else "likely"
            ),
            read=lambda reading, network: self.read(reading, network).value,
            progress=Quiet(),
        )
        return prune.run(operation(statement), context).network

    def tuned(self, network: Network, seed: int) -> Network:
        """After the fine-tuning that everything gets."""
        training = Training(Duration(1, "epochs"), Sgd(lr=0.01))
        return fit(network, self.data, training, task=Classification(), seed=seed, samples=IMAGES, progress=Quiet())[0]

    def accuracy(self, network: Network, split: str) -> float:
        """Of 1."""
        (measured,) = take([Top1()], deployed(network), self.data, split, task=Classification())
        if isinstance(measured, Exception):
            raise measured
        return measured.value


def operation(statement: str) -> Any:
    """What the statement says."""
    plan = check(parse(statement, "statement.rcp"))
    return next(n.operation for n in plan.nodes if isinstance(n, Step) and n.operation.verb == "prune")


def shapes(module: nn.Module) -> str:
    """What decides the time: the names and shapes of all parameters."""
    return str([(name, tuple(p.shape)) for name, p in module.named_parameters()])


def by_torch_pruning(
    network: Network, ratio: float, *, p: int = 2, normalizer: str | None = "mean", **settings: Any
) -> Network:
    """The network after Torch-Pruning, called as in its README."""
    import torch_pruning

    module = copy.deepcopy(network.module).eval()
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1:]
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=p, normalizer=normalizer)
    torch_pruning.pruner.BasePruner(
        module, example_input(network), importance=importance, pruning_ratio=ratio, ignored_layers=last, **settings
    ).step()
    return replace(network, module=module)


def least_pruned(bench: Bench, settings: Mapping[str, Any], budget: float) -> Network:
    """The network of the smallest ratio whose latency meets the budget."""
    for percent in range(2, 92, 2):
        network = by_torch_pruning(bench.healthy, percent / 100, **settings)
        brief = bench.latency(network, brief=True).ratio or 1
        if brief < budget + 0.05 and (bench.latency(network).ratio_high or 1) < budget:
            return network
    raise SystemExit(f"no ratio meets {budget} with {dict(settings)}")


class Kept:
    """Numbers and networks in a folder, so that a second call continues."""

    def __init__(self, out: Path) -> None:
        self.out, self.file = out, out / "numbers.json"
        out.mkdir(parents=True, exist_ok=True)
        self.numbers: dict[str, Any] = json.loads(self.file.read_text()) if self.file.is_file() else {}

    def number(self, key: str, make: Callable[[], Any]) -> Any:
        """The number of this name."""
        if key not in self.numbers:
            self.numbers[key] = make()
            self.file.write_text(json.dumps(self.numbers, indent=1))
            print(f"  {key}: {self.numbers[key]}", flush=True)
        return self.numbers[key]

    def network(self, name: str, like: Network, make: Callable[[], Network]) -> Network:
        """The network of this name."""
        file = self.out / (name.replace(",", "").replace(" ", "_") + ".pt")
        if not file.is_file():
            torch.save(make().module, file)
        return replace(like, module=torch.load(file, weights_only=False))

    def tuned(self, bench: Bench, name: str, network: Network, seed: int) -> Network:
        """The network of this name after its fine-tuning."""
        return self.network(f"{name}, tuned with seed {seed}", network, lambda: bench.tuned(network, seed))


def compare(bench: Bench, budgets: Sequence[float], seeds: Sequence[int]) -> None:
    """Print the table."""
    kept = Kept(bench.out)
    rows: list[tuple[str, Network]] = []

    def taken(name: str, make: Callable[[], Network]) -> Network:
        return kept.network(name, bench.healthy, make)

    def on_validation(name: str, network: Network) -> float:
        tuned = kept.tuned(bench, name, network, seeds[0])
        return float(kept.number(f"{name} | val", lambda: bench.accuracy(tuned, "val")))

    for budget in budgets:
        ours, theirs = {}, {}
        for name, text in (LAYERS | FILTERS).items():
            title = f"{name} @ {budget}"
            ours[title] = taken(title, partial(bench.pruned, f"{text} until latency < {budget}"))
        for name, settings in THEIRS.items():
            title = f"{name} @ {budget}"
            theirs[title] = taken(title, partial(least_pruned, bench, settings, budget))
        rows += [(name, ours.pop(name)) for name in list(ours)[: len(LAYERS)]]
        for tool in (ours, theirs):
            best = max(tool, key=lambda name: on_validation(name, tool[name]))
            rows += [(name, tool[name]) for name in dict.fromkeys((next(iter(tool)), best))]
            if tool is theirs:  # the same criterion at the same FLOPs
                for name in dict.fromkeys((next(iter(tool)), best)):
                    rows += equal_flops(bench, kept, name, tool[name])
    rows.append(("control", bench.healthy))
    for seed in seeds:  # a first table soon, and more certain ones later
        for name, network in rows:
            tested(bench, kept, name, network, seed)
    print("\n| network | FLOPs | latency | accuracy |\n| --- | --- | --- | --- |")
    for name, network in rows:
        print("| " + " | ".join((name, *row(bench, kept, name, network, seeds))) + " |", flush=True)


def equal_flops(bench: Bench, kept: Kept, name: str, network: Network) -> list[tuple[str, Network]]:
    """Our filters, with the FLOPs of one of their networks and the same norm."""
    flops = bench.flops(network)
    norm = 1 if "L1" in name else 2
    title = f"ours, L{norm}, FLOPs of {name}"
    text = f"prune filters by magnitude(p={norm}) until flops <= {flops:.6f}"
    return [(title, kept.network(title, bench.healthy, lambda: bench.pruned(text)))]


def row(bench: Bench, kept: Kept, name: str, network: Network, seeds: Sequence[int]) -> Iterator[str]:
    """The cells of one network."""
    yield f"{bench.flops(network):.3f}"
    low, middle, high = kept.number(f"{name} | latency", lambda: interval(bench.latency(network)))
    yield f"{middle:.3f} ({low:.3f}–{high:.3f})"
    found = [tested(bench, kept, name, network, seed) for seed in seeds]
    spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    yield f"{statistics.mean(found):.2f}{spread} %"


def tested(bench: Bench, kept: Kept, name: str, network: Network, seed: int) -> float:
    """Per cent of the test images, after the fine-tuning."""
    key = f"{name} | test, seed {seed}"
    return 100 * float(kept.number(key, lambda: bench.accuracy(kept.tuned(bench, name, network, seed), "test")))


def interval(timed: Measurement) -> list[float]:
    """Low end, ratio, high end."""
    return [timed.ratio_low or 1.0, timed.ratio or 1.0, timed.ratio_high or 1.0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10")
    parser.add_argument("--weights", type=Path, help="of a ResNet-56 for it")
    parser.add_argument("--out", type=Path, help="where finished networks and numbers are kept")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.85, 0.7], help="latencies, of healthy")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    if find_spec("torch_pruning") is None:
        print('Torch-Pruning is not installed: pip install "recipelang[bench]"; skipped')
        return
    if not (given.data and given.weights and given.out):
        print("accuracy beside Torch-Pruning: --data, --weights and --out name no data; skipped")
        return
    torch.set_num_threads(1)
    data = Cifar10(root=str(given.data.resolve())).open(Path)
    request = ModelRequest(classes=names_of(data), input_shape=data.input_shape)
    healthy = ResNet56(weights=str(given.weights.resolve())).build(request)
    compare(Bench(healthy, data, given.out), given.budgets, given.seeds)


if __name__ == "__main__":
    main()
