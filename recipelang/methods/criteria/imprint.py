"""`imprint(embedding=64, similarity=cosine)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "imprint")
@dataclass(frozen=True)
class Imprint:
    """How much better a classifier can tell the classes apart after the layer than before it.

    Formula: at each point the feature map F (f filters) is pooled to d×d, d = round(√(N/f)), and flattened to an
        embedding E (Eq 4.1). The classifier is imprinted, not trained: its weights are the class means of E over
        the training images (Eq 4.2), its answer is the class whose mean is nearest (Eq 4.3). A layer's score is the
        classifier's validation accuracy at its output minus that at its input. Within a stage the input is the
        preceding candidate's output; at a stage boundary, where width and size change and accuracies are
        not comparable, it is still the fair comparison.
    Similarity: `cosine` (default) compares unit-length embeddings with unit-length class means, `distance` takes the
        nearest class mean, `inner` is the raw product of Eq 4.3. On ResNet-56 for CIFAR-10 the raw product
        ranks blocks no better than chance: rank correlation with the loss after leaving each block out is −0.05, with
        `distance` 0.48, with `cosine` 0.52; with other weights of the same network 0.04, 0.46 and 0.44
        (benchmarks/imprint.py). A class whose mean is long wins raw products, whatever the embedding looks like.
    Shapes: activations B×F×H×W, tokens B×F×T (pooled to d² tokens) or B×F; one score for each layer.
    Needs: one pass over training images and one over validation images, for all layers together.
    When it misleads: a layer may prepare what only later layers make visible, and then seems useless; a validation
        split of a few hundred images ranks coarsely (one image of 360 is 0.28 points).
    Source: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020; imprinting: Qi,
        Brown, Lowe, "Low-shot learning with imprinted weights", CVPR 2018.
    """

    unit: ClassVar[str] = "layer"
    needs: ClassVar[tuple[str, ...]] = ("activations", "labels")

    embedding: int | None = setting(
        None, type="integer", low=1, help="Length N of the embedding; by default the inputs of the last linear layer."
    )
    similarity: str = setting(
        "cosine", type="word", choices=("cosine", "distance", "inner"), help="How embeddings and class means compare."
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Candidate name → gain in accuracy, −1 … 1.

        Raises:
            Refusal: RCP1008: no training or validation images.
        """
        from recipelang.measuring.imprinting import layer_gains

        return layer_gains(evidence, self.embedding or evidence.embedding_length, self.similarity)
