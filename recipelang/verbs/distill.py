"""`distill from STATE, … [for DURATION] [with LOSS, OPTIMIZER]`: train to agree with teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from recipelang.meaning import modules, names, places, training, trees
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import DEFAULT_RECOVERY, Needs, Samples, Training, unhashed
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Distill:
    """Train the network to agree with its teachers."""

    verb: ClassVar[str] = "distill"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    teachers: tuple[str, ...]
    training: Training
    samples: Samples | None = None
    #: (teacher of the teacher, teacher) where the one that `from` names was trained to agree with another, and neither
    #: the first network nor the student was changed by the recipe
    assisted: tuple[tuple[str, str], ...] = unhashed(())

    def needs(self) -> Needs:
        """Its training, and its teachers."""
        return Needs(
            training=self.training,
            trains_on=self.samples,
            states=self.teachers,
            teachers=self.teachers,
            selection=self.training.selected,
            beside=self.training.beside(len(self.teachers)),
        )


#: number of teachers → the loss used where none is named
DEFAULT_LOSS = {1: "kd", 2: "mis"}
#: what stands for distillation without data, and what it means
NOTHING, NOTHING_IS = "nothing", "deepinversion"
DEFAULTS = f"`kd` for one teacher, `mis` for two, `self` for `from self`, {training.TUNING}"


def read(reader: Reader) -> Distill | None:
    """`distill from healthy, recovered for 3 epochs with mis`."""
    reader.no_operands()
    nodes = reader.arguments("from")
    if not nodes:
        reader.refuse("RCP0403", "`distill` names no teacher", None, "write `distill from healthy`")
    alone = [show(node) for node in nodes] == ["self"]  # the network is its own teacher
    teachers: list[str] = []
    for node in () if alone else nodes:
        name = _teacher(reader, node)
        if name in teachers:
            reader.refuse("RCP0408", f"teacher `{name}` appears twice", node.span, "name each teacher once")
        elif name:
            teachers.append(name)
    if len(nodes) > max(DEFAULT_LOSS) and not reader.arguments("with"):
        reader.refuse(
            "RCP0412",
            f"there is no default loss for {len(nodes)} teachers",
            nodes[max(DEFAULT_LOSS)].span,
            "`with kd` takes the mean of their answers; or name one or two teachers",
        )
    made = training.read(
        reader,
        training.TUNING,
        default_duration=DEFAULT_RECOVERY,
        default_loss="self" if alone else DEFAULT_LOSS.get(len(nodes), ""),
        teachers=None if alone else nodes,
        removes=True,
    )
    if made is None:
        return None
    _never_with_itself(reader, made, dict(zip(teachers, nodes, strict=False)))
    if alone and made.losses and not any(term.leaves() for term in made.losses):
        _teacher(reader, nodes[0])
    chosen = replace(made, trains=modules.selection(reader))
    samples = _samples(reader, alone)
    if samples and samples.source and made.caching:
        message = f"`{made.caching.name}` keeps answers about the samples of the data, and `on nothing` makes its own"
        reader.refuse("RCP1523", message, reader.statement.verb.span, f"leave `{made.caching.name}` out")
    return reader.done(Distill(tuple(teachers), chosen, samples, _assisted(reader, teachers)))


def _never_with_itself(reader: Reader, made: Training, teachers: Mapping[str, Any]) -> None:
    """Refuse a peer that the network is itself: the two would stay the same (RCP1521)."""
    same = next((name for name in teachers if name in reader.flow.same and not reader.flow.branch), "")
    if same and any(getattr(term.loss, "peers", False) for term in made.losses):
        message = f"the network and its peer `{same}` are the same, so neither has anything to tell the other"
        help = "let one begin with other weights: `train from scratch for 1 epochs`, `keep as other`, then `start from "
        reader.refuse("RCP1521", message, teachers[same].span, f"{help}{same}`")


def _assisted(reader: Reader, teachers: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The one teacher, if it is an assistant, and the teacher that it learned from."""
    origins, mine = reader.flow.origins, reader.flow.origin
    learned = origins[teachers[0]].teachers if len(teachers) == 1 and teachers[0] in origins else ()
    if len(learned) != 1 or learned[0] == "recovered" or (mine and mine.altered):
        return ()
    first = origins.get(learned[0])
    return () if first and first.altered else ((learned[0], teachers[0]),)


def _samples(reader: Reader, alone: bool) -> Samples | None:
    """The clause `on`: a part of the data, or a source that makes images from the first teacher; `nothing` is one."""
    given = reader.argument("on")
    clause = reader.clause("on")
    if clause and given is not None and trees.bare_word(given) == NOTHING and not reader.flow.is_data(NOTHING):
        made = trees.respan(trees.expression(NOTHING_IS), given.span)
        reader.replace_clause(clause, (made,))
        given = made
    if given is None or not training.names(given, "source") or reader.flow.is_data(given.name):
        return places.samples(reader, trains=True)
    source = reader.method(given, "source", "`on` of `distill`", f"on {NOTHING}")
    if alone and source is not None:
        message = f"`{source.name}` makes images from a teacher, and this statement has none"
        reader.refuse("RCP0411", message, given.span, "`distill from healthy on nothing`")
    return Samples("train", source.samples, source=source) if source is not None else None


def _teacher(reader: Reader, node: Any) -> str | None:
    """The name of a teacher; the student cannot be its own teacher."""
    if show(node) in ("self", "current"):
        message = f"`{show(node)}` is the student and has nothing to learn from itself"
        help = "`keep as before` above, then `from before`; or `from self with self(classifiers=4)`"
        reader.refuse("RCP0205", message, node.span, help)
        return None
    return names.state(reader, node, "`from`")


VERB = Verb(
    summary="Trains the network to agree with its teachers.",
    operands="nothing",
    clauses=(
        Clause(
            "from",
            "the teachers: `healthy`, `recovered`, a kept state, a second model; `self` alone for the loss `self`",
            required=True,
            accepts=("state",),
        ),
        Clause("for", "a number of epochs or steps", default=str(DEFAULT_RECOVERY), accepts=("epochs",)),
        Clause(
            "with", "a loss, an optimizer, companions", default=DEFAULTS, accepts=("loss", "optimizer", "companion")
        ),
        Clause(
            "on",
            "`train(samples=N)`: part of the training split; `nothing` or a source: images made from the first teacher",
            default="all of it",
            words=(NOTHING,),
            accepts=("split", "source"),
        ),
        *modules.TRAINED,
    ),
    example="sparsify nm 2:4\ndistill from healthy, recovered for 3 epochs with mis, sgd(lr=1e-3)",
    read=read,
    operation=Distill,
    rules=(
        "`recovered` is the network as it was when the last hardware restriction (`sparsify nm`, `quantize`) began.",
        "`from self` trains classifiers on the way through the network: see the loss `self`, which leaves networks "
        "that end at them.",
        "A loss that is not complete on its own gets `1 * task` added to it, and the plan shows this.",
        "`on nothing` looks at no data: images are made from the statistics of the first teacher's BatchNorm, as the "
        "source `deepinversion` says, and their labels are its answers. What is measured is measured on data.",
        "Losses of outputs (`kd`, `mis`) need teachers that know the network's classes; losses of features (`at`, "
        "`fitnet`) take any network that reads the same images, and `plan` shows which positions they compare.",
    ),
)
