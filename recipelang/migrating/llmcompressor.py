"""LLM Compressor: modifiers that act at once, on calibration samples, in stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recipelang.migrating import sparseml
from recipelang.migrating.finding import Fields, Findings, call, joined, percent, shown
from recipelang.migrating.rates import epochs_of
from recipelang.migrating.reading import Value, number
from recipelang.migrating.selecting import selected
from recipelang.migrating.sparseml import Translate
from recipelang.migrating.timeline import Event, Pruning, Timeline

NEAREST: dict[str, str] = {
    "SmoothQuantModifier": "`equalize`, which evens out the ranges of weights between two layers; SmoothQuant moves "
    "those of activations into weights",
    "AWQModifier": "`with gptq`, which also looks at the inputs of a layer, or `equalize`, which also scales channels",
    "AutoRoundModifier": "`with adaround`, which also learns whether a weight is rounded up or down",
    "SpinQuantModifier": "`equalize`: channels are scaled, not rotated",
    "QuIPModifier": "`equalize`: channels are scaled, not rotated",
    "IMatrixGatherer": "`with gptq`, which weighs columns by their inputs",
}
_FLOATS = "`quantize weights, activations to 8 bits by minmax`: grids here are of integers"
#: fields that say how the work is done and not what comes out
_IDLE = (
    *("sequential_update", "sequential_targets", "offload_hessians", "kv_cache_scheme_idle", "preserve_sparsity_mask"),
    *(
        "disable_quantization_observer_epoch",
        "num_calibration_steps",
        "fallback_to_channel",
        "bypass_divisibility_checks",
    ),
)


@dataclass(frozen=True)
class Grid:
    """What is said of weights or of activations: bits, range, sign."""

    bits: int
    per: str = "channel"
    group: int = 0
    symmetric: bool = True
    dynamic: bool = False
    floating: bool = False
    observer: str = "minmax"


def _weights(bits: int, group: int = 0, symmetric: bool = True) -> Grid:
    return Grid(bits, "group" if group else "channel", group, symmetric)


_TOKENS = Grid(8, "token", dynamic=True)
_FLOATING = Grid(8, floating=True)
#: presets of compressed-tensors: weights and activations
PRESETS: Mapping[str, tuple[Grid, Grid | None]] = {
    "W8A16": (_weights(8), None),
    "W4A16": (_weights(4, 128), None),
    "W4A16_ASYM": (_weights(4, 128, symmetric=False), None),
    "W8A8": (_weights(8), _TOKENS),
    "INT8": (_weights(8), _TOKENS),
    "W4A8": (_weights(4, 128), _TOKENS),
    **dict.fromkeys(
        ("FP8", "FP8_DYNAMIC", "FP8_BLOCK", "NVFP4", "NVFP4A16", "MXFP4", "MXFP4A16", "MXFP8", "MXFP8A16", "W4AFP8"),
        (_FLOATING, _FLOATING),
    ),
}


def grid_of(value: Value | None, default: str) -> Grid | None:
    """A part of a scheme; None where it is left in floating point."""
    if value is None or not value.mapping:
        return None
    bits, size = number(_data(value, "num_bits", 8)), number(_data(value, "group_size", 0))
    strategy = str(_data(value, "strategy", "group" if size and size > 0 else default)).lower()
    observer = str(_data(value, "observer", "minmax")).lower()
    return Grid(
        int(bits or 8),
        strategy,
        int(size) if size and size > 0 else 0,
        bool(_data(value, "symmetric", True)),
        _data(value, "dynamic", False) not in (False, None),
        str(_data(value, "type", "int")).lower() == "float",
        "mse" if "mse" in observer else "minmax",
    )


def _data(value: Value, name: str, default: object) -> object:
    found = value.get(name)
    return default if found is None else found.data


def groups(fields: Fields, findings: Findings) -> list[tuple[Value, Grid | None, Grid | None, tuple[Value, ...]]]:
    """(its place, weights, activations, targets) of each group of a quantization modifier."""
    targets = fields.take("targets")
    usual = targets.items if targets else ()
    found: list[tuple[Value, Grid | None, Grid | None, tuple[Value, ...]]] = []
    scheme, config = fields.take("scheme"), fields.take("config_groups")
    if scheme and scheme.mapping and not scheme.get("weights") and not scheme.get("input_activations"):
        for name, where in scheme.mapping.items():  # {W8A8: [targets]}
            found += _preset(name, scheme, where.items, findings, fields.name)
    elif scheme and scheme.mapping:
        found.append((scheme, *_pair(scheme), usual))
    elif scheme:
        found += _preset(scheme.text, scheme, usual, findings, fields.name)
    for group in config.mapping.values() if config else ():
        own, named = group.get("targets"), group.get("scheme")
        inside = own.items if own else usual
        if named:
            found += _preset(named.text, named, inside, findings, fields.name)
        else:
            found.append((group, *_pair(group), inside))
        if group.get("output_activations"):
            findings.missing(group, f"{fields.name}: output_activations", "grids are at what products and sums read",
                             "`quantize activations`")  # fmt: skip
    if not scheme and not config:
        findings.fill(fields.value.line, fields.name, "it names no scheme; here it is W8A8")
        found += _preset("W8A8", fields.value, usual, findings, fields.name)
    return found


def _preset(
    name: str, at: Value, targets: tuple[Value, ...], findings: Findings, item: str
) -> list[tuple[Value, Grid | None, Grid | None, tuple[Value, ...]]]:
    if name.upper() not in PRESETS:
        findings.missing(at, f"{item}: scheme {name[:40]}", "no such scheme is known", f"one of {', '.join(PRESETS)}")
        return []
    return [(at, *PRESETS[name.upper()], targets)]


def _pair(scheme: Value) -> tuple[Grid | None, Grid | None]:
    return grid_of(scheme.get("weights"), "channel"), grid_of(scheme.get("input_activations"), "tensor")


def _quantized(fields: Fields, timeline: Timeline, findings: Findings, rounder: str = "", by: str = "") -> None:
    start, _ = epochs_of(fields, timeline)
    fields.drop(*_IDLE)
    cache = fields.take("kv_cache_scheme")
    if cache:
        findings.missing(cache, "kv_cache_scheme", "there is no cache of keys and values here", "")
    spared = fields.take("ignore")
    texts: list[str] = []
    for at, weights, inputs, targets in groups(fields, findings):
        where = selected(
            "in", [value for value in targets if value.text != "Linear" or len(targets) > 1], findings, fields.name
        )
        if not where and any(value.text == "Linear" for value in targets):
            where = "in type(Linear)"
        left = selected("except", spared.items if spared else (), findings, fields.name)
        texts += written(at, fields.name, weights, inputs, rounder, by, f"{where} {left}".strip(), findings)
    if texts:
        timeline.events.append(Event(fields.value.line, fields.name, start, tuple(texts)))
        if rounder or any("activations" in text and "dynamic" not in text for text in texts):
            findings.fill(0, "", "calibration samples are not in the file: here they are 512 of the training split")


def written(
    at: Value,
    name: str,
    weights: Grid | None,
    inputs: Grid | None,
    rounder: str,
    by: str,
    tail: str,
    findings: Findings,
) -> list[str]:
    """The statements of a pair of grids."""
    for grid in (weights, inputs):
        if grid and grid.floating:
            findings.missing(at, name, "it has floating-point numbers of few bits", _FLOATS)
            return []
        if grid and not 2 <= grid.bits <= 16:
            findings.missing(at, name, f"no grid of {grid.bits} bits", "`to 8 bits`")
            return []
    if weights and weights.per not in ("channel", "tensor", "group"):
        findings.missing(
            at, name, f"no range for each {weights.per} of a weight", "`per=group`, groups of inputs of a row"
        )
        return []
    if inputs and inputs.dynamic:
        return _dynamic(at, name, weights, inputs, rounder, by, tail, findings)
    if inputs and inputs.per not in ("tensor", "channel"):
        findings.differs(at.line, name, f"a range for each {inputs.per} of an activation is one range here")
    found = []
    alike = weights and inputs and (weights.bits, weights.symmetric) == (inputs.bits, inputs.symmetric)
    if weights:
        what = "weights, activations" if alike else "weights"
        form = "form=symmetric" if alike and weights.symmetric else "" if weights.symmetric else "form=affine"
        found.append(_statement(what, weights, form, rounder, by, tail))
    if inputs and not alike:
        form = "form=symmetric" if inputs.symmetric else ""
        found.append(_statement("activations", inputs, form, "", "", tail))
    return found


def _dynamic(
    at: Value, name: str, weights: Grid | None, inputs: Grid, rounder: str, by: str, tail: str, findings: Findings
) -> list[str]:
    """Ranges of activations that are computed in use: whole statements of 8 bits, or weights alone."""
    if weights and weights.bits == 8 and inputs.bits == 8 and weights.per == "channel":
        why = "each token has a range of its own there; here it is one for the batch"
        findings.differs(at.line, name, f"{why}, and weights become the nearest numbers" if rounder else why)
        return [joined(["quantize weights, activations to 8 bits by dynamic", tail])]
    why = f"ranges of activations that are computed in use ({inputs.bits} bits) come with weights of 8 bits per channel"
    findings.missing(at, f"{name}: input_activations", why, "`quantize weights, activations to 8 bits by dynamic`")
    return (
        [_statement("weights", weights, "" if weights.symmetric else "form=affine", rounder, by, tail)]
        if weights
        else []
    )


def _statement(what: str, grid: Grid, form: str, rounder: str, by: str, tail: str) -> str:
    per = {"tensor": "per=tensor", "group": "per=group"}.get(grid.per, "") if what != "activations" else ""
    group = f"group={grid.group or 128}" if per == "per=group" else ""
    rounded = f"with {rounder}" if rounder else ""
    return joined(
        [f"quantize {what} to {grid.bits} bits by", call(by or grid.observer, per, group, form), rounded, tail]
    )


def _quantization(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    _quantized(fields, timeline, findings)


def _gptq(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    damp = fields.number("dampening_frac", "percdamp", low=0, high=1)
    block, order = fields.number("block_size", low=1), fields.take("actorder")
    settings = (
        f"damp={shown(damp)}" if damp and damp != 0.01 else "",
        "order=energy" if order and order.text.lower() not in ("false", "none", "null") else "",
        f"block={int(block)}" if block and block != 128 else "",
    )
    _quantized(fields, timeline, findings, rounder=call("gptq", *settings))


def _awq(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    fields.drop("mappings", "duo_scaling", "n_grid", "offload_device", "bits", "max_chunk_memory")
    has_scheme = fields.value.get("scheme") or fields.value.get("config_groups")
    findings.missing(fields.value, fields.name, "scales of channels are not searched for here", NEAREST["AWQModifier"])
    if has_scheme:
        _quantized(fields, timeline, findings, by="mse")
    else:
        fields.drop(*fields.value.mapping)


def _sparse(fields: Fields, timeline: Timeline, findings: Findings, criterion: str) -> None:
    fields.drop(*_IDLE)
    start, _ = epochs_of(fields, timeline)
    sparsity = fields.take("sparsity")
    if sparsity and isinstance(sparsity.data, tuple):
        near = 'a statement for each: `sparsify weights to 50% by sparsegpt in "layers.0.*"`'
        findings.missing(sparsity, f"{fields.name}: sparsity", "a share for each layer is not one statement", near)
        fields.drop(*fields.value.mapping)
        return
    share = fields.share("sparsity")
    mask = fields.take("mask_structure", "prunen_prunem")
    damp, block = fields.number("dampening_frac", "percdamp", low=0, high=1), fields.number("block_size", low=1)
    profile = fields.take("sparsity_profile", "owl_m", "owl_lmbda")
    if profile:
        findings.missing(profile, f"{fields.name}: sparsity_profile", "shares by outliers are not here",
                         "`with sensitivity`, which finds a share for each weight by trying")  # fmt: skip
        fields.drop("sparsity_profile", "owl_m", "owl_lmbda")
    pattern = sparseml.pattern_of(mask.text if mask else "")
    if not pattern or (share is None and pattern == "weights"):
        findings.missing(mask or fields.value, fields.name, "it has no pattern that is known", "`sparsify nm 2:4`")
        return
    if criterion == "sparsegpt" and not pattern.startswith("nm"):
        near = f"`sparsify {pattern} to {percent(share or 0)} by wanda`, which also weighs weights by their inputs"
        findings.missing(fields.value, fields.name, "`by sparsegpt` corrects groups of weights: `nm 2:4`", near)
        fields.drop("targets", "ignore")
        return
    settings: tuple[str, ...] = ()
    if criterion == "sparsegpt":
        settings = (
            f"damp={shown(damp)}" if damp and damp != 0.01 else "",
            f"block={int(block)}" if block and block != 128 else "",
        )
    where, left = fields.take("targets"), fields.take("ignore")
    tail = joined([selected("in", where.items if where else (), findings, fields.name),
                   selected("except", left.items if left else (), findings, fields.name)])  # fmt: skip
    final = None if pattern.startswith("nm") else share
    by, line = call(criterion, *settings), fields.value.line
    one = Pruning(line, fields.name, "sparsify", pattern, start, start, 0, final, 0, by=by, where=tail)
    sparseml.add(timeline, findings, one)


def _sparsegpt(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    _sparse(fields, timeline, findings, "sparsegpt")


def _wanda(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    _sparse(fields, timeline, findings, "wanda")


TABLE: Mapping[str, Translate] = {
    **sparseml.TABLE,
    "QuantizationModifier": _quantization,
    "vLLMQuantizationModifier": _quantization,
    "GPTQModifier": _gptq,
    "AWQModifier": _awq,
    "SparseGPTModifier": _sparsegpt,
    "WandaPruningModifier": _wanda,
}
