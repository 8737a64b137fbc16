"""`with decays(0, parameters=others)`: another weight decay for some parameters, usually none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Companion
from recipelang.plan import Selection, Selector
from recipelang.units import counted, listed


@method("companion", "decays")
@dataclass(frozen=True)
class Decays(Companion):
    """Another weight decay for some parameters: none for biases and norms, or for a layer that is to keep its size.

    What: `sgd(weight_decay=5e-4), decays(0, parameters=others)` lets only weights decay, which activations are
        multiplied by: biases, scales and shifts of norms, layer scales, class tokens and position embeddings do not, as
        in most recipes for transformers. `decays(0, layers="head")` lets no parameter of a layer decay. It may be
        written several times; of two that name a parameter the last one counts. `adamw` spares the others by itself.
    Formula: λ_p = factor · λ for these parameters p, λ the `weight_decay` of the optimizer, in the same place of its
        law. Which parameters are weights is told as by `adamw`.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: under a scale that BatchNorm learns, the decay of a weight changes how far a step turns it and not
        what the network computes; without any, steps turn it less and less.
    Source: He et al. 2019, "Bag of Tricks for Image Classification with Convolutional Neural Networks", section 3.1
        ("no bias decay").
    """

    ordinary: ClassVar[bool] = True
    several: ClassVar[bool] = True

    factor: float = setting(
        type="number", low=0, high=1e6, positional=True, help="What the weight decay is multiplied by."
    )
    parameters: str = setting(
        "all",
        type="word",
        choices=("all", "weights", "others"),
        help="Of the layers: all parameters, the weights that activations are multiplied by, or all but these.",
    )
    layers: tuple[Selector, ...] = setting(
        (),
        type="modules",
        help='Which layers, with all inside them: `"head"`, `["norm*"]`; default: the whole network.',
    )

    def __post_init__(self) -> None:
        if self.factor == 1:
            raise SettingError("factor", "a factor of 1 changes nothing", "write 0 for no weight decay")
        if self.parameters == "all" and not self.layers:
            raise SettingError(
                "parameters",
                "every parameter is named, and all of them have the `weight_decay` of the optimizer",
                'name some: `parameters=others`, or `layers="head"`',
            )

    def decays(self, network: Any) -> Mapping[str, float]:
        """The factor, for every parameter that it names."""
        return dict.fromkeys(self._named(network), self.factor)

    def foresee(self, network: Any) -> tuple[str, ...]:
        """Which parameters those are."""
        found = list(self._named(network))
        count = sum(network.module.get_parameter(name).numel() for name in found)
        what = "no weight decay" if self.factor == 0 else f"{self.factor:g} × the weight decay"
        return (f"{what} of {counted(len(found), 'parameter')} with {counted(count, 'number')}: {listed(found)}",)

    def _named(self, network: Any) -> Iterator[str]:
        from recipelang.methods.optimizers._groups import weights_of
        from recipelang.surgery.selectors import resolve

        parts = dict(network.module.named_modules())
        weights = weights_of(network.module) if self.parameters != "all" else set()
        for path in resolve(network.module, Selection(self.layers)) if self.layers else parts:
            for name, parameter in parts[path].named_parameters(recurse=False):
                if self.parameters == "all" or (id(parameter) in weights) == (self.parameters == "weights"):
                    yield f"{path}.{name}".lstrip(".")
