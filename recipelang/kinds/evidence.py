"""What criteria may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

#: what a criterion may ask of its evidence → what it must list in `needs` for that; everything else is always there
NEEDED: Mapping[str, tuple[str, ...]] = {
    "module": ("network",),
    "weights": ("weights",),
    "outputs": ("weights",),
    "filters": ("weights",),
    "squared_gradients": ("gradients",),
    "gradients": ("signed gradients",),
    "scales": ("batchnorm",),
    "squared_scale_gradients": ("batchnorm", "gradients"),
    "scale_gradients": ("batchnorm", "signed gradients"),
    "classes": ("labels",),
    "embedding_length": ("activations",),
    "input_norms": ("activations",),
    "second_moments": ("activations",),
    "reconstructions": ("activations",),
    "extremes": ("activations",),
    "numbers": ("activations",),
    "watch": ("activations",),
}


class Evidence(Protocol):
    """What criteria may use; each kind is gathered once, in one pass, when it is first requested.

    A criterion gets what it lists in `needs`, and nothing else (`NEEDED`).

    Attributes:
        unit: `layer`, `filter` or `element`: what is being ranked.
        seed: for criteria that draw random numbers.
        shapes: name → the shape of the scores: of every layer (), group of coupled channels (N) or weight.
        layers: candidate name → names of the weights inside it (`unit == "layer"`).
        module: the network, eval mode; not to be changed.
        weights: parameter name → tensor; every weight that can be scored. For layers also the values of weights that
            are computed from parameters, under a name of their layer.
        outputs: name of a weight → the axis that holds its outputs; 0 in O×I and O×I×kh×kw.
        classes: how many there are.
        embedding_length: number of features that enter the head.
    """

    @property
    def unit(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    @property
    def layers(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def weights(self) -> Mapping[str, Tensor]: ...
    @property
    def outputs(self) -> Mapping[str, int]: ...
    @property
    def classes(self) -> int: ...
    @property
    def embedding_length(self) -> int: ...

    @property
    def filters(self) -> Mapping[str, Tensor]:
        """Name → N×K: the K weights that make each of N filters. If groups of channels are ranked, those of a group, in
        all coupled layers; else those of one weight, by its name."""

    @property
    def squared_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over batches of (∂L/∂w)², the shape of the weight. One pass over train."""

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over batches of ∂L/∂w, with its sign; the same pass."""

    @property
    def scales(self) -> Mapping[str, Tensor]:
        """Name → N×M: the scales γ of the M BatchNorms that scale each of N channels. If groups of channels are ranked,
        those of a group; else those of one BatchNorm (M = 1), by the name of its γ. What none scales is left out."""

    @property
    def squared_scale_gradients(self) -> Mapping[str, Tensor]:
        """Like `scales`: mean over batches of (∂L/∂γ)². The same pass as for weights."""

    @property
    def scale_gradients(self) -> Mapping[str, Tensor]:
        """Like `scales`: mean over batches of ∂L/∂γ, with its sign. The same pass as for weights."""

    @property
    def input_norms(self) -> Mapping[str, Tensor]:
        """Parameter name → ‖x‖₂ of each of its inputs over all rows of train, of a shape that broadcasts against the
        weight: 1×I or 1×I×kh×kw, O×I×kh×kw in groups. Weights that no input reaches are left out. One pass."""

    def second_moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(parameter name, G×K×K float32), in order of execution: 2/rows · XᵀX of the rows X of train that enter the
        weight, G groups, K inputs in the order of `kernels.nm.reference`: kh, kw, I. Weights that no input reaches
        are left out. One pass for as many as fit in memory together."""

    def reconstructions(self, names: Iterable[str], count: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Parameter name → (G×n×K, n×O): at most `count` of the rows of train that enter the weight, in G groups, and
        what the layer computes from them, without its bias; K as in `second_moments`. One pass for all names."""

    def extremes(self, places: Iterable[str], *, channels: bool = False) -> Mapping[str, Any]:
        """Module path (`path:input` for what enters it) → `low` and `high` over all of train: one number, or one for
        each index of axis 1 with `channels`. One pass for all places; known ones cost nothing."""

    def numbers(self, places: Iterable[str], count: int) -> Mapping[str, Tensor]:
        """Module path (or `path:input`) → at most `count` of the numbers there over all of train, each as likely as
        every other. One pass for all places."""

    def watch(
        self, split: str, observe: Callable[[str, str, Tensor, Tensor], None], places: Iterable[str] = ()
    ) -> None:
        """One forward pass over `split`; `observe(candidate, "input" | "output", activation, labels)` at every
        candidate. Activations are B×F×H×W or B×F (F filters first, in any layout of the network). With `places`,
        module paths, at those instead, the activations as they are."""
