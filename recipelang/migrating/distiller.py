"""Distiller: pruners, quantizers, regularizers and learning rates, and policies that say when each of them acts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from recipelang.errors import nearest
from recipelang.migrating.finding import Fields, Findings, call, shown
from recipelang.migrating.laying import written
from recipelang.migrating.pruners import NEAREST, Job, pruned
from recipelang.migrating.rates import steps_of
from recipelang.migrating.reading import Value, Wrong, number
from recipelang.migrating.selecting import module_of, selected
from recipelang.migrating.timeline import Event, Rate, Timeline

SECTIONS = ("pruners", "quantizers", "lr_schedulers", "regularizers", "extensions")
#: policy key → section
_POLICIES = {
    "pruner": "pruners", "quantizer": "quantizers", "lr_scheduler": "lr_schedulers",
    "regularizer": "regularizers", "extension": "extensions",
}  # fmt: skip
_QUANTIZERS: Mapping[str, str] = {
    "WRPNQuantizer": "wrpn",
    "DorefaQuantizer": "dorefa",
    "PACTQuantizer": "pact",
    "QuantAwareTrainRangeLinearQuantizer": "ioa",
    "PostTrainLinearQuantizer": "minmax",
}
#: fields that say where numbers are kept and what is always so here
_IDLE = (
    *("class", "bits_accum", "bits_bias", "quantize_bias", "model_activation_stats", "act_clip_init_val", "ema_decay"),
    *("quantize_inputs", "num_bits_inputs", "fp16", "scale_approx_mult_bits", "inputs_quant_auto_fallback"),
    *("save_fp_weights", "also_clip_weights"),
)
_CLIPPING = {"NONE": "minmax", "AVG": "percentile", "N_STD": "percentile", "GAUSS": "aciq", "LAPLACE": "aciq"}
#: what examples of Distiller write into a comment: the command line, with what the file itself does not say
_SAID = {
    "epochs": r"--epochs[= ]([0-9]+)",
    "lr": r"--(?:lr|learning-rate)[= ]([0-9.e-]+)",
    "arch": r"(?:-a|--arch)[= ](\w+)",
}
_COMMAND = re.compile(r"^\s*#.*compress_classifier\.py(?P<rest>.*)$", re.MULTILINE)


def looks_like(root: Value) -> bool:
    """Whether a file has sections with classes, or policies."""
    inside = [one for section in SECTIONS for one in (root.get(section) or root).mapping.values()]
    return root.get("policies") is not None or any(one.get("class") for one in inside)


def translate(root: Value, text: str, findings: Findings) -> None:
    """Write the statements of a file."""
    fields = Fields("schedule", root, findings)
    fields.drop("version")
    jobs = _jobs(fields, findings)
    said = _said(text)
    timeline = Timeline()
    for job in jobs["pruners"]:
        pruned(job, bool(jobs["extensions"]), timeline, findings)
    for job in jobs["quantizers"]:
        _quantizer(job, timeline, findings)
    for job in jobs["regularizers"]:
        near = NEAREST.get(job.kind, "`ssl` or `slimming` beside the optimizer")
        findings.missing(job.value, job.kind or job.name, "its strengths for single weights have no counterpart", near)
    for job in jobs["extensions"]:
        if job.kind not in ("FilterRemover", "ChannelRemover"):
            findings.missing(job.value, job.kind or job.name, "no such extension", "`prune 50% filters`")
        elif not timeline.prunings:
            findings.missing(job.value, job.kind, "no pruner of filters comes before it", "`prune 50% filters`")
    _length(timeline, said, findings)
    rate = number(said.get("lr"))
    for job in jobs["lr_schedulers"]:
        _rate(job, rate, timeline, findings)
    if timeline.total and not timeline.rates and rate is not None:
        timeline.rates.append(Rate(0, "constant", 0.0, math.inf, rate, rate))
    if said.get("arch"):
        findings.fill(0, "", f"the comment names the network `{said['arch']}`; write it after `model`")
    fields.rest("one of pruners, quantizers, lr_schedulers, regularizers, extensions, policies")
    written(timeline, findings)


def _said(text: str) -> dict[str, str]:
    """What the command line in a comment says: `epochs`, `lr`, `arch`."""
    found = _COMMAND.search(text)
    rest = found["rest"] if found else ""
    after = text[found.end() :].lstrip("\n").splitlines()[:1] if found else []
    rest += " ".join(line for line in after if line.lstrip().startswith("#") and "--" in line)
    return {name: match[1] for name, pattern in _SAID.items() if (match := re.search(pattern, rest))}


def _jobs(fields: Fields, findings: Findings) -> dict[str, list[Job]]:
    """section → its items, each with its epochs; one without a policy acts only where that is how it is used."""
    sections = {name: fields.take(name) for name in SECTIONS}
    jobs = {
        name: {key: Job(key, one) for key, one in (found.mapping if found else {}).items()}
        for name, found in sections.items()
    }
    policies = fields.take("policies")
    for policy in policies.items if policies else ():
        kind = next((name for name in _POLICIES if policy.get(name)), "")
        if not kind:
            names = ", ".join(
                name for name in policy.mapping if name not in ("starting_epoch", "ending_epoch", "frequency")
            )
            findings.missing(policy, names or "policy", "no such policy", NEAREST["KnowledgeDistillationPolicy"])
            continue
        _scheduled(policy, kind, jobs[_POLICIES[kind]], findings)
    for section, inside in jobs.items():
        for job in inside.values():
            if math.isinf(job.start) and section != "quantizers":
                findings.missing(job.value, job.name, "no policy says when it acts", "")
    return {
        name: [job for job in inside.values() if name == "quantizers" or math.isfinite(job.start)]
        for name, inside in jobs.items()
    }


def _scheduled(policy: Value, kind: str, jobs: dict[str, Job], findings: Findings) -> None:
    """Give a policy's epochs to what it names.

    Raises:
        Wrong: RCP1263: it names nothing that there is, or ends before it begins.
    """
    fields = Fields("policy", policy, findings)
    inner = fields.take(kind)
    named = inner.get("instance_name") if inner else None
    name = named.text if named else ""
    if name not in jobs:
        guess = nearest(name, jobs)
        help = f"did you mean `{guess}`?" if guess else f"names there: {', '.join(jobs) or 'none'}"
        raise Wrong(
            "RCP1263", f"a policy names the {kind} `{name}`, which the file does not define", named or policy, help
        )
    job = jobs[name]
    listed = fields.take("epochs")
    start, end = fields.number("starting_epoch", low=0), fields.number("ending_epoch", low=0)
    every = fields.number("frequency", low=0)
    if listed:
        marks = [mark for one in listed.items if (mark := number(one.data)) is not None]
        start, end = min(marks, default=0.0), max(marks, default=0.0)
    begin, stop = start or 0.0, end if end is not None else start or 0.0
    if stop < begin:
        message = f"the policy of `{name}` ends at epoch {shown(stop)} and begins at {shown(begin)}"
        raise Wrong("RCP1263", message, policy, "the end comes after the beginning")
    job.start, job.end = min(job.start, begin), max(job.end, stop)
    job.every = max(1.0, every or 1.0)
    args = inner.get("args") if inner else None
    if args:
        job.args.append(args)
    fields.rest()


def _quantizer(job: Job, timeline: Timeline, findings: Findings) -> None:
    fields = Fields(job.name, job.value, findings)
    if job.kind not in _QUANTIZERS:
        findings.missing(
            job.value, job.kind or job.name, "there is no such quantizer here", NEAREST.get(job.kind, "`minmax`, `lsq`")
        )
        return
    weights = fields.number("bits_weights", "bits_parameters", low=1, high=32)
    inputs = fields.number("bits_activations", low=1, high=32)
    fields.drop(*_IDLE)
    overrides = fields.take("overrides", "bits_overrides")
    clipping, mode = fields.take("clip_acts"), fields.take("mode")
    channels, decay = fields.flag("per_channel_wts"), fields.number("act_clip_decay", low=0)
    name, settings = _QUANTIZERS[job.kind], []
    if name == "minmax":
        name = _CLIPPING.get(clipping.text.upper() if clipping else "NONE", "minmax")
        settings = [
            "" if channels else "per=tensor",
            "form=symmetric" if mode and mode.text.upper() == "SYMMETRIC" else "",
        ]
        if clipping and clipping.text.upper() in ("AVG", "N_STD"):
            findings.differs(
                clipping.line, f"clip_acts: {clipping.text}", "a clipping by means is here one by `percentile`"
            )
    elif name == "pact" and decay:
        settings = [f"decay={shown(decay)}"]
    spared = [Value(key, "", one.span) for key, one in (overrides.mapping if overrides else {}).items() if _spares(one)]
    tail = selected("except", spared, findings, job.name)
    texts = [
        f"quantize {what} to {int(bits)} bits by {call(name, *settings)} {tail}".strip()
        for what, bits in _sizes(weights, inputs)
    ]
    for key, one in (overrides.mapping if overrides else {}).items():
        if not _spares(one):
            near = f'`quantize weights to 8 bits in "{module_of(key)}"`'
            findings.missing(one, f"{job.name}: overrides of {key}", "it is a statement of its own", near)
    start = 0.0 if math.isinf(job.start) else job.start
    if math.isfinite(job.start):
        timeline.total = max(timeline.total, job.end)
    timeline.events.append(Event(job.value.line, job.kind, start, tuple(texts)))
    fields.rest()


def _sizes(weights: float | None, inputs: float | None) -> list[tuple[str, float]]:
    """What is quantized to how many bits; 32 bits and nothing are left in floating point."""
    chosen = [(what, bits) for what, bits in (("weights", weights), ("activations", inputs)) if bits and bits < 32]
    if len(chosen) == 2 and weights == inputs and weights:
        return [("weights, activations", weights)]
    return chosen


def _spares(override: Value) -> bool:
    """Whether a layer is left in floating point."""
    names = {"wts", "acts", "bits_weights", "bits_activations", "bits_parameters"}
    parts = [value for name, value in override.mapping.items() if name in names]
    return bool(parts) and all(value.data is None for value in parts)


def _length(timeline: Timeline, said: Mapping[str, str], findings: Findings) -> None:
    """How many epochs there are: the command line in a comment says it, or the last pruner ends them."""
    last = max([timeline.total, *(one.end for one in timeline.prunings)], default=0.0)
    timeline.total = last
    if "epochs" in said:
        timeline.total = max(last, float(said["epochs"]))
        findings.fill(0, "", f"the training has {said['epochs']} epochs, as the command line in the comment says")
    elif last:
        findings.fill(0, "", f"the file does not say how long the training is: here it ends at epoch {shown(last)}")


def _rate(job: Job, rate: float | None, timeline: Timeline, findings: Findings) -> None:
    fields = Fields(job.name, job.value, findings)
    fields.drop("class", "last_epoch", "gamma", "gammas", "step_size", "milestones")
    gammas = [number(one.data) or 0.0 for one in (job.value.get("gammas") or job.value).items]
    settings = {**job.value.mapping}
    if "gammas" in settings and len(set(gammas)) == 1:
        settings["gamma"] = Value(gammas[0], "", job.value.span)
    kind = {"MultiStepMultiGammaLR": "MultiStepLR"}.get(job.kind, job.kind)
    stepped = steps_of(kind, Value(settings, "", job.value.span), 0.0, timeline.total)
    if stepped is None or len(set(gammas)) > 1:
        why = "each step has a factor of its own there" if len(set(gammas)) > 1 else "no ramp is like it"
        findings.missing(job.value, job.kind or job.name, why, NEAREST.get(job.kind, "`multistep` or `cosine`"))
        return
    if rate is None:
        why = "the learning rate is an argument of the command line there; write it in place of 0.1"
        findings.fill(job.value.line, job.kind, why)
    factor, marks = stepped
    begins = job.start + 1 if job.start else 0.0  # a policy steps at the end of its epochs
    early = [mark for mark in marks if mark <= begins]
    late = tuple(mark for mark in marks if begins < mark <= job.end)
    first = rate or 0.1
    if early:
        timeline.rates.append(Rate(job.value.line, "constant", 0.0, begins, first, first))
        first *= factor ** len(early)
    timeline.rates.append(
        Rate(job.value.line, "multistep", begins if early else 0.0, math.inf, first, 0.0, factor, late)
    )
    fields.rest()
