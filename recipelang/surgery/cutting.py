"""Cutting channels in a trial: on a copy of the network with random parameters, in place, and back again.

Values do not decide what may be removed, but they may hide a wrong cut: a head that starts at zero, a γ of 0, a layer
scale of 1e-6. So the copy that is compared has none of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.calls import TABLE
from recipelang.surgery.counting import corrected
from recipelang.surgery.coupled import Place, Removable
from recipelang.surgery.cuts import joined
from recipelang.surgery.edits.remove_channels import RemoveChannels
from recipelang.surgery.graph import first_names
from recipelang.surgery.headed import unfolded
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.randomised import hiding_nothing
from recipelang.surgery.sizes import numbers_after, sizes_after
from recipelang.surgery.tracing import evaluating, first_line, placed
from recipelang.surgery.without_numbers import run_without_numbers

Chosen = Mapping[str, Collection[int]]


def edit_of(module: nn.Module, found: Removable, chosen: Chosen) -> RemoveChannels:
    """The edit that removes these units; nothing is run.

    Args:
        module: the network's, as it was when `found` was.
        found: of `find_removable`.
        chosen: name of a group → the numbers of the units that go.

    Raises:
        Refusal: RCP0755: nothing, or all of a group, would go.
    """
    followed = found.followed
    gone = _gone(found, chosen)
    names = _names(module)
    cut: dict[tuple[str, int], tuple[list[int], int]] = {}
    for name, axes in followed.held.items():
        for k, axis in enumerate(axes):
            indices = numpy.flatnonzero(gone[axis])
            if len(indices) == len(axis) and len(axis):
                raise Refusal(
                    "RCP0755", f"nothing would remain of `{name}`", "remove fewer: one unit of every group stays"
                )
            if len(indices):
                cut |= {(other, k): (indices.tolist(), len(axis)) for other in names[name]}
    if not cut:
        raise Refusal("RCP0755", "no channels were chosen", "remove more, or name layers that have more channels")
    left = _left(found, chosen)
    normalised = tuple(sorted(cut.keys() & followed.normalised))
    with unfolded(module, found.unfolded):
        sizes = sizes_after(module, followed, left)
    return RemoveChannels(joined(cut), sizes, normalised, numbers_after(followed, left))


def _left(found: Removable, chosen: Chosen) -> Callable[[numpy.ndarray], int]:
    """How many of the channels of an axis remain."""
    gone = _gone(found, chosen)
    return lambda axis: int(len(axis) - gone[axis].sum())


def _gone(found: Removable, chosen: Chosen) -> numpy.ndarray:
    gone = numpy.zeros(found.followed.channels, bool)
    for name, units in chosen.items():
        gone[found.followed.units[name][list(units)]] = True
    return gone


def _names(module: nn.Module) -> dict[str, list[str]]:
    """First name of a parameter or buffer → all of its names."""
    names: dict[str, list[str]] = {}
    for name, first in first_names(module).items():
        names.setdefault(first, []).append(name)
    return names


class _Stays(Exception):
    """Why channels cannot leave."""


class CuttingTrial:
    """A network on which cuts are tried.

    Args:
        module: the network; it is not changed, and as it was after each trial.
        example: an input, B×C×H×W.
        found: in it; its attention is unfolded as it was then, or already is where it is tried itself.
        own: whether it is tried with its own parameters, and only in evaluation mode; otherwise in a copy that has
            random ones (`hiding_nothing`).
    """

    def __init__(self, module: nn.Module, example: Tensor, found: Removable, *, own: bool = False) -> None:
        with unfolded(module, found.unfolded):
            self.module, self.example = module if own else hiding_nothing(module, example), example
        self._expected: tuple[Any, list[Tensor]] | None = None
        self.shapes = None if own else self._trained()

    def refused(self, edit: RemoveChannels) -> str:
        """Why the network cannot do without these channels; empty where it can."""
        try:
            found = self._difference(edit)
            if not found <= TOLERANCE:
                found = self._exact_difference(edit, found)
            if found <= TOLERANCE:
                self._require_training(edit)
        except _Stays as error:
            return str(error)
        return "" if found <= TOLERANCE else f"without them the network computes something else: {found:.1e}"

    def changed(self, found: Removable, chosen: Chosen) -> tuple[str, Removable]:
        """Why the network cannot do without these channels, as `refused`; and what is found about its code.

        First only attributes change; where that fails, also numbers of the code that are wrong without the channels;
        and where that fails, only these, while the attributes of their modules stay.
        """
        why = self.refused(edit := edit_of(self.module, found, chosen))
        knowing = found
        for computing in (False, True) if why else ():
            if computing:
                paths = {path for path, *_ in knowing.followed.fixed} & {path for path, *_ in edit.sizes}
                knowing = _with(knowing, computing=knowing.followed.computing | paths)
                edit = edit_of(self.module, knowing, chosen)
            wrong = self.wrong_numbers(edit, knowing, chosen) - knowing.followed.fixed
            knowing = _with(knowing, fixed=knowing.followed.fixed | wrong)
            if (wrong or computing and paths) and not self.refused(edit := edit_of(self.module, knowing, chosen)):
                return "", knowing
        return why, found

    def wrong_numbers(self, edit: RemoveChannels, found: Removable, chosen: Chosen) -> frozenset[Place]:
        """The numbers that the network's code has wrong without these channels; up to where it raises."""
        right = corrected(self.module, found.followed.counted, _left(found, chosen))
        with applied(self.module, edit), evaluating(self.module), right as wrong, suppress(Exception):
            self.module(self.example)  # it is the user's; whether it can do without them is tried afterwards
        return frozenset(wrong)

    def _difference(self, edit: RemoveChannels) -> float:
        """Between the output without the channels and that with their parameters at zero."""
        asked = (edit.cuts, edit.normalised, self.example.dtype)
        if self._expected is None or self._expected[0] != asked:  # other numbers in the code do not change it
            with evaluating(self.module), edit.neutralised(self.module):
                self._expected = asked, answers_in(self.module(self.example))
        expected = self._expected[1]
        if not expected:
            raise _Stays("the network's output holds no tensor that could be compared")
        with applied(self.module, edit), evaluating(self.module):
            try:
                return largest_difference(answers_in(self.module(self.example)), expected)
            except Exception as error:  # the module is the user's: anything it raises means that they stay
                raise _Stays(_fixes(self.module, error)) from error

    def _exact_difference(self, edit: RemoveChannels, found: float) -> float:
        """The same in 64 bits, where rounding errors of 32 grow; `found` where it computes in 32 only."""
        tensors = [*self.module.parameters(), *self.module.buffers(), self.example]
        if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in tensors):
            return found
        module, example = self.module, self.example
        try:
            self.module, self.example = copy.deepcopy(module).double(), placed(example, example.device, torch.float64)
            return self._difference(edit)
        except Exception:  # the module is the user's, and may have constants in 32 bits
            return found
        finally:
            self.module, self.example = module, example

    def _require_training(self, edit: RemoveChannels) -> None:
        """That the network still runs in training mode, which may have other heads, if it did."""
        if self.shapes:
            with applied(self.module, edit):
                try:
                    shapes = self._trained(raising=True)
                except Exception as error:
                    raise _Stays(_fixes(self.module, error)) from error
            if shapes != self.shapes:
                raise _Stays("in training mode its outputs change their shape")

    def _trained(self, raising: bool = False) -> list[tuple[int, ...]] | None:
        """The shapes of its outputs in training mode; None where it does not run."""
        modes = [(part, part.training) for part in self.module.modules()]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                answers = answers_in(run_without_numbers(self.module.train(), self.example))
                return [tuple(tensor.shape) for tensor in answers]
        except Exception:
            if raising:
                raise
            return None
        finally:
            for part, training in modes:
                part.training = training


