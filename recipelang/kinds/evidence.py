"""What criteria may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recipelang.kinds.data import Batch
    from recipelang.kinds.progress import Progress

#: what a criterion may ask of its evidence → what it must list in `needs` for that; everything else is always there
NEEDED: Mapping[str, tuple[str, ...]] = {
    "module": ("network",),
    "weights": ("weights",),
    "outputs": ("weights",),
    "filters": ("weights",),
    "readers": ("weights",),
    "makers": ("weights",),
    "effective": ("weights",),
    "squared_gradients": ("gradients",),
    "hessian_diagonal": ("gradients",),
    "gradients": ("signed gradients",),
    "batch_gradients": ("gradients",),
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
    "feature_maps": ("activations",),
    "ablated": ("network", "labels"),
    "batches": ("network", "labels"),
    "answer_loss": ("network", "labels"),
    "hidden": ("weights",),
    "channels": ("network",),
    "changing": ("network",),
    "again": ("network",),
    "drawn": ("network", "labels"),
}


class Ablation(NamedTuple):
    """A network without some of its parts, over one split.

    Attributes:
        loss: the task's loss, mean over samples.
        score: what the task shows of a training (`Task.score`), mean over samples: accuracy; None where it shows none.
            The higher, the better: where a lower one is better, its negative.
    """

    loss: float
    score: float | None


class Again(Protocol):
    """A product of the network that can be made again with another weight.

    Attributes:
        size: bytes of what enters it, which it holds.
    """

    @property
    def size(self) -> int: ...

    def __call__(self, weight: Tensor) -> Tensor:
        """n×O×positions…, for a weight of the same shape; gradients pass to the weight."""


class Evidence(Protocol):
    """What criteria may use; each kind is gathered once, in one pass, when it is first requested.

    A criterion gets what it lists in `needs`, and nothing else (`NEEDED`).

    Attributes:
        unit: `layer`, `filter` or `element`: what is being ranked.
        seed: for criteria that draw random numbers.
        progress: shown while a criterion works; None where nobody looks.
        groups: what is ranked, in the order of the network; `source` of channels is a `surgery.coupled.Coupled`.
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
    def progress(self) -> Progress | None: ...
    @property
    def groups(self) -> Sequence[Any]: ...
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
    def readers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Group → name of each weight that reads its channels → int64 N×c: the columns that read each of its N parts,
        in the order of `second_moments`: kernel, I; in G groups of inputs, one group of K columns after another. Only
        weights O×I or O×I×kernel that are parameters; what passes channels on (depthwise) makes them, and is not one.
        """

    @property
    def makers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Group → name of each weight that makes its channels → int64 N×r: the indices along the axis of its outputs
        (`outputs`) that make each of its N parts."""

    @property
    def effective(self) -> Mapping[str, Tensor]:
        """Ranked group of channels → N×K float64: what decides each of N channels: the weights that make it, in all
        coupled layers, with the norms that act on it, and its shifts. Two channels that are equal here are the same."""

    @property
    def squared_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over batches of (∂L/∂w)², the shape of the weight. One pass over train."""

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over batches of ∂L/∂w, with its sign; the same pass."""

    @property
    def batch_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → ∂L/∂w of one batch of train, drawn with the seed. No other batch is read."""

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

    def hessian_diagonal(self, how: str = "fisher", probes: int = 1) -> Mapping[str, Tensor]:
        """Parameter name → ∂²L/∂w², the shape of the weight: mean over training samples, estimated in one pass with
        `probes` random draws for each batch. `how`: `fisher`, the Gauss–Newton diagonal of the cross-entropy, for
        classification; `hutchinson`, that of the Hessian of the task's loss."""

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

    def feature_maps(
        self,
        observe: Callable[[str, Tensor, Tensor | None, Tensor], None],
        *,
        gradients: bool = False,
        shaped: bool = False,
    ) -> None:
        """`observe(name, maps, gradients, targets)` for every batch of train; one pass.

        If groups of channels are ranked: `name` is a group, and it is called for every weight that reads the group's
        channels, so after norm and activation, with what that weight is given: `maps` B×N×P, N parts, P positions:
        pixels, tokens; 1 for vectors; of a part of c channels c times as many. Else: `name` is a weight, `maps` what
        it makes, before a norm or an activation, N its outputs. B is 1 where what is read does not depend on a sample.

        With `gradients` they are those of the loss, mean over the batch, with respect to these maps, as if each
        reader had its own copy: the sum over all readers of a·∂L/∂a is the change of the loss, to first order, when
        the part is removed. `targets` is one object during a batch. Both are shown in the order of differentiation,
        the last weight of the network first.

        With `shaped` positions keep their axes: `maps` B×N×c×H×W at convolutions of images, B×N×c×P elsewhere, of parts
        of c channels.
        """

    def ablated(self, cases: Iterable[Mapping[str, Sequence[int]]], split: str = "train") -> Iterator[Ablation]:
        """Loss and score without the parts of each case (group → numbers of its parts), one pass each; an empty case
        is the whole network. Nothing is copied."""

    def batches(self, split: str) -> Iterator[Batch]:
        """Inputs and targets on the device, in order and without augmentation; the samples of `train` that the
        statement names. For criteria that train something of their own, on deep copies of `module`."""

    def answer_loss(self, batch: Batch, module: nn.Module | None = None) -> Tensor:
        """The task's loss of a batch, mean over its samples, of the network or of a copy of its `module`."""

    @property
    def hidden(self) -> Mapping[str, tuple[str, ...]]:
        """Group → names of parameters that read its channels and are not among its `readers`: a transposed convolution,
        an LSTM, a computed weight. What is known of the group is complete where there is none."""

    @property
    def channels(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Where `changing` can change ranked parts: group → name of each weight that reads it → int64 N×c, the channels
        of what enters the weight that belong to each of its N parts. Groups that are also read elsewhere are left out.
        If layers are ranked: weight → the same name → N×1, of what leaves it."""

    def changing(self, change: Callable[[str, Tensor], Tensor]) -> AbstractContextManager[None]:
        """Inside the block, the network computes with what enters the weights of `channels` (if layers are ranked, with
        what leaves them) changed: `change(weight, n×C×positions…)` returns the same shape. Gradients pass through."""

    def again(self, names: Iterable[str], batch: Batch) -> Mapping[str, Again]:
        """Name of a weight → its product on this batch as a function of the weight. Weights that are used several
        times, or where they cannot be met, are left out."""

    def drawn(self, count: int) -> Batch:
        """At most `count` samples of train together, on the device, drawn by `seed`."""

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make()` gave the first time that this key was asked for: what `compensate` and `remark` need again."""
