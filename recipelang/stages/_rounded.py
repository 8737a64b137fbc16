"""Rounding weights piece by piece, each stored once it is done: a run that is killed repeats one of them at most."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.images.batches import count, moved
from recipelang.kinds import LAYER, Batch, Numbered, Progress, Restriction, Rounded
from recipelang.plan import Samples
from recipelang.scoring.rounding_parts import PartPiece
from recipelang.scoring.rounding_pieces import Division, divided
from recipelang.scoring.rounding_rows import RowsPiece, reached
from recipelang.scoring.rounding_twins import Twins
from recipelang.scoring.weights import no_samples
from recipelang.stages import _sealed
from recipelang.stages._reasons import by_reason
from recipelang.stages.context import Context
from recipelang.surgery import restricting
from recipelang.surgery.following import following
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import on_device
from recipelang.surgery.restrictions.grid import Grid
from recipelang.training.smoke import few

FORMAT = "recipelang.rounded/1"
#: samples that run together
TOGETHER = 32


@dataclass(frozen=True)
class Rounding:
    """What a rounder made of a network.

    Attributes:
        network: with the new values; its restrictions are those of before.
        grids: parameter name → its restriction.
        note: what was rounded to nearest alone, and what could not be shifted, with the reasons.
    """

    network: Network
    grids: Mapping[str, Restriction]
    note: str


@dataclass
class _Done:
    """What is known of the pieces that are done."""

    state: dict[str, Tensor] = field(default_factory=dict)
    grids: dict[str, Restriction] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def add(self, other: _Done) -> None:
        self.state |= other.state
        self.grids |= other.grids
        self.left |= other.left


def rounded(rounder: Any, context: Context, grids: Mapping[str, Restriction], samples: Samples | None) -> Rounding:
    """The context's network with the weights that get these grids rounded.

    Args:
        rounder: the method.
        grids: parameter name → its restriction.
        samples: what it looks at; None where it needs none.

    Raises:
        Refusal: RCP1434: a weight has no uniform grid, and the rounder needs one. RCP1008: there are no samples.
            RCP1010: a number is NaN or infinite. RCP1006: a new value is.
    """
    _require_uniform(rounder, grids)
    done, pieces = _Done(), divided(context.network, tuple(grids), rounder.unit)
    progress = Numbered(context.progress, "piece", len(pieces))
    names = tuple(name for piece in pieces for name in piece.names)
    twins = _twins(rounder, replace(context, progress=progress), names, samples)
    active = on_device({name: (one,) for name, one in grids.items()}, context.device)
    folder = context.folder / "rounded"
    for number, piece in enumerate(pieces):
        progress.number = number + 1
        path, identity = folder / f"{number:04}.safetensors", _identity(rounder, piece, grids, context)
        found = _read(path, identity)
        if found is None:
            mine = {name: active[name][0] for name in piece.names}
            found = _one(rounder, twins, piece, mine, number, progress)
            _write(path, identity, found)
        done.add(found)
        twins.take(found.state)
    return Rounding(_with(context.network, done.state), {**grids, **done.grids}, _said(rounder, done))


def _require_uniform(rounder: Any, grids: Mapping[str, Restriction]) -> None:
    other = next((name for name, one in grids.items() if not isinstance(one, Grid)), None)
    if rounder.uniform and other is not None:
        raise Refusal(
            "RCP1434",
            f"`{rounder.name}` goes from one number of a uniform grid to the next, and `{other}` has a "
            f"{grids[other].kind}",
            "choose the range with another method after `by`, or round `with nearest`",
        )


def _twins(rounder: Any, context: Context, names: tuple[str, ...], samples: Samples | None) -> Twins:
    total = 0
    if rounder.looks_at_data:
        assert samples is not None  # the verb's: such a rounder has some
        total = context.data.size(samples.split)
        if not total:
            raise no_samples(context.data.name, samples.split)
        total = min(few(samples.count, context.smoke) or total, total)

    def batches(what: str) -> Iterator[Batch]:
        if samples is None or not total:
            return
        progress = context.progress
        if what:
            progress.start(what, total)
        try:
            for batch in context.data.batches(samples.split, batch=TOGETHER, samples=total, seed=context.seed):
                inputs, targets = batch
                yield Batch(moved(inputs, context.device), moved(targets, context.device))
                if what:
                    progress.advance(count(inputs))
        finally:
            if what:
                progress.stop()

    return Twins.of(
        context.network,
        names,
        context.device,
        batches=batches,
        count=-(-total // TOGETHER),
        task=context.task,
        labels=context.data.labels,
        seed=context.seed,
        brief=context.smoke,
    )


def _one(
    rounder: Any, twins: Twins, piece: Division, grids: Mapping[str, Restriction], number: int, progress: Progress
) -> _Done:
    """A piece, rounded."""
    masks = twins.network.masks
    device = twins.before.get_parameter(piece.names[0]).device
    keep = {name: masks[name].keep.to(device) for name in piece.names if name in masks}
    alone = rounder.unit == LAYER and (not rounder.looks_at_data or piece.names[0] in reached(twins))
    made = (
        RowsPiece(twins, piece.names[0], grids[piece.names[0]], keep.get(piece.names[0]), number)
        if alone
        else PartPiece(twins, piece.path, grids, keep, number, piece.calls)
    )
    answer: Rounded = rounder.round(made, progress)
    for name, value in answer.values.items():
        if not bool(torch.isfinite(value).all()):
            raise Refusal(
                "RCP1006",
                f"the rounding of `{name}` is NaN or infinite",
                "its weights or inputs are extremely large: training has diverged, or the weights are damaged",
            )
    state, left = _shifted(twins, answer)
    cpu = {
        name: value.detach().to(twins.before.get_parameter(name).dtype).cpu() for name, value in answer.values.items()
    }
    new = {name: on_device({name: (one,)}, "cpu")[name][0] for name, one in answer.grids.items()}
    return _Done({**cpu, **state}, new, {**left, **answer.left})


def _shifted(twins: Twins, answer: Rounded) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Shifts of outputs as new values of biases, or of the means that BatchNorm takes off; and what has neither."""
    found, left = {}, {}
    state = twins.before.state_dict()
    for name, shift in answer.shifts.items():
        after = following(twins.calls, name)
        if after.bias:
            found[after.bias] = state[after.bias] + shift
        elif after.norm and f"{after.norm}.running_mean" in state:
            found[f"{after.norm}.running_mean"] = state[f"{after.norm}.running_mean"] - shift
        else:
            left[name] = "its outputs cannot be shifted: it has no bias, and no BatchNorm follows it"
    return {name: value.to(state[name].dtype).cpu() for name, value in found.items()}, left


