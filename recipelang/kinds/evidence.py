"""What criteria may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Evidence(Protocol):
    """What criteria may use; each kind is gathered once, in one pass, when it is first requested.

    Attributes:
        module: the network, eval mode; not to be changed.
        unit: `layer` or `element`: what is being ranked.
        seed: for criteria that draw random numbers.
        layers: candidate name → names of the weights inside it (`unit == "layer"`).
        weights: parameter name → tensor; every weight that can be scored. For layers also the values of weights that
            are computed from parameters, under a name of their layer.
        outputs: name of a weight → the axis that holds its outputs; 0 in O×I and O×I×kh×kw.
        classes: how many there are.
        embedding_length: number of features that enter the head.
    """

    @property
    def module(self) -> nn.Module: ...
    @property
    def unit(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def layers(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def weights(self) -> Mapping[str, Tensor]: ...
    @property
    def outputs(self) -> Mapping[str, int]: ...
    @property
    def classes(self) -> int: ...
    @property
    def embedding_length(self) -> int: ...

    @property
    def squared_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over batches of (∂L/∂w)², the shape of the weight. One pass over train."""

    @property
    def input_norms(self) -> Mapping[str, Tensor]:
        """Parameter name → ‖x‖₂ of each of its inputs over all rows of train, of a shape that broadcasts against the
        weight: 1×I or 1×I×kh×kw, O×I×kh×kw in groups. Weights that no input reaches are left out. One pass."""

    def second_moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(parameter name, G×K×K float32), in order of execution: 2/rows · XᵀX of the rows X of train that enter the
        weight, G groups, K inputs in the order of `kernels.nm.reference`: kh, kw, I. Weights that no input reaches
        are left out. One pass for as many as fit in memory together."""

    def watch(self, split: str, observe: Callable[[str, str, Tensor, Tensor], None]) -> None:
        """One forward pass over `split`; `observe(candidate, "input" | "output", activation, labels)` at every
        candidate. Activations are B×F×H×W or B×F (F filters first, whatever the layout of the network)."""
