"""What losses and companions see of one step of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Attention:
    """The self-attention of a module on a batch; its distributions are softmax(scale · QKᵀ + mask).

    Attributes:
        queries, keys, values: float32, B×heads×tokens×width.
        scale: of the products of queries and keys.
        mask: what is added to them, float32, broadcast over B×heads×tokens×tokens; None: nothing.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    scale: Any
    mask: Tensor | None = None


@dataclass(frozen=True)
class Seen:
    """One network at work on one batch.

    Attributes:
        inputs: what it was given, B×C×H×W for images; for a loss with `input_gradients` a leaf of the graph in which
            outputs and features of this network were computed.
        outputs: what it answered, float32; for classification B×classes.
        features: activations in float32, one for each pairing of the loss that looks (`Loss.points`), in that order:
            B×C×H×W, or B×T×D for tokens, in any order of axes of the network itself; an `Attention` where a position is
            one. Empty where none were asked for.
        network: a `recipelang.surgery.network.Network`; its `module` is the one that computes.
        asked: of a teacher, the samples that it answered, bool B, where a loss chooses them; `outputs` has these alone,
            and is None where there are none. None: all of them.
        samples: of the student, which training samples these are, int64 B, from 0 up to the number that `Loss.memory`
            was told; where a loss `remembers` or the teachers' answers are kept, else None.
        again: of the student, computes once more as in this step, with other activations: (one for each pairing of the
            loss, as `features`) → what the network makes of them there, up to each position from the ones before it.
            BatchNorm averages no statistics meanwhile.
    """

    inputs: Any
    outputs: Any
    features: tuple[Any, ...]
    network: Any
    asked: Any = None
    samples: Any = None
    again: Callable[[Sequence[Tensor]], tuple[Tensor, ...]] | None = None


@dataclass(frozen=True)
class Moment:
    """Where a training is.

    Attributes:
        step: number of the optimizer step, from 0.
        total: steps of the whole training.
        per_epoch: steps of an epoch.
        seed: of the training, for what is drawn as a function of the step.
    """

    step: int
    total: int
    per_epoch: int
    seed: int = 0

    def value(self, setting: Any) -> float:
        """A setting at this moment: a number, or a ramp's value."""
        if hasattr(setting, "value_at"):
            return float(setting.value_at(self.step, self.total, self.per_epoch))
        return float(setting)
