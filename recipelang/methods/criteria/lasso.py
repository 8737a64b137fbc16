"""`lasso`, `lasso(damp=1e-3)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "lasso")
@dataclass(frozen=True)
class Lasso:
    """How long a channel stays in a LASSO regression of the next layer's outputs on what each channel adds to them.

    Formula: min_β ½‖Y − Σ_i β_i X_i W_iᵀ‖² + λ‖β‖₁ with ‖W_i‖_F = 1 (Eq 2), X_i the inputs from channel i and Y the
        outputs of the next layer; the score is the λ at which β_i becomes nonzero as λ falls. The whole path is
        computed, by least angle regression, on the products of all outputs at all positions of all images; the paper
        raises λ on a sample until as few coefficients are left as wanted, which keeps the same channels.
    Corrects: the next layer's weights are those that reproduce its outputs best from the channels that stay, by least
        squares: argmin_W ‖Y − X_S Wᵀ‖² + δ‖W − W_S‖². δ pulls them to what they were, so the error of the outputs is
        never above that without a correction.
    Coupled channels: several next layers count equally, each relative to the energy of its outputs. Depthwise
        convolutions and whole groups of grouped ones belong to the channel itself; the channel of a flatten has a
        column for every position. Ranked across groups, a score is divided by the mean of its group: the paper gives
        every layer its own ratio.
    Shapes: N channels, c columns of every next layer each; products of contributions N×N.
    Needs: one pass over the training images for the scores and another for each correction, without labels;
        `on train(samples=1024)` is enough. Memory for K² numbers of the K = kh·kw·I inputs of a next layer, or
        for 1,024 of its rows where K is above 8,192; the path takes a time that grows with N³.
    Does not apply: what is read only by transposed convolutions, recurrent cells or weights computed from parameters
        stays whole; weights with masks or grids are not corrected.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 90.6, 89.6 and 87.4 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (510 training images); without the correction 89.6, 74.0 and 61.0 %.
    When it misleads: of channels that are nearly equal it keeps one and scores the others 0, however important they are
        together. The next layer's outputs are what counts, not the loss.
    Source: He, Zhang, Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017; the path: Efron,
        Hastie, Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 2004.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    relative: ClassVar[bool] = True
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "sparsify"), "it removes channels from the layer that reads them"
    )

    damp: float = setting(
        1e-3,
        type="number",
        low=0,
        open_low=True,
        high=1,
        help="How strongly weights are kept near what they were, as a share of the mean energy of an input.",
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → N penalties λ up to which each channel stays.

        Raises:
            Refusal: RCP1008: no training images; RCP1010: an input is not a finite number.
        """
        from recipelang.measuring.reconstructing import contributions

        return {group: _entries(found.products, found.sizes) for group, found in contributions(evidence).items()}

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        """Weight → its values by least squares.

        Raises:
            Refusal: as `score`.
        """
        from recipelang.measuring.reconstructing import reconstructed

        return reconstructed(evidence, gone, self.damp)


def _entries(products: Tensor, sizes: Tensor) -> Tensor:
    """N×N ⟨z_i, z_j⟩ and N ‖W_i‖² → N: the λ at which the coefficient of each channel becomes nonzero."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    unit = sizes.clamp_min(1e-300).rsqrt() * (sizes > 0)  # ‖W_i‖_F = 1
    gram = products * unit * unit[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of channels that are equal, one enters
        alphas, _, path = lars_path_gram(
            (products.sum(1) * unit).cpu().numpy(),
            gram.cpu().numpy(),
            n_samples=1,
            method="lasso",
            max_iter=10 * len(gram),  # every channel enters, and a few leave and enter again
        )
    nonzero = path != 0  # N×steps
    entered = nonzero.any(1)
    first = alphas[nonzero.argmax(1).clip(1) - 1] * entered
    return products.new_tensor(first)
