"""The weights that criteria score: which are inside a layer, make a channel or scale it; and what cannot be known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Group
from recipelang.surgery.candidates import Candidate
from recipelang.surgery.coupled import unit_rows
from recipelang.surgery.products import Product


def weights_inside(
    module: nn.Module, products: Mapping[str, Product], candidates: Sequence[Candidate]
) -> Mapping[str, tuple[str, ...]]:
    """Candidate name → names of the weights inside it; a weight that several layers share is inside each."""
    shared: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    places = {
        name: (product.path, *(shared[id(module.get_parameter(name))] if product.parameter else (name,)))
        for name, product in products.items()
    }
    return {
        candidate.name: tuple(
            name
            for name in products
            if any(f"{place}.".startswith(path + ".") for path in candidate.paths for place in places[name])
        )
        for candidate in candidates
    }


def require_known(
    products: Mapping[str, Product], layers: Mapping[str, tuple[str, ...]], known: Collection[str], what: str
) -> None:
    """Refuse where ranked layers hold weights about which a criterion has no evidence.

    Raises:
        Refusal: RCP0732.
    """
    for layer, names in layers.items():
        if unknown := [name for name in names if name not in known]:
            why = products[unknown[0]].why or f"the weight of a {products[unknown[0]].kind} layer"
            raise Refusal(
                "RCP0732",
                f"the {what} of `{unknown[0]}` in `{layer}` are not known: {why}",
                f'rank `by imprint` or `by magnitude`, or exclude it with `except "{layer}"`',
            )


def no_samples(data: str, split: str) -> Refusal:
    """The refusal where a criterion needs data and a split has none."""
    return Refusal(
        "RCP1008",
        f"the data `{data}` has no {split} samples, and the criterion needs them",
        "use data with a training and a validation split, or a criterion that needs none: `by magnitude`",
    )


def batchnorm_scales(module: nn.Module) -> dict[str, Tensor]:
    """Parameter name → the scale γ of every BatchNorm that has one, in the order of the network."""
    norms = ((path, part) for path, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))
    return {f"{path}.weight".lstrip("."): part.weight for path, part in norms if part.affine}


def of_groups(groups: Sequence[Group], tensors: Mapping[str, Tensor], role: str) -> dict[str, Tensor]:
    """Group of coupled channels → N×K: the numbers of each channel in these tensors, at places of this role; groups
    without any are left out."""
    found = {group.name: unit_rows(group.source, tensors, role) for group in groups}
    return {name: rows for name, rows in found.items() if rows.shape[1]}
