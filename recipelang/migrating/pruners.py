"""The pruners of Distiller."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from recipelang.migrating.finding import Fields, Findings, call, likely, percent
from recipelang.migrating.reading import Value, Wrong, number
from recipelang.migrating.selecting import module_of, selected
from recipelang.migrating.timeline import Pruning, Timeline


@dataclass
class Job:
    """An item of a section with the epochs in which policies let it act."""

    name: str
    value: Value
    start: float = math.inf
    end: float = 0.0
    every: float = 1.0
    args: list[Value] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Its class."""
        found = self.value.get("class")
        return found.text if found else ""


NEAREST: dict[str, str] = {
    "MagnitudeParameterPruner": "`sparsify weights to 80%`: a share of zeros in place of a threshold",
    "BaiduRNNPruner": "`over agp`; recurrent networks cannot be built here",
    "HybridPruner": "several statements of `sparsify`, each with a criterion of its own",
    "StructureParameterPruner": "`sparsify filters to 50%`: a share of zeros in place of a threshold",
    "GradientRankedFilterPruner": "`by taylor`, which is the weight times its gradient",
    "ActivationAPoZRankedFilterPruner": "`by features` or `by hrank`, which also look at feature maps",
    "ActivationMeanRankedFilterPruner": "`by features`, which weighs feature maps by their gradients",
    "ActivationAPoZRankedFilterPruner_AGP": "`by features` or `by hrank`, which also look at feature maps",
    "ActivationMeanRankedFilterPruner_AGP": "`by features`, which weighs feature maps by their gradients",
    "GradientRankedFilterPruner_AGP": "`by taylor`, which is the weight times its gradient",
    "FMReconstructionChannelPruner": "`by lasso` or `by thinet`, which also rebuild what the next layer reads",
    "BernoulliFilterPruner_AGP": "`by random`",
    "GroupLassoRegularizer": "`ssl(1e-3)` beside the optimizer: a group lasso with a proximal step",
    "L1Regularizer": "`slimming(1e-4)` beside the optimizer: an L1 penalty on the scales of BatchNorm",
    "L2Regularizer": "`weight_decay` of the optimizer",
    "NCFQuantAwareTrainQuantizer": "`quantize weights, activations to 8 bits by lsq`",
    "FP16Quantizer": "`quantize weights, activations to 8 bits`: there are no grids of floating-point numbers",
    "KnowledgeDistillationPolicy": "`distill from teacher for 10 epochs with kd(T=4)`",
    "ReduceLROnPlateau": "`cosine` or `multistep`: a ramp does not look at the loss",
    "CyclicLR": "`cosine`: a ramp has one course",
}


def pruned(job: Job, thinned: bool, timeline: Timeline, findings: Findings) -> None:
    fields = Fields(job.name, job.value, findings)
    fields.drop("class", "keep_mask", "mask_on_forward_only", "use_double_copies", "mini_batch_pruning_frequency",
                "minibatch_pruning_frequency", "param_name", "rounding_fn", "noise")  # fmt: skip
    make = PRUNERS.get(job.kind)
    if make is None:
        guess = likely(job.kind, [*PRUNERS, *NEAREST])
        why = (
            "there is no such method here"
            if job.kind in NEAREST
            else "unknown" + (f"; did you mean `{guess}`?" if guess else "")
        )
        findings.missing(job.value, job.kind or job.name, why, NEAREST.get(job.kind, ""))
        return
    make(job, fields, thinned, timeline, findings)
    fields.rest()


def _one(job: Job, fields: Fields, findings: Findings, pattern: str, by: str, verb: str = "sparsify") -> Pruning:
    """A pruning with the epochs of its policy."""
    initial = fields.share("initial_sparsity")
    final = fields.share("final_sparsity", "desired_sparsity", "sparsity_level")
    weights = fields.take("weights")
    where = selected("in", weights.items if weights else (), findings, job.name)
    if final is None:
        raise Wrong(
            "RCP1263", f"the pruner `{job.name}` says no final sparsity", job.value, "write `final_sparsity: 0.8`"
        )
    gradual = job.kind.endswith("_AGP") or job.kind == "AutomatedGradualPruner"
    end = job.end if gradual else job.start
    return Pruning(
        job.value.line, job.kind, verb, pattern, job.start, end, initial or 0.0, final, job.every, by=by, where=where
    )


def _agp(job: Job, fields: Fields, thinned: bool, timeline: Timeline, findings: Findings) -> None:
    timeline.prunings.append(_one(job, fields, findings, "weights", "magnitude"))


