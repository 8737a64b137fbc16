"""SparseML: modifiers that act between two epochs of one training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from recipelang.migrating.finding import Fields, Findings, call, shown, unknown
from recipelang.migrating.modifiers import Modifier
from recipelang.migrating.rates import decay, epochs_of, rate_class, rate_function, set_rate
from recipelang.migrating.reading import Value, number
from recipelang.migrating.selecting import selected
from recipelang.migrating.timeline import Event, Pruning, Teaching, Timeline

#: fields that change nothing of the network: logs, devices, and what is always so here
_IDLE = (
    "log_types",
    "log_frequency",
    "leave_enabled",
    "global_sparsity",
    "score_type",
    "constant_logging",
    "num_grads",
)
_PER_UPDATE = ("update_frequency",)
#: what comes nearest to a modifier that is not translated, and why
NEAREST: dict[str, str] = {
    "MFACPruningModifier": "`by obd`, second-order as well, from squared gradients of single weights",
    "OBSPruningModifier": "`by obd`, or `by sparsegpt`, which also lets the weights that stay make up for the others",
    "MovementPruningModifier": "`by taylor`, which is first-order as well, for one moment and not for a whole training",
    "ACDCPruningModifier": "`over surgery` or `over rigl`: weights that were removed may return",
    "RigLPruningModifier": "`sparsify weights to 90% over rigl for 30 epochs`, with settings of its own",
    "TopKASTPruningModifier": "`over rigl`, which also trains a network that is sparse all the time",
    "STRPruningModifier": "`over agp`: thresholds are set by a schedule, and not learned",
    "FeatureImitationModifier": "`fitnet`, which also regresses activations of the teacher",
    "PerLayerDistillationModifier": "`fitnet`, whose settings name its positions",
    "OutputDistillationModifier": "`fitnet`, whose settings name its positions",
    "CyclicLRModifier": "`linear` or `cosine`: a ramp has one course and no cycles",
    "TrainableParamsModifier": '`finetune … except "head"`, which trains the other modules',
    "SetParamModifier": "set the value in the function that `model python(…)` names",
    "GradualParamModifier": "a ramp of a setting, as in `0.5 * kd(T=4)`; parameters have none",
    "RegularizerModifier": "`weight_decay` of the optimizer",
    "LogarithmicEqualizationModifier": "`equalize`, which evens out the ranges between two layers exactly",
    "LayerThinningModifier": "`prune 50% filters`, which removes what a mask would make zero",
    "PowerpropagationModifier": "`slimming`, which also prepares a training for fewer parts",
}


def _range(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    epochs_of(fields, timeline)


def _pruning(fields: Fields, timeline: Timeline, findings: Findings, scope: str = "") -> None:
    start, end = epochs_of(fields, timeline)
    initial, final = fields.share("init_sparsity"), fields.share("final_sparsity")
    every = fields.number("update_frequency", low=-1)
    function, mask = fields.take("inter_func"), fields.take("mask_type", "mask_structure")
    fields.drop(*_IDLE)
    where = selected("in", _layers(fields), findings, fields.name)
    pattern = pattern_of(mask.text if mask else "unstructured")
    if not pattern:
        findings.missing(mask or fields.value, fields.name, f"no pattern `{mask.text if mask else ''}`", "`blocks 1x4`")
        return
    if final is None and not pattern.startswith("nm"):
        findings.fill(fields.value.line, fields.name, "it says no final sparsity; write the share of zeros")
        return
    law = function.text.lower() if function else "cubic"
    if law not in ("cubic", "linear"):
        findings.differs(fields.value.line, fields.name, f"`{law}` is here the cubic curve of `agp`")
    if pattern.startswith(("nm", "filters")) and scope == "global":
        scope = ""
    one = Pruning(fields.value.line, fields.name, "sparsify", pattern, start, end, 0.05 if initial is None else initial,
                  None if pattern.startswith("nm") else final, 1.0 if every is None else max(0.0, every),
                  over="uniform_steps" if law == "linear" else "agp", scope=scope, where=where)  # fmt: skip
    add(timeline, findings, one)


def add(timeline: Timeline, findings: Findings, one: Pruning) -> None:
    """A pruning; one that the file has after quantization comes before it here."""
    before = [event for event in timeline.events if event.name.startswith(("Quant", "GPTQ")) and event.at <= one.start]
    if before:
        why = f"the file quantizes first, in line {before[0].line}; ranges are chosen for zeros that are there already"
        findings.differs(one.line, one.name, why)
    timeline.prunings.append(one)


def _layers(fields: Fields) -> tuple[Value, ...]:
    found = fields.take("params", "targets", "layers")
    return found.items if found else ()


def pattern_of(mask: str) -> str:
    """The pattern of a mask; "" where there is none like it."""
    plain = mask.strip("[] ").replace(" ", "")
    if plain in ("unstructured", "0:0", ""):
        return "weights"
    if plain in ("filter", "filters"):
        return "filters"
    if plain in ("block4", "block", "1,4"):
        return "blocks 1x4"
    n, colon, m = plain.partition(":")
    return f"nm {n}:{m}" if colon and n.isdigit() and m.isdigit() and 0 < int(n) < int(m) else ""


def _global(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    _pruning(fields, timeline, findings, "global")


def _structured(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    mask = fields.value.get("mask_type")
    if mask is None or mask.text not in ("filter", "filters"):
        why = "it makes input channels zero, which no pattern here does"
        findings.missing(
            fields.value, fields.name, why, "`sparsify filters to 50%`, of the layers that give these channels"
        )
        fields.drop(*fields.value.mapping)
        return
    _pruning(fields, timeline, findings)


def _constant(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    epochs_of(fields, timeline)
    _layers(fields)
    fields.drop("update_frequency", *_IDLE)
    if timeline.prunings or any(statement.text.startswith("sparsify") for statement in findings.statements):
        return  # masks stay through all later training
    why = "masks of a network that comes with zeros are not taken over; those that a recipe makes stay by themselves"
    near = "`sparsify weights to 80%` with the share of zeros that it has, which keeps exactly these"
    findings.missing(fields.value, fields.name, why, near)


def _distillation(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, end = epochs_of(fields, timeline)
    hardness, temperature = fields.share("hardness"), fields.number("temperature", low=0)
    fields.drop("distill_output_keys", "teacher_input_keys", *_IDLE, *_PER_UPDATE)
    loss = call("kd", f"T={shown(temperature or 2.0)}", f"alpha={shown(0.5 if hardness is None else hardness)}")
    timeline.teachings.append(Teaching(fields.value.line, start, end, loss))
    why = (
        "the teacher is not in the file: here the network distills from itself before surgery, `healthy`; another one "
        "is `model … as teacher`, and `distill from teacher`"
    )
    findings.fill(fields.value.line, fields.name, why)


def _quantization(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, _ = epochs_of(fields, timeline)
    scheme = fields.take("scheme")
    if scheme and not scheme.mapping and scheme.text not in ("default", "tensorrt", "deepsparse"):
        findings.missing(scheme, fields.name, f"no scheme `{scheme.text[:40]}` is known", "`quantize … with tensorrt`")
    inside = scheme or fields.value
    weights, inputs = (_bits(inside.get(name)) for name in ("weights", "input_activations"))
    weights = fields.number("weight_bits", low=2, high=16) or weights
    inputs = fields.number("activation_bits", low=2, high=16) or inputs
    for name in ("freeze_bn_stats_epoch", "disable_quantization_observer_epoch"):
        if fields.take(name):
            why = "ranges are observed once, before training, and BatchNorm is not frozen; `lsq` learns ranges"
            findings.differs(fields.value.line, name, why)
    fields.drop("num_calibration_steps", "quantize_linear_activations", "quantize_conv_activations", "reduce_range",
                "model_fuse_fn_name", "model_fuse_fn_kwargs", "quantize_embeddings", "tensorrt", *_IDLE)  # fmt: skip
    where = selected("in", _submodules(fields), findings, fields.name)
    ignored = [value for value in _ignored(fields) if value.text not in ("ReLU", "BatchNorm2d", "QuantWrapper")]
    spared = selected("except", ignored, findings, fields.name)
    sizes = (int(weights or 8), int(inputs or 8))
    hardware = " with tensorrt" if scheme and scheme.text == "tensorrt" else ""
    tail = f"by minmax{hardware} {where} {spared}"
    texts: tuple[str, ...] = (f"quantize weights, activations to {sizes[0]} bits {tail}",)
    if sizes[0] != sizes[1]:
        parts = zip(("weights", "activations"), sizes, strict=True)
        texts = tuple(f"quantize {what} to {bits} bits {tail}" for what, bits in parts)
    timeline.events.append(Event(fields.value.line, fields.name, start, texts))


def _submodules(fields: Fields) -> tuple[Value, ...]:
    found = fields.take("submodules")
    return found.items if found else ()


def _ignored(fields: Fields) -> tuple[Value, ...]:
    found = (fields.take("ignore"), fields.take("exclude_module_types"), fields.take("exclude_batchnorm"))
    return tuple(value for one in found[:2] if one for value in one.items)


def _bits(part: Value | None) -> float | None:
    found = part.get("num_bits") if part else None
    return number(found.data) if found else None


def _layer_pruning(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, _ = epochs_of(fields, timeline)
    layers = _layers(fields)
    fields.drop("update_frequency", *_IDLE)
    where = selected("in", layers, findings, fields.name)
    if not where:
        findings.missing(fields.value, fields.name, "it names no layers", "`prune 2 layers by imprint`")
        return
    count = where.count(",") + 1
    findings.differs(
        fields.value.line, fields.name, "layers beside a skip connection, or that keep their shape, can go"
    )
    text = f"{count} layer{'s' if count != 1 else ''}"
    one = Pruning(fields.value.line, fields.name, "prune", text, start, start, 0, None, 0, where=where)
    timeline.prunings.append(one)


Translate = Callable[[Fields, Timeline, Findings], None]
TABLE: Mapping[str, Translate] = {
    "EpochRangeModifier": _range,
    "SetLearningRateModifier": set_rate,
    "LearningRateFunctionModifier": rate_function,
    "LearningRateModifier": rate_class,
    "GMPruningModifier": _pruning,
    "MagnitudePruningModifier": _pruning,
    "GlobalMagnitudePruningModifier": _global,
    "StructuredPruningModifier": _structured,
    "ConstantPruningModifier": _constant,
    "DistillationModifier": _distillation,
    "QuantizationModifier": _quantization,
    "LayerPruningModifier": _layer_pruning,
    "SetWeightDecayModifier": decay,
}


def one(
    modifier: Modifier, timeline: Timeline, findings: Findings, table: Mapping[str, Translate], near: Mapping[str, str]
) -> None:
    """Translate one modifier by a table; `near` has what comes nearest to those that are not in it."""
    name = modifier.name.removeprefix("pytorch.")
    translate = table.get(name)
    if translate is None:
        unknown(findings, name, modifier.value, near, table)
        return
    fields = Fields(name, modifier.value, findings)
    translate(fields, timeline, findings)
    fields.rest()


def finished(timeline: Timeline, findings: Findings, trains: bool) -> None:
    """Say what is missing of a training, and end what goes on to the end where it ends."""
    timed: list[Pruning | Teaching] = [*timeline.prunings, *timeline.teachings]
    endless = [one.line for one in timed if math.isinf(one.end)]
    if not timeline.total and trains:
        findings.fill(0, "", "the file does not say how long the training is; write `finetune for 10 epochs`")
    elif endless and not timeline.total:
        findings.fill(endless[0], "", "the file does not say when this ends; write the epochs of the training")
    timeline.prunings[:] = [
        replace(one, end=max(one.start, timeline.total)) if math.isinf(one.end) else one for one in timeline.prunings
    ]
    timeline.teachings[:] = [
        replace(one, end=max(one.start, timeline.total)) if math.isinf(one.end) else one for one in timeline.teachings
    ]
    if timeline.total and not timeline.rates:
        findings.fill(0, "", "the file names no learning rate; write one, as in `with sgd(lr=cosine(0.01, to=0))`")
    elif timeline.total and timeline.optimizer == "sgd":
        findings.fill(0, "", "the file names no optimizer; here it is `sgd`, and `adamw` is usual for transformers")
