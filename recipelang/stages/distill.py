"""Train the network to agree with its teachers: named states of this recipe, or other models."""

from __future__ import annotations

from recipelang.errors import Refusal
from recipelang.stages.context import Context, Outcome
from recipelang.stages.train import tune
from recipelang.verbs.distill import Distill


def run(operation: Distill, context: Context) -> Outcome:
    """Distill into `context.network`; masks stay.

    Raises:
        Refusal: RCP0914: a teacher has other classes or another input.
    """
    teachers = tuple(context.state(name) for name in operation.teachers)
    student = context.network
    for name, teacher in zip(operation.teachers, teachers, strict=True):
        if teacher.classes and student.classes and len(teacher.classes) != len(student.classes):
            raise Refusal(
                "RCP0914",
                f"the teacher `{name}` knows {len(teacher.classes)} classes, the network {len(student.classes)}",
                "use a teacher trained on the same classes",
            )
        if teacher.input_shape[0] != student.input_shape[0]:
            raise Refusal(
                "RCP0914",
                f"the teacher `{name}` reads {teacher.input_shape[0]} channels, the network {student.input_shape[0]}",
                "use a teacher for the same images",
            )
    return tune(context, operation.training, operation.samples, teachers)
