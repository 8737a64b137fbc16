"""Correcting the weights that stay before parts are removed: in a copy of the network, whose structure is unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recipelang.contracts import refuse_broken
from recipelang.errors import Refusal
from recipelang.kinds import Compensator, Evidence
from recipelang.scoring.listed import listed
from recipelang.surgery.network import Network
from recipelang.units import counted

#: corrected weights that a sentence names
SHOWN = 3


@dataclass(frozen=True)
class Corrected:
    """A network in which the weights that stay make up for parts that are still there.

    Attributes:
        network: a copy with the new values; nothing is removed from it.
        names: of the parameters that have new values.
        kept: parameters that could have been corrected → why they were not.
    """

    network: Network
    names: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """`corrected 12 weights: …; 1 weight keeps its values (held by a mask)`; empty where nothing was corrected."""
        said = []
        if self.names:
            shown = ", ".join(f"`{name}`" for name in self.names[:SHOWN])
            more = ", …" if len(self.names) > SHOWN else ""
            said.append(f"corrected {counted(len(self.names), 'weight')} for what is removed: {shown}{more}")
        if self.kept:
            why = next(iter(self.kept.values()))
            verb = "keeps its" if len(self.kept) == 1 else "keep their"
            said.append(f"{counted(len(self.kept), 'weight')} {verb} values ({why})")
        return "; ".join(said)


@torch.no_grad()
def corrected(criterion: Any, evidence: Evidence, network: Network, gone: Mapping[str, Sequence[int]]) -> Corrected:
    """The network with the values that a criterion gives to what stays; the network itself where it corrects nothing.

    Args:
        criterion: a `kinds.Compensator`, or any other, which corrects nothing.
        evidence: of this network.
        gone: group → numbers of the parts that are to be removed.

    Raises:
        Refusal: RCP1006: a corrected weight is not a finite number; RCP0255: a plug-in gives values that do not fit;
            and as the criterion.
    """
    criterion = getattr(criterion, "coarse", criterion)
    if not isinstance(criterion, Compensator) or not any(gone.values()):
        return Corrected(network)
    values = criterion.compensate(listed(evidence, criterion), gone)
    _require_fit(criterion, network, values)
    kept = {name: _restricted(network, name) for name in values if network.restrictions.get(name)}
    module = network.clone()
    parameters = dict(module.module.named_parameters(remove_duplicate=False))
    for name, value in values.items():
        if not bool(torch.isfinite(value).all()):
            raise Refusal(
                "RCP1006",
                f"the correction of `{name}` is NaN or infinite",
                "its weights or inputs are extremely large: training has diverged, or the weights are damaged",
            )
        if name not in kept:
            parameters[name].copy_(value)
    return Corrected(module, tuple(name for name in values if name not in kept), kept)


def _restricted(network: Network, name: str) -> str:
    return f"held by a {network.restrictions[name][0].kind}"


def _require_fit(criterion: Any, network: Network, values: Any) -> None:
    """That a plug-in returns tensors of the shapes of parameters, by their names."""
    shapes = {name: tuple(p.shape) for name, p in network.module.named_parameters(remove_duplicate=False)}
    if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
        wrong = [f"`compensate` returns {type(values).__name__} instead of tensors by name"]
    else:
        wrong = [
            f"`compensate` gives `{name}` the shape {tuple(value.shape)}, and it has {shapes.get(name, 'no parameter')}"
            for name, value in values.items()
            if shapes.get(name) != tuple(value.shape)
        ][:1]
    refuse_broken("criterion", getattr(criterion, "name", "?"), type(criterion), wrong)