def _level(job: Job, fields: Fields, thinned: bool, timeline: Timeline, findings: Findings) -> None:
    """`SparsityLevelParameterPruner`: a level for each parameter."""
    levels = fields.take("levels")
    for name, one in (levels.mapping if levels else {}).items():
        share = number(one.data)
        if share is not None and 0 < share < 1:
            where = f'in "{module_of(name)}"' if name != "*" else ""
            timeline.prunings.append(
                Pruning(one.line, job.kind, "sparsify", "weights", job.start, job.start, 0, share, 0, where=where)
            )


def _ranked(job: Job, fields: Fields, thinned: bool, timeline: Timeline, findings: Findings) -> None:
    """Filters, channels, rows or blocks by their norms."""
    group = fields.take("group_type")
    kind = (group.text if group else "Filters").lower()
    shape = fields.take("kwargs", "block_shape")
    fields.drop("group_dependency")
    by = (
        "magnitude(p=2)"
        if job.kind.startswith("L2")
        else "random"
        if job.kind.startswith(("Random", "Bern"))
        else "magnitude(p=1)"
    )
    sides = [number(one.data) for one in (shape.get("block_shape") or shape).items] if shape else []
    if kind in ("filters", "3d"):
        one = _one(job, fields, findings, "filters", by, "prune" if thinned else "sparsify")
        if thinned and one.end > one.start:
            why = "filters are removed at each update here; there, masks grow and one step at the end removes them"
            findings.differs(job.value.line, job.kind, why)
    elif kind == "rows" and by != "random":
        one = _one(job, fields, findings, "neurons", by, "prune")
        findings.differs(job.value.line, job.kind, "rows of a linear weight are removed, as neurons, and not masked")
    elif kind == "blocks" and len(sides) >= 2 and all(sides):
        first, second = int(sides[1] or 1), int(sides[0] or 1)
        one = replace(_one(job, fields, findings, f"blocks {second}x{first}", ""), by="")
        findings.differs(job.value.line, job.kind, "blocks are of outputs by input channels, at each place of a kernel")
    else:
        why = f"no pattern of {kind} is here" if kind != "channels" else "input channels are not ranked"
        near = (
            "`prune 50% filters` of the layers that give these channels"
            if kind == "channels"
            else "`sparsify kernels to 50%`"
        )
        findings.missing(job.value, job.kind, why, near)
        fields.drop(*fields.value.mapping)
        return
    timeline.prunings.append(one)


def _sensitivity(job: Job, fields: Fields, thinned: bool, timeline: Timeline, findings: Findings) -> None:
    """Weights below s·σ: for weights of a normal distribution a share of erf(s/√2)."""
    splicing = job.kind == "SplicingPruner"
    low, high = fields.number("low_thresh_mult", low=0), fields.number("hi_thresh_mult", low=0)
    fields.drop("sensitivity_multiplier")
    levels = fields.take("sensitivities")
    for name, one in (levels.mapping if levels else {}).items():
        factor = number(one.data)
        if factor is None or factor <= 0:
            raise Wrong("RCP1263", f"the sensitivity of `{name}` is `{one.text[:40]}`", one, "it is a number above 0")
        share = round(math.erf(factor / math.sqrt(2)), 3)
        where = f'in "{module_of(name)}"' if "*" not in name else ""
        margin = (high - low) / (high + low) if low and high and high > low else 0.1
        over = call("surgery", f"margin={percent(round(margin, 3))}") if splicing else "uniform_steps"
        timeline.prunings.append(
            Pruning(
                one.line,
                job.kind,
                "sparsify",
                "weights",
                job.start,
                job.end,
                0,
                share,
                job.every,
                over=over,
                where=where,
            )
        )
    why = (
        "its thresholds are multiples of the weights' deviation; here they are the shares of zeros that these have "
        "among weights of a normal distribution"
    )
    findings.differs(job.value.line, job.kind, why)


Make = Callable[[Job, Fields, bool, Timeline, Findings], None]


PRUNERS: Mapping[str, Make] = {
    "AutomatedGradualPruner": _agp,
    "SparsityLevelParameterPruner": _level,
    "SensitivityPruner": _sensitivity,
    "SplicingPruner": _sensitivity,
    **{
        f"{norm}RankedStructureParameterPruner{end}": _ranked for norm in ("L1", "L2", "Random") for end in ("", "_AGP")
    },
    "RandomRankedFilterPruner": _ranked,
    "RandomRankedFilterPruner_AGP": _ranked,
    "L1RankedStructureParameterPruner_Baidu": _ranked,
}
