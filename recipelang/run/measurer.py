"""Measured numbers, each an entry of the store: taken once and then read, so that a rerun makes the same decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.images.view import seen_by
from recipelang.kernels.nm.device import triton_version
from recipelang.kernels.nm.table import VERSION
from recipelang.kinds import Dataset, Measurement, Progress
from recipelang.measuring.clock import check_device
from recipelang.measuring.hardware import fingerprint
from recipelang.measuring.predict import predict
from recipelang.plan import canonical
from recipelang.run.options import Options
from recipelang.run.states import architecture, content
from recipelang.run.store import Entry, Store, key_of
from recipelang.surgery.accelerated import require_sparse
from recipelang.surgery.deployed import Deployment, deployed
from recipelang.surgery.network import Network
from recipelang.surgery.raised import raised_by
from recipelang.training.smoke import few


@dataclass
class Measurer:
    """Takes measurements and remembers them.

    Attributes:
        store: where they are kept.
        options: device, threads, `fresh`, `smoke`.
        progress: where to report progress.
    """

    store: Store
    options: Options
    progress: Progress
    _outputs: dict[tuple[str, str, str], tuple[Tensor, Tensor]] = field(default_factory=dict)
    _deployed: dict[tuple[str, Deployment], nn.Module] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def measure(self, metric: Any, network: Network, healthy: Network, data: Dataset, split: str) -> Measurement:
        """The metric of a network; a clock times it alternately with `healthy`.

        Raises:
            Refusal: the metric cannot be measured on this network, data or machine.
        """
        data = seen_by(data, network.classes, network.preprocessing)
        ingredients = self.ingredients(metric, network, healthy, data, split)
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
                measured = self._take(metric, network, healthy, data, split)
            self._taken.add(key)
            self._keep(key, ingredients, measured)
            return measured

    def ingredients(
        self, metric: Any, network: Network, healthy: Network, data: Dataset, split: str
    ) -> Mapping[str, Any]:
        """What determines the number: for a clock architectures and hardware, else the network and the data."""
        common = {"verb": "measure", "metric": canonical(metric), "smoke": self.options.smoke}
        if (version := getattr(metric, "version", 1)) != 1:
            common["version"] = version
        if metric.source == "clock":
            pair = [architecture(network), architecture(healthy)]
            kernels = {"kernels": [VERSION, triton_version()]} if network.accelerated else {}
            machine = {"hardware": fingerprint(), "torch": torch.__version__, **kernels}
            return {**common, "architectures": pair, **machine}
        if metric.source == "structure":
            return {**common, "content": content(network)}
        return {**common, "content": content(network), "data": data.fingerprint, "split": split}

    def known(self, key: str) -> Measurement | None:
        """The stored measurement; None if there is none to use, or it is to be taken again."""
        if self.options.fresh and key not in self._taken:
            return None
        entry = self.store.find(key)
        if entry is None:
            return None
        try:
            return _read(entry)
        except (OSError, EOFError, ValueError, TypeError):  # an older version may have written something else
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

    def _take(self, metric: Any, network: Network, healthy: Network, data: Dataset, split: str) -> Measurement:
        name = spell(metric)
        if metric.source == "predictions":
            outputs, labels = self._predict(network, data, split)
            measured = metric.measure(outputs, labels)
        elif metric.source == "clock":
            mine, theirs = self.deploy(metric, network), self.deploy(metric, healthy)
            self.progress.start(f"timing {name}", None)
            try:
                measured = metric.measure(mine, theirs, network.input_shape, self.progress)
            finally:
                self.progress.stop()
        else:
            measured = metric.measure(self.deploy(metric, network), network, network.input_shape)
        if not numpy.isfinite(measured.value):
            raise Refusal(
                "RCP0906",
                f"{name} of this network is {measured.value}",
                "its outputs are not finite; lower the learning rate of the preceding training",
            )
        return measured

    def _predict(self, network: Network, data: Dataset, split: str) -> tuple[Tensor, Tensor]:
        key = (content(network), data.fingerprint, split)
        if key not in self._outputs:
            if len(self._outputs) >= 4:
                self._outputs.pop(next(iter(self._outputs)))
            module = deployed(network, Deployment(self.options.device, batch=data.batch))
            limit = few(None, self.options.smoke)
            self._outputs[key] = predict(
                module, data, split, device=self.options.device, samples=limit, progress=self.progress
            )
        return self._outputs[key]

    def deploy(self, metric: Any, network: Network) -> nn.Module:
        """The deployed form that a metric needs; the last few are kept, since `healthy` is timed repeatedly.

        Raises:
            Refusal: RCP1001: this machine lacks the device. RCP1305: the recipe demands a sparse kernel, and none runs.
        """
        how = deployment(metric)
        key = content(network), how
        if key not in self._deployed:
            if len(self._deployed) >= 6:
                self._deployed.pop(next(iter(self._deployed)))
            check_device(how.device)
            module = deployed(network, how, self.progress)
            require_sparse(network, module, str(how))
            self._deployed[key] = module
        return self._deployed[key]


def deployment(metric: Any) -> Deployment:
    """How the deployed form that a metric uses is run: as a clock specifies, on the CPU for others."""
    names = ("device", "precision", "compiled", "batch")
    return Deployment(**{name: getattr(metric, name) for name in names if hasattr(metric, name)})


def _read(entry: Entry) -> Measurement:
    """A measurement as it was stored.

    Raises:
        OSError, EOFError, ValueError, TypeError: the entry is not a measurement.
    """
    record = dict(entry.record)
    numbers = [record.get(name) for name in ("value", "low", "high")]
    numbers += [x for name in ("ratio", "ratio_low", "ratio_high") if (x := record.get(name)) is not None]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ValueError("not a measurement")
    samples = None
    if "per_sample.npy" in entry.files:
        samples = numpy.load(entry.folder / "per_sample.npy", allow_pickle=False)
    return Measurement(**{**record, "per_sample": samples})
