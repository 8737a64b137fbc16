"""`with rate(10, layers="head")`: another learning rate for some layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion
from recipelang.plan import Selection, Selector
from recipelang.units import listed


@method("companion", "rate")
@dataclass(frozen=True)
class Rate(Companion):
    """Another learning rate for some layers: a new head learns fast, a trained backbone slowly.

    What: `sgd(lr=1e-3), rate(10, layers="fc")` trains the head with 1e-2 and everything else with 1e-3. It may be
        written several times; of two that name a layer the last one counts. Layers that are not to train at all are
        named by `except`.
    Formula: lr_p(t) = factor · lr(t) for the parameters p of these layers and of all inside them, at every step t, so
        that a ramp keeps its shape. Where the optimizer multiplies its weight decay by the learning rate, as `adamw`
        does, the decay of these layers is multiplied too.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: `rprop` takes the learning rate as its first step size alone, and `adafactor` measures steps by
        the weights, so that a factor means something else there. The history and trackers show lr(t) itself.
    Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2
        (discriminative fine-tuning).
    """

    ordinary: ClassVar[bool] = True
    several: ClassVar[bool] = True

    factor: float = setting(
        type="number", low=0, open_low=True, high=1e6, positional=True, help="What the learning rate is multiplied by."
    )
    layers: tuple[Selector, ...] = setting(
        type="modules", help='Which layers, with all inside them: `"layer4"`, `["conv1", "bn*"]`, `last`.'
    )

    def rates(self, network: Any) -> Mapping[str, float]:
        """The factor, for every parameter of the layers."""
        from recipelang.surgery.selectors import resolve

        chosen = resolve(network.module, Selection(self.layers))
        owners = ((path, network.module.get_submodule(path)) for path in chosen)
        return {
            f"{path}.{name}": self.factor for path, part in owners for name, _ in part.named_parameters(recurse=False)
        }

    def foresee(self, network: Any) -> tuple[str, ...]:
        """Which layers those are."""
        found = self.rates(network)
        count = sum(network.module.get_parameter(name).numel() for name in found)
        named = listed(tuple(str(one) for one in self.layers))
        return (f"{self.factor:g} × the learning rate in {named}: {count:,} parameters",)
