"""From a module to a Network: input size, weights, number of classes where the task has classes. Shared by all model
methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.classes import listed, match, unknown_to
from recipelang.kinds import DEFAULT_TASK, FLOATING, Inputs, ModelRequest, Preprocessing, Task
from recipelang.surgery.answers import Fits
from recipelang.surgery.artifact import another
from recipelang.surgery.checkpoints import Checkpoint
from recipelang.surgery.entry import enter
from recipelang.surgery.head import find_head, replace_head, replace_heads
from recipelang.surgery.libraries import note, require_same
from recipelang.surgery.naming import named_for
from recipelang.surgery.network import Network
from recipelang.surgery.probe import require_sound
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example, outputs_of
from recipelang.surgery.weights import load_weights, require_finite
from recipelang.surgery.wrappers import plain_batchnorms, unwrapped

Shape = tuple[int, ...]


def assemble(
    module: nn.Module,
    request: ModelRequest,
    *,
    model: str,
    settings: Mapping[str, Any],
    input_shape: Shape,
    classes: int | None = None,
    weights: Checkpoint | None = None,
    pretrained: bool = False,
    known: tuple[str, ...] = (),
    preprocessing: Preprocessing | None = None,
    files: Mapping[str, str] | None = None,
    library: str = "",
    built: Mapping[str, Any] | None = None,
    heads: Callable[[nn.Module, int], tuple[str, ...]] | None = None,
    notes: Sequence[str] = (),
    inputs: Inputs = FLOATING,
) -> Network:
    """Give a module its weights and as many outputs as there are classes, and record how to build it again.

    Args:
        module: with any number of outputs; changed in place, wrappers such as DataParallel removed.
        request: what it is built for.
        model, settings: name and settings of the method, as JSON, for `Network.source`; never a private path.
        input_shape: of one input, (C, H, W) for images, used where the request has none.
        classes: number of outputs that the recipe asks for; None: that of the data, or of the network.
        weights: to load; the head first gets their number of classes.
        pretrained: whether the module already has trained weights.
        known: class names of the weights.
        preprocessing: of the weights.
        files: path → SHA-256 of the Python files that build it, for `Network.source`; a network of a user's code is
            tried (`probe.require_sound`).
        library: the library that built the module, whose version is noted (`surgery/libraries.py`); "": none.
        built: what else the library needs to build it again, as JSON: `ModelRequest.built`.
        heads: gives the module this many outputs, in place, as its library does it, and returns the paths of the new
            heads; default: `head.replace_heads`.
        notes: notes for the user so far.
        inputs: what the numbers of an input are, used where the request has no shape of inputs.

    Raises:
        Refusal: RCP0707: the weights do not fit, or are not finite; RCP0708: the numbers of classes do not;
            RCP0713: the network does not take such images; RCP0763: another version of its library builds another
            network; RCP0840: its answer does not have the shape of the data's
            targets; and as `probe.require_sound`.
    """
    shape = request.input_shape or input_shape
    task = request.task or task_named()
    module, wrappers = unwrapped(module)
    notes = [*notes, *(f"`{wrapper}` is removed" for wrapper in wrappers)]
    inputs = request.inputs if request.input_shape else inputs
    images = example(module, shape, inputs=inputs)
    asked = classes or (len(request.classes) if request.classes else None)
    first, habits = enter(module, images, task, exact=_exactly(request, asked), stranger=bool(files))
    plain_batchnorms(module, images)
    outputs = first.shape[1]
    if weights is not None:
        named = named_for(weights.tensors, module.state_dict(), "the weights")
        notes += [note for note in (weights.note, *named.notes) if note]
        weights = replace(weights, tensors=named.tensors)
    source: dict[str, Any] = {"model": model, "settings": dict(settings)}
    names: tuple[str, ...] = ()
    if task.labelled:
        trained = pretrained or weights is not None
        names, more = _with_classes(module, images, request, outputs, classes, weights, trained, known, heads)
        notes += more
        source["settings"]["classes"] = len(names)
    else:
        _without_classes(module, first, request, task, classes, weights)
    source |= {
        "classes": list(names),
        "input_shape": list(shape),
        **inputs.json(),
        **({"task": task.name} if task.name != DEFAULT_TASK else {}),
        **({"files": dict(files)} if files else {}),
    }
    if library and request.built:
        require_same(request.built, module, images)
        source["built"] = dict(request.built)
    elif library:
        call = {"model": model, "settings": source["settings"], "built": dict(built or {})}
        source["built"] = {**note(library, module, images, call), **(built or {})}
    if files and request.weights:
        answer = outputs_of(module, images, task)
        notes += require_sound(module, images, answer, partial(another, source), task.target)
    habits = replace(habits, notes=tuple(notes))
    return Network(module, source, shape, classes=names, preprocessing=preprocessing, habits=habits, inputs=inputs)


def _exactly(request: ModelRequest, classes: int | None) -> Fits | None:
    """Whether a tensor has the classes, or the shape, that the data asks for."""
    if classes is not None:
        return lambda tensor: tensor.shape[1] == classes
    wanted = request.target_shape
    return (lambda tensor: tuple(tensor.shape[1:]) == wanted) if wanted else None


def _with_classes(
    module: nn.Module,
    images: Tensor,
    request: ModelRequest,
    outputs: int,
    classes: int | None,
    weights: Checkpoint | None,
    trained: bool,
    known: tuple[str, ...],
    heads: Callable[[nn.Module, int], tuple[str, ...]] | None,
) -> tuple[tuple[str, ...], list[str]]:
    """Load the weights and give the module as many outputs as there are classes; their names, and notes."""
    notes, built = [], outputs
    if outputs == 1 and classes is None:
        raise _one_output()
    if weights is not None:
        outputs = _load_with_head(module, images, weights.tensors, outputs)
    require_finite(module, module.state_dict(), "the weights of the network as built")
    asked = request.classes
    if asked and known and len(known) == outputs and classes in (None, outputs) and match(known, asked):
        asked = known  # the weights keep their classes, and the data's labels are matched by name
    wanted = _classes(outputs, classes, asked, trained)
    if wanted != outputs:
        paths = heads(module, wanted) if heads else replace_heads(module, images, wanted)
        known = ()
        notes.append(_replaced(paths, built, wanted))
    elif asked and known and asked != known:
        raise _other_classes(known, asked)
    names = asked or (known if len(known) == wanted else tuple(str(k) for k in range(wanted)))
    return names, notes


def _without_classes(
    module: nn.Module, first: Tensor, request: ModelRequest, task: Task, classes: int | None, weights: Checkpoint | None
) -> None:
    """Load the weights of a network whose task has no classes; its answer must have the shape of the data's targets."""
    if classes is not None:
        message = f"`classes={classes}`, and the task {task.name} has no classes"
        raise Refusal("RCP0708", message, "leave `classes` out")
    if weights is not None:
        load_weights(module, weights.tensors, "the weights")
    require_finite(module, module.state_dict(), "the weights of the network as built")
    if request.target_shape is not None:
        task.answer(first, first.new_zeros(len(first), *request.target_shape))


