"""`export layer_accuracy(embedding=64, similarity=cosine)`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Beside, Dataset, names_of
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

PICTURE, NUMBERS = "layer_accuracy.svg", "layer_accuracy.json"


@method("export", "layer_accuracy")
@dataclass(frozen=True)
class LayerAccuracy:
    """How well the classes can be told apart after each layer: the accuracy of a classifier imprinted there.

    What: `layer_accuracy.svg`, a bar for each layer that can be removed, in the order of the network, and a line at the
        accuracy of the whole network; `layer_accuracy.json` with the same numbers, and the accuracy at each layer's
        input. Reports draw the networks side by side.
    Formula: as of the criterion `imprint`: class means of embeddings over training images (Eq 4.1, 4.2), and the share
        of validation images whose class has the nearest one (Eq 4.3).
    Shapes: activations B×F×H×W, tokens B×F×T or B×F, pooled to about `embedding` values.
    Needs: one pass over training images and one over validation images.
    When it misleads: across a change of width or size accuracies are not comparable, since the pooling changes too; a
        layer may prepare what only later layers make visible.
    Source: Elkerdawy et al., "One-shot layer-wise accuracy approximation for layer pruning", ICIP 2020.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    looks_at_data: ClassVar[bool] = True

    embedding: int | None = setting(
        None, type="integer", low=1, help="Length N of the embedding; default: inputs of the last linear layer."
    )
    similarity: str = setting(
        "cosine", type="word", choices=("cosine", "distance", "inner"), help="How embeddings and means are compared."
    )

    def write(self, network: Any, folder: Path, beside: Beside) -> tuple[Path, ...]:
        """Write the image and the numbers into `folder`.

        Raises:
            Refusal: RCP0910: the network has no layer that can be removed; RCP0708: it has no head whose inputs tell
                the length of the embedding.
        """
        from recipelang.files import write_text
        from recipelang.measuring.imprinting import imprinted_accuracies
        from recipelang.surgery.head import embedding_length
        from recipelang.surgery.tracing import example_input

        watched = Watched(network, beside.data)
        length = self.embedding or embedding_length(network.module, example_input(network))
        found = imprinted_accuracies(watched, length, self.similarity)
        rows = [
            {"layer": name, "before": found[name, "input"], "after": found[name, "output"]} for name in watched.names
        ]
        whole = watched.accuracy()
        told = {"network": whole, "embedding": length, "similarity": self.similarity, "layers": rows}
        write_text(folder / NUMBERS, json.dumps(told, indent=1) + "\n")
        write_text(folder / PICTURE, _drawn(rows, whole))
        return folder / PICTURE, folder / NUMBERS


class Watched:
    """What imprinting needs of a network and its data.

    Args:
        network: is not changed.
        data: as the network sees it.

    Raises:
        Refusal: RCP0910: no layer can be removed.
    """

    def __init__(self, network: Any, data: Dataset) -> None:
        from recipelang.surgery.candidates import find_layers
        from recipelang.surgery.simulated import running
        from recipelang.surgery.tracing import example_input

        self.network, self.data = network.clone(), data
        self.layers = find_layers(self.network.module, example_input(self.network))
        if not self.layers:
            raise Refusal(
                "RCP0910",
                "no layer of this network can be removed, so there is none to look at",
                "`recipe layers MODEL` shows why; remove `layer_accuracy`",
            )
        self.running: nn.Module = running(self.network).eval()

    @property
    def names(self) -> Sequence[str]:
        """Of the layers, in the order of the network."""
        return [layer.name for layer in self.layers]

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(names_of(self.data) or ())

    def watch(self, split: str, observe: Callable[[str, str, Tensor, Tensor], None]) -> None:
        """As `kinds.Evidence.watch`."""
        from recipelang.surgery.watching import watching_layers

        labels: list[Tensor] = []
        axes = {layer.name: layer.filters_axis for layer in self.layers}

        def show(name: str, side: str, activation: Tensor) -> None:
            observe(name, side, activation.movedim(axes[name], 1), labels[0])

        with watching_layers(self.network.module, self.layers, show):
            for _ in self._answers(split, labels):
                pass

    def accuracy(self) -> float:
        """Of the whole network, on the validation split."""
        labels: list[Tensor] = []
        right = [(scores.argmax(1) == labels[0]).float() for scores in self._answers("val", labels)]
        return float(torch.cat(right).mean())

    def _answers(self, split: str, labels: list[Tensor]) -> Iterator[Tensor]:
        """The scores of each batch, while `labels` holds its labels."""
        with torch.no_grad():
            for images, targets in self.data.batches(split):
                labels[:] = [targets]
                yield self.running(images)


def _drawn(rows: Sequence[dict[str, Any]], whole: float) -> str:
    """Bars in the order of the network, and a line at the accuracy of the whole network."""
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "recipelang", "svg.fonttype": "none"}):
        out = io.StringIO()
        figure = Figure(figsize=(max(4.0, 0.26 * len(rows) + 1.2), 3.0), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.bar(range(len(rows)), [100 * row["after"] for row in rows], color="#0b7a70", width=0.72)
        axes.axhline(100 * whole, color="#c2571b", linewidth=1.4, label=f"the whole network: {100 * whole:.1f} %")
        axes.set_xticks(range(len(rows)), [row["layer"] for row in rows], rotation=90, fontsize=7, parse_math=False)
        axes.set_ylabel("accuracy after the layer (%)")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()