def _with(found: Removable, **more: Any) -> Removable:
    return replace(found, followed=replace(found.followed, **more))


# -- in place, and back ------------------------------------------------------------------------------


@contextmanager
def applied(module: nn.Module, edit: RemoveChannels) -> Iterator[None]:
    """Inside the block the channels are removed."""
    undo: list[tuple[nn.Module, str, Any]] = []
    for name in edit.names():
        path, _, leaf = name.rpartition(".")
        part = module.get_submodule(path)
        undo.append((part, leaf, getattr(part, leaf)))
    undo += [(module.get_submodule(path), key, getattr(module.get_submodule(path), key)) for path, key, _ in edit.sizes]
    code = [(part := module.get_submodule(path), type(part), vars(part).get(TABLE)) for path in edit.recounted()]
    try:
        edit.apply(module)
        yield
    finally:
        for part, key, old in undo:
            setattr(part, key, old)
        for part, kind, table in code:
            part.__class__ = kind
            vars(part).pop(TABLE, None)
            if table is not None:
                setattr(part, TABLE, table)


def _fixes(module: nn.Module, error: BaseException) -> str:
    """That the code of the innermost module that was running fixes the number of channels."""
    paths, trace, path = {id(part): path for path, part in module.named_modules()}, error.__traceback__, ""
    while trace:
        path = paths.get(id(trace.tb_frame.f_locals.get("self")), path)
        trace = trace.tb_next
    where = f"`{path}`" if path else "the network"
    return f"the code of {where} fixes their number: {first_line(error)[:120]}"