def _replaced(paths: tuple[str, ...], before: int, after: int) -> str:
    """The note on replaced heads."""
    heads = ", ".join(f"`{path}`" for path in paths)
    several = len(paths) > 1
    return (
        f"the head{'s' * several} {heads} of {before} outputs {'are' if several else 'is'} replaced with "
        f"{'new ones' if several else 'a new one'} of {after}, which need{'s' * (not several)} training"
    )


def _one_output() -> Refusal:
    return Refusal(
        "RCP0713",
        "the network gives one number per image, not one score per class",
        "give it one output per class, two for two classes; `classes=2` replaces its last layer with a new one",
    )


def _load_with_head(module: nn.Module, images: Tensor, weights: Mapping[str, Tensor], outputs: int) -> int:
    """Load weights whose number of classes may differ from the module's; returns their number."""
    path = find_head(module, images)[0]
    head = weights.get(f"{path}.weight")
    if path and head is not None and head.ndim >= 2 and head.shape[0] not in (0, outputs):
        replace_head(module, path, head.shape[0])
        outputs = head.shape[0]
    load_weights(module, weights, "the weights")
    return outputs


def _other_classes(known: tuple[str, ...], data: tuple[str, ...]) -> Refusal:
    return Refusal(
        "RCP0708",
        f"the weights do not know {unknown_to(known, data)} of the data; they know {listed(known)}",
        "name the class folders after the classes of the weights, or use a network without these weights",
    )


def _classes(outputs: int, asked: int | None, data: tuple[str, ...] | None, trained: bool) -> int:
    """The number of outputs that the network is to have."""
    if asked is not None and data is not None and asked != len(data):
        raise Refusal(
            "RCP0708",
            f"`classes={asked}` and the data has {len(data)} classes",
            f"write `classes={len(data)}` or leave it out",
        )
    if asked is not None:
        return asked
    if data is not None and len(data) != outputs and trained:
        raise Refusal(
            "RCP0708",
            f"the weights have {outputs} classes and the data has {len(data)}",
            f"write `classes={len(data)}`: the head is replaced with a new one, which needs training",
        )
    return len(data) if data is not None else outputs
