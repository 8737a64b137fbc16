"""Set the least important weights to zero in a pattern, and keep the masks with the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from recipelang.budgets.bench import Told
from recipelang.budgets.held import Division, divided
from recipelang.errors import Refusal
from recipelang.kinds import Figure, Masking, Solver
from recipelang.plan import Training
from recipelang.scoring.dividing import Dividing
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.following import Following, following
from recipelang.scoring.pieces import PieceScores, piece_scores
from recipelang.scoring.reordering import Reordered, reorder_channels
from recipelang.scoring.solving import solved
from recipelang.stages._divided import divided as dividing_of
from recipelang.stages._rounds import Score, in_rounds
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.stages.train import started, tune
from recipelang.surgery import masks
from recipelang.surgery.network import Network
from recipelang.surgery.permute import require_groups
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.rewinding import require_same
from recipelang.training.smoke import few
from recipelang.verbs.sparsify import Sparsify

#: more reasons why weights stay dense are not shown
MOST_REASONS = 4


def run(operation: Sparsify, context: Context) -> Outcome:
    """Put every eligible weight of the selection into the pattern.

    Raises:
        Refusal: RCP0910: no weight can take the pattern; RCP0718 to RCP0720: its channels cannot be reordered.
    """
    network = context.network
    scoring, names, dense = _eligible(operation, network)
    if operation.training:
        return _gradual(operation, operation.training, started(context, operation.scratch), scoring, names, dense)
    division = _division(operation, context)
    evidence = _evidence(operation, context, division)
    reordered = reorder_channels(operation, evidence, names) if operation.permutation else None
    sparse, taken, said = _sparse(operation, context, division, evidence, scoring, names, reordered)
    dense |= scoring.unscored(names, taken)
    before = reordered.network if reordered else network
    outcome = _outcome(operation, before, sparse, taken, dense, reordered.edits if reordered else ())
    outcome = replace(outcome, note="; ".join(filter(None, (reordered.note if reordered else "", outcome.note))))
    return _told(outcome, said)


def _told(outcome: Outcome, said: Sequence[Told]) -> Outcome:
    """With what an allocation says of its search."""
    note = "; ".join(filter(None, (*(one.note for one in said), outcome.note)))
    figures = tuple(figure for one in said for figure in one.figures)
    plots = tuple(plot for one in said for plot in one.plots)
    return replace(outcome, note=note, reached=(*outcome.reached, *figures), plots=plots)


def _division(operation: Sparsify, context: Context) -> Division | None:
    """Of the data, for an allocation that tries: what is ranked by, and what is judged by."""
    if not hasattr(operation.allocation, "explore"):
        return None
    return divided(context.data, context.seed, context.smoke)


def _evidence(operation: Sparsify, context: Context, division: Division | None = None) -> Gathered:
    """What the criterion may look at."""
    return Gathered(
        network=context.network,
        data=division.rest if division else context.data,
        task=context.task,
        unit="element",
        needs=operation.criterion.needs,
        samples=few(operation.samples.count, context.smoke),
        seed=context.seed,
        device=context.device,
        progress=context.progress,
    )


def _eligible(operation: Sparsify, network: Network) -> tuple[PieceScores, tuple[str, ...], dict[str, str]]:
    """How weights are scored, the weights that can take the pattern, and why others cannot.

    Raises:
        Refusal: RCP0910: no weight can; RCP0718: the criterion ranks filters, and channels cannot be traced; RCP0547,
            RCP0432: the masks that they have do not go with those asked for.
    """
    names, dense = masks.eligible(network, operation.pattern, operation.selection)
    ranked = bool(names) and operation.criterion is not None
    scoring = piece_scores(operation.criterion, network) if ranked else PieceScores(operation.criterion)
    unscored = scoring.without_channels(network, names)
    names, dense = tuple(name for name in names if name not in unscored), dense | unscored
    if not names:
        reasons = (
            "; ".join(f"`{name}`: {why}" for name, why in list(dense.items())[:3]) or "the selection contains none"
        )
        raise Refusal(
            "RCP0910",
            f"no weight of this network can be {operation.pattern}: {reasons}",
            "`recipe layers MODEL` lists what can",
        )
    course = operation.training.course if operation.training else None
    masks.require_room(network, operation.pattern, names, course.target if course else None)
    return scoring, names, dense


def _outcome(
    operation: Sparsify,
    before: Network,
    sparse: Network,
    taken: Sequence[str],
    dense: dict[str, str],
    edits: tuple[str, ...],
) -> Outcome:
    """What the report says: which weights took the pattern, which lost a mask, which stay dense for which reason."""
    own = {name: mask.pattern for name, mask in sparse.masks.items()}
    where = _where(sparse, taken)
    what = f"are {operation.pattern}{' together' * bool(where)}"
    return Outcome(
        sparse,
        reached=(Figure(what, len(taken), noun="weight", of=len(taken) + len(dense)),),
        note="; ".join(filter(None, (where, _released(before, sparse), _left_dense(dense)))),
        edits=(*edits, *(f"`{name}` is {own.get(name, 'whole')}" for name in taken)),
    )


def foresee(operation: Sparsify, network: Network, known: Known) -> Foresight:
    """How many weights can take the pattern, and how many groups of channels can be reordered for it.

    Raises:
        Refusal: RCP0910: no weight can; RCP0718, RCP0720: channels cannot be followed or reordered; RCP0791: the state
            to which a schedule goes back has another architecture.
    """
    _, names, dense = _eligible(operation, network)
    rewind = getattr(operation.schedule, "rewind", "")
    if rewind and (state := known(rewind)) is not None:
        require_same(network, state, rewind)
    one, stays = len(names) == 1, len(dense) == 1
    found = f"{len(names)} weight{'s' * (not one)} can be {operation.pattern}, {len(dense)} stay{'s' * stays} dense"
    if operation.permutation is None:
        return Foresight((found,))
    groups = len(require_groups(network, names, operation.pattern))
    return Foresight((found, f"{groups} group{'s' * (groups != 1)} of input channels can be reordered"))


def _gradual(
    operation: Sparsify,
    training: Training,
    context: Context,
    scoring: PieceScores,
    names: Sequence[str],
    dense: dict[str, str],
) -> Outcome:
    """Train while the masks follow the schedule; what cannot be scored is found before the first step."""
    assert training.course
    score, taken, division = None, tuple(names), _division(operation, context)
    first: Mapping[str, Tensor] = {name: context.network.module.get_parameter(name).detach().abs() for name in names}
    if operation.criterion is not None:
        evidence = _evidence(operation, context, division)
        first = scoring.of(evidence)
        taken = tuple(name for name in names if name in first)

        def score(network: Network) -> Mapping[str, Tensor]:
            return scoring.of(replace(evidence, network=network, progress=None))

    dividing, said = dividing_of(operation, context, division, {name: first[name].cpu() for name in taken})
    if hasattr(training.course.schedule, "rounds"):
        assert score is not None, "a schedule in rounds ranks by a criterion"
        tuned = in_rounds(context, training, operation.pattern, taken, score, dividing)
    else:
        tuned = _moved(operation, training, context, taken, score, dividing)
    outcome = _outcome(operation, context.network, tuned.network, taken, dense | scoring.unscored(names, taken), ())
    reached = (*outcome.reached, *tuned.reached)
    note = "; ".join(filter(None, (tuned.note, outcome.note)))
    told: dict[str, Any] = {"history": tuned.history, "unvalidated": tuned.unvalidated, "training": tuned.training}
    outcome = replace(outcome, reached=reached, note=note, **told)
    return _told(outcome, said)


def _moved(
    operation: Sparsify,
    training: Training,
    context: Context,
    taken: tuple[str, ...],
    score: Score | None,
    dividing: Dividing | None,
) -> Outcome:
    """One training in which masks move."""
    assert training.course
    masking = Masking(
        training.course,
        operation.pattern,
        taken,
        dict(dividing.shares) if dividing else dict.fromkeys(taken, training.course.target),
        score,
        operation.scratch,
        context.state,
        dividing,
    )
    companion = following(masking)
    # Masks that move by a law of their own are not held within those of before.
    begun = context.network if isinstance(companion, Following) else masks.unmasked(context.network, taken)
    joined = replace(training, companions=(*training.companions, companion))
    return replace(tune(replace(context, network=begun), joined, None), training=(training,))


def _sparse(
    operation: Sparsify,
    context: Context,
    division: Division | None,
    evidence: Gathered,
    scoring: PieceScores,
    names: Sequence[str],
    reordered: Reordered | None,
) -> tuple[Network, tuple[str, ...], Sequence[Told]]:
    """The network in the pattern, the weights that took it: those that the criterion can score; and what an allocation
    says of how it divided them."""
    if reordered:
        evidence = replace(evidence, network=reordered.network)
    if isinstance(operation.criterion, Solver):
        return *solved(operation.criterion, evidence, operation.pattern, names), ()
    scores = reordered.scores if reordered else scoring.of(evidence)
    known = {name: scores[name].cpu() for name in names if name in scores}
    dividing, said = dividing_of(operation, context, division, known)
    if dividing is None:
        return masks.sparsify(evidence.network, operation.pattern, known), tuple(known), said
    patterns = {name: operation.pattern.at(dividing.shares[name]) for name in known}
    masked = {name: Mask(str(pattern), pattern.mask(known[name])) for name, pattern in patterns.items()}
    return restrict(evidence.network, masked), tuple(known), said


def _where(sparse: Network, taken: Sequence[str]) -> str:
    """Where the zeros went, where weights do not have the same share of them."""
    masked = sparse.masks
    if len({masked[name].pattern if name in masked else "" for name in taken}) < 2:
        return ""
    shares = {name: 1 - float(masked[name].keep.float().mean()) if name in masked else 0.0 for name in taken}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    return f"zeros: from {100 * shares[least]:.3g}% of `{least}` to {100 * shares[most]:.3g}% of `{most}`"


def _released(before: Network, sparse: Network) -> str:
    """Which masks are replaced by ones that let some of their zeros go; "" where every zero is held."""
    new = sparse.masks
    released = {
        name: mask.pattern
        for name, mask in before.masks.items()
        if name in new and bool((new[name].keep.cpu() & ~mask.keep.cpu()).any())
    }
    if not released:
        return ""
    first, pattern = next(iter(released.items()))
    more = f" and {len(released) - 1} more" if len(released) > 1 else ""
    return f"replaces the mask of `{first}`{more} (was {pattern}): training can make some of its zeros nonzero again"


def _left_dense(dense: Mapping[str, str]) -> str:
    """Which weights stay dense, and why, by reason: the first of each by name."""
    parts = []
    for why, count in Counter(dense.values()).most_common(MOST_REASONS):
        first = next(name for name, reason in dense.items() if reason == why)
        parts.append(f"`{first}`{f' and {count - 1} more' if count > 1 else ''} ({why})")
    return f"stays dense: {'; '.join(parts)}" if parts else ""
