"""Where the losses of a training look, on its network and its teachers; and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.errors import Refusal
from recipelang.kinds import Edit, Pairing, Points
from recipelang.plan import Term, Training
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.surgery.points import find_points
from recipelang.surgery.tracing import called, device_of, example_input, first_line
from recipelang.training.teachers import Teacher, untranslated


def compares_outputs(training: Training) -> bool:
    """Whether a term of a training compares the outputs of teachers with the student's."""
    return any("outputs" in term.loss.compares and term.loss.teachers[1] for term in training.losses if term.loss)


def looks(training: Training) -> bool:
    """Whether a term of a training looks at features."""
    return any("features" in term.loss.compares for term in training.losses if term.loss)


def asks_for_gradients(term: Term) -> bool:
    """Whether a term differentiates activations by the inputs."""
    return bool(getattr(term.loss, "input_gradients", False))


def added(training: Training, network: Network) -> tuple[Edit, ...]:
    """The edits that a network needs before a training, and that stay in it.

    Raises:
        Refusal: RCP1512: the network cannot have them.
    """
    losses = (term.loss for term in training.losses if hasattr(term.loss, "adds"))
    return tuple(edit for loss in losses for edit in loss.adds(network))


def with_added(training: Training, network: Network) -> Network:
    """The network that a training begins with: the same one where nothing is added.

    Raises:
        Refusal: as of `added`.
    """
    edits = tuple(dict.fromkeys(added(training, network)))
    return apply_edits(network, edits, check=False) if edits else network


def pairings(training: Training, student: Network, teachers: Sequence[Teacher]) -> tuple[tuple[Pairing, ...], ...]:
    """The positions that each term of a training compares, in its order; () where none looks at any.

    Raises:
        Refusal: RCP0821 … RCP0823: a loss finds nothing to compare; RCP0713: a teacher does not take the images;
            RCP1510: a loss differentiates by inputs that are whole numbers.
    """
    if student.inputs.whole and (term := next(filter(asks_for_gradients, training.losses), None)):
        raise Refusal(
            "RCP1510",
            f"`{term.loss.name}` compares gradients to the inputs, and {student.inputs} have none",
            "use a loss of outputs or of features, as `kd`, `at` or `fitnet`",
        )
    if not looks(training):
        return ()
    student = with_added(training, student)
    attends = any(getattr(term.loss, "attends", False) for term in training.losses)
    own = _points(student, student, "the network", attends)
    others = tuple(_points(teacher.network, student, f"the teacher `{teacher.name}`", attends) for teacher in teachers)
    return tuple(_of_term(term, own, others) for term in training.losses)


def shown(training: Training, found: Sequence[Sequence[Pairing]], teachers: Sequence[Teacher]) -> tuple[str, ...]:
    """The pairings in words, for `plan`: "`at` compares layer1 (16×8×8) with layer1 (32×8×8) of `teacher`"."""
    return tuple(
        _phrase(term, str(pairing.student), [str(point) for point in pairing.teachers], teachers)
        for term, places in zip(training.losses, found, strict=False)  # none are found where no term looks
        for pairing in places
    )


def summary(training: Training, found: Sequence[Sequence[Pairing]], teachers: Sequence[Teacher]) -> tuple[str, ...]:
    """The same for the report, a phrase for each term: "`at` compares layer1, layer2 with layer1, layer2 of `big`"."""
    return tuple(
        _phrase(
            term,
            ", ".join(pairing.student.path for pairing in places),
            [", ".join(point.path for point in points) for points in zip(*(p.teachers for p in places), strict=True)],
            teachers,
        )
        for term, places in zip(training.losses, found, strict=False)
        if places
    )


def _phrase(term: Term, mine: str, theirs: Sequence[str], teachers: Sequence[Teacher]) -> str:
    others = " and ".join(f"{places} of `{t.name}`" for places, t in zip(theirs, teachers, strict=False))
    return f"`{term.loss.name}` compares {mine} with {others}" if others else f"`{term.loss.name}` looks at {mine}"


def _of_term(term: Term, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
    if term.loss is None or "features" not in term.loss.compares:
        return ()
    found: tuple[Pairing, ...] = term.loss.points(student, teachers[: term.loss.teachers[1]])
    return found


def _points(network: Network, student: Network, whose: str, attends: bool) -> Points:
    """The positions of a network on the student's images."""
    module = untranslated(network.module)
    images = example_input(student).to(device_of(module))
    try:
        return find_points(module, images, whose, attention=attends)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0713",
            f"{whose} does not take {called(images)}: {type(error).__name__}: {first_line(error)}",
            "use a teacher for images of this size",
        ) from error
