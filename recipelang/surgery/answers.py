"""The output of a network: one tensor, or several tensors in tuples, dictionaries and dataclasses.

Which tensors can be the answer is the task's to say (`kinds.Task.answer`). In evaluation one tensor is the answer,
identified by its name or its shape. In training every tensor of this kind is trained: those that evaluation answers
with, and auxiliary outputs with a smaller weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Labels, Task
from recipelang.surgery.tracing import evaluating

#: names under which networks return their scores, the most certain first
NAMES = ("logits", "scores", "out", "output")
#: weight of the loss of an auxiliary classifier: GoogLeNet's (Szegedy et al. 2014, section 5)
AUXILIARY = 0.3

Path = tuple[str | int, ...]
#: whether a tensor can be the answer
Fits = Callable[[Tensor], bool]


def tensors(raw: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor of an answer with the path to it, in order."""
    if isinstance(raw, Tensor):
        yield path, raw
        return
    for key, value in _entries(raw):
        yield from tensors(value, (*path, key))


def _entries(raw: Any) -> list[tuple[str | int, Any]]:
    if isinstance(raw, Mapping):
        return [(key, value) for key, value in raw.items() if isinstance(key, str | int)]
    if isinstance(raw, tuple) and hasattr(raw, "_fields"):
        return [(name, getattr(raw, name)) for name in raw._fields]
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes):
        return list(enumerate(raw))
    if dataclasses.is_dataclass(raw):
        return [(field.name, getattr(raw, field.name)) for field in dataclasses.fields(raw)]
    return [(name, getattr(raw, name)) for name in NAMES if hasattr(raw, name)]


def at(raw: Any, path: Path) -> Any:
    """The value at a path of an answer."""
    for key in path:
        raw = raw[key] if isinstance(raw, Mapping) or isinstance(key, int) else getattr(raw, key)
    return raw


def fits(task: Task, targets: Any = None, labels: Labels | None = None) -> Fits:
    """Whether a task understands a tensor as an answer, to these targets and classes where they are given."""

    def understood(tensor: Tensor) -> bool:
        try:
            task.answer(tensor, targets, labels)
        except Refusal:
            return False
        return True

    return understood


def like(answer: Tensor) -> Fits:
    """Whether a tensor has the shape of an answer, whatever the number of samples."""
    return lambda tensor: tensor.shape[1:] == answer.shape[1:]


def fitting(raw: Any, samples: int, fit: Fits) -> dict[Path, Tensor]:
    """Every tensor of an answer to this many samples that fits: floating point, B×…"""
    return {
        path: t for path, t in tensors(raw) if t.ndim and len(t) == samples and torch.is_floating_point(t) and fit(t)
    }


def answer(raw: Any, samples: int, loose: Fits, exact: Fits | None = None) -> Path | None:
    """The path of the one tensor that is a network's answer in evaluation; None where it is ambiguous.

    It is the one under one of `NAMES`, else the only one that fits exactly, else the only one that fits at all.

    Args:
        raw: what the network returned.
        samples: how many inputs it was given.
        loose: whether a tensor can be an answer of the task.
        exact: whether it also has the classes or the shape of the data; None where they are unknown.
    """
    found = fitting(raw, samples, loose)
    for name in NAMES:
        named = [path for path in found if path and path[-1] == name]
        if len(named) == 1:
            return named[0]
    exactly = [path for path, tensor in found.items() if exact and exact(tensor)]
    paths = exactly or list(found)
    return paths[0] if len(paths) == 1 else None


def describe(raw: Any) -> str:
    """What a network returned, for a message: `a tensor of shape 2×10`, `dict of logits 2×10, features 2×64`."""
    if isinstance(raw, Tensor):
        return f"a tensor of shape {_shape(raw)}"
    parts = [f"{'.'.join(map(str, path))} {_shape(t)}" for path, t in tensors(raw)][:4]
    return f"{type(raw).__name__}{' of ' + ', '.join(parts) if parts else ''}"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


@dataclass(frozen=True)
class Trained:
    """Which tensors of a training answer are trained.

    Attributes:
        answers: paths of those that evaluation answers with; their losses are averaged.
        auxiliary: paths of classifiers that only training has; each loss has weight `AUXILIARY`.
    """

    answers: tuple[Path, ...]
    auxiliary: tuple[Path, ...] = ()

    @property
    def note(self) -> str:
        """What a user should know; "" where one answer is trained and nothing else."""
        several = f"{len(self.answers)} outputs of training mode are trained, each with the same weight"
        count = len(self.auxiliary)
        are = "output of training mode is" if count == 1 else "outputs of training mode are"
        aux = f"{count} auxiliary {are} trained with weight {AUXILIARY:g}"
        return "; ".join([several] * (len(self.answers) > 1) + [aux] * bool(self.auxiliary))


@dataclass(frozen=True)
class Graph:
    """How a tensor was computed: the leaves that took part and the nodes on the way, by id."""

    leaves: Mapping[int, Tensor]
    nodes: Mapping[int, Any]  # the nodes themselves: an id is unique only while its node is alive


def graph(*computed: Tensor) -> Graph:
    """Walk back from tensors to what they were computed from, as far as gradients flow."""
    leaves: dict[int, Tensor] = {}
    seen: dict[int, Any] = {}
    waiting: list[Any] = [tensor.grad_fn for tensor in computed if tensor.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves[id(leaf)] = leaf
        waiting += [following for following, _ in node.next_functions if following is not None]
    return Graph(leaves, seen)


def trained(module: nn.Module, images: Tensor, fit: Fits) -> Trained | None:
    """Which tensors of a network's answer in training mode are trained; None where none fits.

    Of several tensors that fit, the answer is the one that evaluation returns too. Where there is none, evaluation
    mixes those whose parameters it uses, except those that others are computed from. A remaining tensor with
    parameters of its own, which evaluation does not use, is an auxiliary classifier.

    Args:
        module: a copy that is not used afterwards: its statistics change, and activations may keep their graph.
        images: B×C×H×W, of the size that the network takes.
        fit: whether a tensor is an answer to these images.

    Raises:
        Exception: whatever the network raises.
    """
    module.train()
    found = fitting(module(images.clone()), len(images), fit)
    if len(found) < 2:
        return Trained(tuple(found)) if found else None
    with evaluating(module), torch.enable_grad():
        evaluation = module(images.clone())
    with _without_noise(module), torch.no_grad():
        quiet = fitting(module(images.clone()), len(images), fit)
    graphs = {path: graph(score) for path, score in found.items()}
    used = graph(evaluation).leaves.keys()
    extra = {path for path in found if not graphs[path].leaves.keys() <= used}
    same = [path for path, score in quiet.items() if path in found and _close(score, evaluation)]
    own = same[:1] or [
        path
        for path, score in found.items()
        if path not in extra
        and score.grad_fn is not None
        and not any(id(score.grad_fn) in graphs[other].nodes for other in found if other != path)
    ]
    own = own or [next(iter(found))]
    return Trained(tuple(own), tuple(path for path in found if path in extra and path not in own))


def _close(one: Tensor, two: Tensor) -> bool:
    scale = float(two.detach().abs().max())
    return bool(((one - two.detach()).abs() <= 1e-4 * scale).all())


@contextmanager
def _without_noise(module: nn.Module) -> Iterator[None]:
    """Training mode except for norms and layers without parameters, so that only the form of the answer differs."""
    module.train()
    still = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._NormBase) or not [*part.parameters(), *part.children()]
    ]
    for part in still:
        part.training = False
    try:
        yield
    finally:
        module.train()
