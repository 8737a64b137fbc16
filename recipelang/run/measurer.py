"""Measured numbers, each an entry of the store: taken once and then read, so that a rerun makes the same decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy
import torch
from torch import nn

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.images.disturbed import disturbed
from recipelang.images.view import seen_by
from recipelang.kinds import (
    Dataset,
    Deployment,
    Executable,
    LayerExecution,
    Measurement,
    PredictionMetric,
    Progress,
    Runtime,
    Task,
    shift_of,
)
from recipelang.measuring.hardware import fingerprint
from recipelang.measuring.predict import take
from recipelang.plan import canonical
from recipelang.run.chosen import chosen
from recipelang.run.options import Options
from recipelang.run.remeasured import read, rows_of
from recipelang.run.states import architecture
from recipelang.run.store import Store, key_of
from recipelang.run.tasks import measuring
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network, content
from recipelang.surgery.raised import raised_by
from recipelang.surgery.tasks import task_named
from recipelang.training.smoke import few

#: measurements that are kept until they are asked for
KEPT = 64


@dataclass
class Measurer:
    """Takes measurements and remembers them.

    Attributes:
        store: where they are kept.
        options: device, threads, `fresh`, `smoke`.
        progress: where to report progress.
        task: of the recipe.
    """

    store: Store
    options: Options
    progress: Progress
    task: Task = field(default_factory=task_named)
    _beside: dict[str, Measurement | Refusal] = field(default_factory=dict)
    _deployed: dict[str, nn.Module] = field(default_factory=dict)
    _prepared: dict[tuple[str, Runtime, Deployment], Executable] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def measure(
        self,
        metric: Any,
        network: Network,
        healthy: Network,
        data: Dataset,
        split: str,
        beside: Sequence[PredictionMetric] = (),
        briefly: bool = False,
    ) -> Measurement:
        """The metric of a network; a clock times it alternately with `healthy`.

        Args:
            briefly: whether a few pairs of a clock are enough, where it can look briefly (`glance`).
            beside: metrics of predictions that will be asked for too; they are taken in the same pass.

        Raises:
            Refusal: the metric cannot be measured on this network, data or machine.
        """
        executed = chosen(metric, network, self)
        return executed.noted(self._measure(executed.metric, network, healthy, data, split, beside, briefly))

    def _measure(
        self,
        metric: Any,
        network: Network,
        healthy: Network,
        data: Dataset,
        split: str,
        beside: Sequence[PredictionMetric],
        briefly: bool,
    ) -> Measurement:
        """The metric, from the store where it is known."""
        data = looked_at(metric, network, data)
        ingredients = self.ingredients(metric, network, healthy, data, split)
        briefly = briefly and metric.source == "clock" and hasattr(metric, "glance")
        if briefly:  # never in the place of a sure one, and no sure one in its place: a rerun decides alike
            ingredients = {**ingredients, "verb": "glance"}
        key = key_of(ingredients)
        known = self.known(key)
        if known is not None:
            return known
        with self.store.hold(key, lambda: self.progress.say("    another run takes this measurement; waiting for it")):
            known = self.known(key)
            if known is not None:
                return known
            again = self.store.why_again(key)
            if again:
                self.progress.say(f"    {spell(metric)}: {again}; it is measured again")
            with raised_by(network, f"measure {spell(metric)}"):
                if briefly:
                    mine, theirs = self.prepare(metric, network), self.prepare(metric, healthy)
                    measured = _finite(metric, metric.glance(mine, theirs, network.input_shape))
                else:
                    measured = self._take(metric, network, healthy, data, split, key, beside)
            self._taken.add(key)
            self._keep(key, ingredients, measured)
            return measured

    def ingredients(
        self, metric: Any, network: Network, healthy: Network, data: Dataset, split: str
    ) -> Mapping[str, Any]:
        """What determines the number: for a clock architectures and hardware, else the network and the data, or what
        executes it."""
        common = {"verb": "measure", "metric": canonical(metric), "smoke": self.options.smoke}
        if (version := getattr(metric, "version", 1)) != 1:
            common["version"] = version
        if metric.source == "clock":
            pair = [architecture(network), architecture(healthy)]
            return {**common, "architectures": pair, "hardware": fingerprint(), **metric.runtime.versions(network)}
        if metric.source == "execution":
            ways = {"hardware": fingerprint(), **metric.runtime.versions(network)}
            return {**common, "content": content(network), **ways}
        if metric.source == "structure":
            machine = (
                {"hardware": fingerprint(), "torch": torch.__version__} if getattr(metric, "machine", False) else {}
            )
            return {**common, "content": content(network), **machine}
        seen = {"data": data.fingerprint, "split": split, **measuring(self.task)}
        return {**common, "content": content(network), **seen}

    def known(self, key: str) -> Measurement | None:
        """The stored measurement; None if there is none to use, or it is to be taken again."""
        if self.options.fresh and key not in self._taken:
            return None
        entry = self.store.find(key)
        if entry is None:
            return None
        try:
            return read(entry)
        except (OSError, EOFError, ValueError, TypeError, KeyError):  # an older version may have written something else
            self.store.disbelieve(key)
            return None

    def _keep(self, key: str, ingredients: Mapping[str, Any], measured: Measurement) -> None:
        work = self.store.work(key)
        files = []
        if measured.per_sample is not None:
            numpy.save(work / "per_sample.npy", measured.per_sample.astype(numpy.float32), allow_pickle=False)
            files.append("per_sample.npy")
        record = asdict(replace(measured, per_sample=None))
        self.store.finish(key, ingredients, record, files)

    def _take(
        self,
        metric: Any,
        network: Network,
        healthy: Network,
        data: Dataset,
        split: str,
        key: str,
        beside: Sequence[PredictionMetric],
    ) -> Measurement:
        if metric.source == "predictions":
            measured = self._predicted(metric, network, data, split, key, beside)
        elif metric.source == "clock":
            mine, theirs = self.prepare(metric, network), self.prepare(metric, healthy)
            self.progress.start(f"timing {spell(metric)}", None)
            try:
                measured = metric.measure(mine, theirs, network.input_shape, self.progress)
            finally:
                self.progress.stop()
        elif metric.source == "execution":
            measured = metric.measure(self.execution(metric, network), network, network.input_shape)
        else:
            measured = metric.measure(self._deploy(network), network, network.input_shape)
        return _finite(metric, measured)

    def _predicted(
        self,
        metric: Any,
        network: Network,
        data: Dataset,
        split: str,
        key: str,
        beside: Sequence[PredictionMetric],
    ) -> Measurement:
        """A metric of the network's answers; those beside it are taken in the same pass and kept until asked for."""
        found = self._beside.pop(key, None)
        if found is None:
            keys = {key: metric}
            for other in beside:
                also = key_of(self.ingredients(other, network, network, data, split))
                if shift_of(other) == shift_of(metric) and also not in keys and self.known(also) is None:
                    keys[also] = other
            taken = take(
                list(keys.values()),
                self._deploy(network),
                data,
                split,
                task=self.task,
                device=self.options.device,
                samples=few(None, self.options.smoke),
                progress=self.progress,
            )
            found, *others = taken
            self._beside.update(zip(list(keys)[1:], others, strict=True))
            while len(self._beside) > KEPT:
                self._beside.pop(next(iter(self._beside)))
        if isinstance(found, Refusal):
            raise found
        return found

    def _deploy(self, network: Network) -> nn.Module:
        """The deployed form on the CPU; the last few are kept."""
        return _kept(self._deployed, content(network), lambda: deployed(network), 2)

    def prepare(self, metric: Any, network: Network) -> Executable:
        """What a clock times; the last few are kept, since `healthy` is timed repeatedly.

        Raises:
            Refusal: as of the runtime's `prepare`.
        """
        runtime, how = metric.runtime, metric.deployment
        key = content(network), runtime, how
        return _kept(self._prepared, key, lambda: runtime.prepare(network, how, self.progress), 6)

    def executed(self, metric: Any, network: Network) -> Any:
        """The metric with the runtime that times the network: see `run.chosen`."""
        return chosen(metric, network, self).metric

    def execution(self, metric: Any, network: Network) -> tuple[LayerExecution, ...]:
        """How each layer executes where a clock times the network.

        What takes long to prepare is remembered, so that a rerun does not prepare it.

        Raises:
            Refusal: as of `prepare`; RCP0731: the network's products cannot be observed.
        """
        metric = self.executed(metric, network)
        runtime, how = metric.runtime, metric.deployment
        if runtime.brief:
            return tuple(self.prepare(metric, network).execution())
        ingredients = {
            "verb": "execution",
            "content": content(network),
            "runtime": canonical(runtime),
            "how": asdict(how),
            "hardware": fingerprint(),
            **runtime.versions(network),
        }
        key = key_of(ingredients)
        with self.store.hold(key):
            entry = self.store.find(key)
            if entry is not None and (told := rows_of(entry.record.get("layers"))):
                return told
            rows = self.prepare(metric, network).execution()
            self.store.work(key)
            self.store.finish(key, ingredients, {"layers": [asdict(row) for row in rows]}, [])
            return rows


def looked_at(metric: Any, network: Network, data: Dataset) -> Dataset:
    """The data on which a metric is measured: as the network sees it, and disturbed where the metric asks for it.

    Raises:
        Refusal: RCP0819: the network does not know a class of the data. RCP1016: the data cannot be disturbed.
    """
    seen = seen_by(data, network.classes, network.preprocessing)
    return disturbed(seen, shift_of(metric)) if metric.source == "predictions" else seen


def _finite(metric: Any, measured: Measurement) -> Measurement:
    """The measurement.

    Raises:
        Refusal: RCP0906: it is not a number.
    """
    if not numpy.isfinite(measured.value):
        raise Refusal(
            "RCP0906",
            f"{spell(metric)} of this network is {measured.value}",
            "its outputs are not finite; lower the learning rate of the preceding training",
        )
    return measured


K = TypeVar("K")
V = TypeVar("V")


def _kept(known: dict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """The value under a key, made where it is missing; the oldest makes room for it."""
    if key not in known:
        if len(known) >= most:
            known.pop(next(iter(known)))
        known[key] = make()
    return known[key]