def _with(network: Network, state: Mapping[str, Tensor]) -> Network:
    """A copy of the network with some values of its parameters and buffers."""
    new = network.clone()
    own = new.module.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
    return new


def _said(rounder: Any, done: _Done) -> str:
    """What was not rounded as the method does, by reason."""
    left = by_reason(done.left, "weight")
    return f"`{rounder.name}` has no effect on {'; '.join(left)}" if left else ""


# what is stored ------------------------------------------------------------------------------


def _identity(rounder: Any, piece: Division, grids: Mapping[str, Restriction], context: Context) -> str:
    """Everything that decides a piece, apart from the step, whose folder this is."""
    told = [spell(rounder), piece.path, piece.names, context.seed, context.smoke]
    return json.dumps([*told, *([name, grids[name].kind, grids[name].json()] for name in piece.names)])


def _write(path: Path, identity: str, done: _Done) -> None:
    tensors = {f"state {name}": value.contiguous() for name, value in done.state.items()}
    for name, grid in done.grids.items():
        tensors |= {f"grid {name} {key}": value.contiguous() for key, value in grid.tensors().items()}
    grids = json.dumps({name: {"kind": grid.kind, **grid.json()} for name, grid in done.grids.items()})
    _sealed.write(path, FORMAT, identity, tensors, left=json.dumps(done.left), grids=grids)


def _read(path: Path, identity: str) -> _Done | None:
    """What a file holds; None where it is missing, incomplete, altered or of another piece."""
    known = _sealed.read(path, FORMAT, identity)
    if known is None:
        return None
    tensors, told = known
    with contextlib.suppress(ValueError, KeyError, Refusal):
        grids = {}
        for name, one in json.loads(told["grids"]).items():
            grids[name] = restricting.read(name, one, _of(f"grid {name} ", tensors))
        return _Done(_of("state ", tensors), grids, json.loads(told["left"]))
    return None


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
