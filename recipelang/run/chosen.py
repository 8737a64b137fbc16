"""Which runtime executes a network to which `accelerate` gave several: the fastest, by a measurement that is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Executable, Measurement
from recipelang.measuring.clock import typical
from recipelang.measuring.hardware import fingerprint
from recipelang.run.states import architecture
from recipelang.run.store import Store, key_of
from recipelang.surgery.network import Network
from recipelang.units import show


@dataclass(frozen=True)
class Chosen:
    """A clock, or what is read of an execution, with the runtime that it uses.

    Attributes:
        metric: with this runtime.
        among: what it was chosen from; "" where there was no choice.
    """

    metric: Any
    among: str = ""

    def noted(self, measured: Measurement) -> Measurement:
        """A measurement with this metric, and in its note the runtime and what was measured of healthy in it.

        The row of healthy shows its time by torch, which is not the base of the ratio.
        """
        if not self.among:
            return measured
        healthy = f": {show(measured.value / measured.ratio, self.metric.unit)}" if measured.ratio else ""
        told = f"executed by {self.metric.runtime.name}"
        if measured.ratio:
            told += f", and so is healthy in the ratio{healthy}"
        told += f"; {self.among}"
        return replace(measured, note="; ".join(filter(None, (measured.note, told))))


class Prepares(Protocol):
    """What prepares networks to be timed, and where times are kept."""

    store: Store

    def prepare(self, metric: Any, network: Network) -> Executable:
        """The network, prepared by the metric's runtime."""


def chosen(metric: Any, network: Network, at: Prepares) -> Chosen:
    """The clock that times the network: with the fastest of its runtimes where it names none itself.

    Args:
        metric: any; only one that executes by torch, as it does where nothing is said, may get another runtime.
        network: with the runtimes that `accelerate` gave it.
        at: prepares it.

    Raises:
        Refusal: RCP1461: none of the runtimes can execute it.
    """
    names = network.accelerated.runtimes if network.accelerated else ()
    if not names or metric.source not in ("clock", "execution") or metric.runtime.name != "torch":
        return Chosen(metric)
    able, reasons = _able(metric, names, network)
    ingredients = {
        "verb": "runtime",
        "architecture": architecture(network),
        "how": asdict(metric.deployment),
        "hardware": fingerprint(),
        "from": {name: dict(one.runtime.versions(network)) for name, one in able.items()},
    }
    key = key_of(ingredients)
    with at.store.hold(key):
        entry = at.store.find(key)
        told = _times(entry.record) if entry is not None else None
        if told is None:
            told = _timed(able, network, at)
            at.store.work(key)
            at.store.finish(key, ingredients, {"seconds": told[0], "reasons": told[1]}, [])
    seconds, more = told
    reasons |= more
    if not seconds:
        listed = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        help = "add `torch` to the runtimes of `accelerate`, or change what `latency` asks for"
        raise Refusal("RCP1461", f"none of the runtimes of `accelerate` executes the network: {listed}", help)
    best = min(seconds, key=lambda name: seconds[name])
    in_order = sorted(seconds.items(), key=lambda item: item[1])
    beside = [f"{name} {1e3 * time:.3g} ms" if len(seconds) > 1 else f"{name} alone" for name, time in in_order]
    beside += [f"not {name}: {why}" for name, why in reasons.items()]
    return Chosen(able[best], f"chosen from {', '.join(beside)}")


def _able(metric: Any, names: Sequence[str], network: Network) -> tuple[dict[str, Any], dict[str, str]]:
    """The metric with each runtime that can do what it asks for, and why the others cannot."""
    able, reasons = {}, {}
    for name in names:
        try:
            runtime: Any = find("runtime", name)
            if runtime is None:
                reasons[name] = "there is no such runtime"
                continue
            one = replace(metric, runtime=runtime())
            one.runtime.versions(network)
            able[name] = one
        except SettingError as error:
            reasons[name] = error.message
        except Refusal as refusal:  # a library is not installed
            reasons[name] = refusal.message
    return able, reasons


def _timed(able: Mapping[str, Any], network: Network, at: Prepares) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of a call by each runtime, called in turn, and why the others execute nothing."""
    ready, reasons = {}, {}
    for name, metric in able.items():
        try:
            ready[name] = at.prepare(metric, network)
        except Refusal as refusal:
            reasons[name] = refusal.message
    if len(ready) < 2:
        return dict.fromkeys(ready, 0.0), reasons
    metric = next(iter(able.values()))
    given = metric.example(network.input_shape, network.inputs)
    seconds = typical(list(ready.values()), given, metric.threads, metric.deployment.device)
    return dict(zip(ready, seconds, strict=True)), reasons


def _times(record: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]] | None:
    """What an entry holds; None where it is something else."""
    seconds, reasons = record.get("seconds"), record.get("reasons")
    if not isinstance(seconds, dict) or not isinstance(reasons, dict):
        return None
    return {str(name): float(time) for name, time in seconds.items()}, {str(n): str(why) for n, why in reasons.items()}
