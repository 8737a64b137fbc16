"""From a `model` statement to a network that fits the data: classes by name, one preprocessing for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recipelang.editor import modules
from recipelang.errors import Refusal
from recipelang.images.classes import is_numbered, listed, match, unknown_to
from recipelang.images.view import seen_by, unsaid
from recipelang.kinds import Dataset, ModelRequest, Task, inputs_of, names_of
from recipelang.run.options import Options
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example, outputs_of


def build(
    method: Any,
    datasets: Mapping[str, Dataset],
    seed: int,
    options: Options,
    name: str = "",
    task: Task | None = None,
) -> tuple[Network, str]:
    """Build a model, with seeded random numbers if it has no weights.

    Args:
        method: a model method.
        datasets: opened data sets by name; "" is the recipe's first.
        seed: of everything random.
        options: of the run.
        name: of a second model; "" is the network to work on.
        task: of the recipe; default classification.

    Returns:
        the network, and a note on what was found about it and on how its classes were matched to the data's;
        "" if there is nothing to note.

    Raises:
        Refusal: as of the method; RCP0708, RCP0914: the network, or a second one, does not know a class of the data;
            RCP0819, RCP0713: it does not know a class of a second data set, or does not take its images; RCP0841: it
            was made for another task.
    """
    data = datasets.get("")
    request = ModelRequest(
        classes=names_of(data),
        input_shape=data.input_shape if data else None,
        inputs=inputs_of(data),
        resolve=options.resolve,
        trust=options.trust,
        task=task or task_named(),
        target_shape=data.target_shape if data else None,
    )
    with random_numbers(seed):
        network: Network = method.build(request)
    modules.remember(method, options.recipe_dir, network.module)
    _require_task(network, request, name)
    if data is None:
        return network, "; ".join(network.habits.notes)
    network, told = _of_classes(network, data, name)
    note = "; ".join(filter(None, (*network.habits.notes, told)))
    if not name:
        require_known(network, datasets)
    if network.preprocessing is None:
        return replace(network, preprocessing=data.preprocessing), note
    # Weights with their own preprocessing: the data follows it as far as it can, and the preprocessing that results
    # is stored with the network.
    return replace(network, preprocessing=seen_by(data, (), network.preprocessing).preprocessing), note


def require_known(network: Network, datasets: Mapping[str, Dataset]) -> None:
    """Refuse a second data set that the network cannot classify, before any work is done.

    Raises:
        Refusal: RCP0819: it has a class that the network does not know; RCP0713: the network does not take its images.
    """
    for name, data in datasets.items():
        other = (data.input_shape, inputs_of(data)) != (network.input_shape, network.inputs)
        if name and (other or data.target_shape is not None):
            try:
                _answer(network, data)
            except Refusal as refusal:
                help = "give both data sets the same `size` and `channels`"
                raise Refusal(refusal.code, f"of the data `{name}`: {refusal.message}", help) from refusal
        names = names_of(data) or ()
        if name and network.classes and match(network.classes, names) is None:
            raise Refusal(
                "RCP0819",
                f"the network does not know {unknown_to(network.classes, names)} of the data `{name}`; "
                f"it knows {listed(network.classes)}",
                "name the class folders as the network names its classes, or leave out those that it does not know",
            )
        if name and network.classes and (missing := unsaid(data, network.classes)) is not None:
            raise missing


def _answer(network: Network, data: Dataset) -> None:
    """Refuse inputs that the network does not take, or targets whose shape its answer does not have."""
    task = task_named(network.task)
    answer = outputs_of(network.module, example(network.module, data.input_shape, inputs=inputs_of(data)), task)
    if data.target_shape is not None:
        task.answer(answer, answer.new_zeros(len(answer), *data.target_shape))


def _require_task(network: Network, request: ModelRequest, name: str) -> None:
    """Refuse a network, as one loaded from an artifact, that was made for another task."""
    if request.task is not None and network.task != request.task.name:
        who = f"the second model `{name}`" if name else "the network"
        raise Refusal(
            "RCP0841",
            f"{who} was made for the task {network.task}, and the task here is {request.task.name}",
            f"write `task {network.task}` above, or use another network",
        )


def _of_classes(network: Network, data: Dataset, name: str) -> tuple[Network, str]:
    """The network with names for its outputs to which the data's labels can be matched, and a note on how."""
    names = names_of(data)
    if names is None or tuple(network.classes) == names:
        return network, ""
    found = match(network.classes, names)
    if found is None:
        who = f"the second model `{name}`" if name else "the network"
        raise Refusal(
            "RCP0914" if name else "RCP0708",
            f"{who} does not know {unknown_to(network.classes, names)} of the data `{data.name}`; "
            f"it knows {listed(network.classes)}",
            "use a network and data with the same classes; they are matched by name, in any order",
        )
    if found.how == "order" and is_numbered(network.classes):
        note = f"the network does not name its classes; the data's classes are assigned in order: {listed(names)}"
        source = {**network.source, "classes": list(names)}
        return replace(network, classes=names, source=source), note
    if found.how == "imagenet":
        return network, "the folders of the data are named by ImageNet's WordNet numbers, and each is that class"
    if found.how == "number":
        return network, "the data numbers its classes: number k is output k of the network"
    if (missing := unsaid(data, network.classes)) is not None:
        raise missing
    rest = len(network.classes) - len(names)
    if rest:
        return (
            network,
            f"classes are matched by name; {rest} of the network's {len(network.classes)} are not in the data",
        )
    if found.outputs != tuple(range(len(network.classes))):
        return network, "classes are matched by name: the network has them in a different order"
    return network, ""
