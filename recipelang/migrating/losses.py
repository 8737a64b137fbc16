"""The criteria of torchdistill: terms with weights, each of them a loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from recipelang.migrating.finding import Findings, call, shown
from recipelang.migrating.reading import Value, number

NEAREST: dict[str, str] = {
    "PKTLoss": "`sp` or `relational`, which also compare how images relate to each other",
    "CCKDLoss": "`sp` or `relational`, which also compare how images relate to each other",
    "PADL2Loss": "`fitnet`, which also adapts activations of the network to the teacher's",
    "HierarchicalContextLoss": "`fitnet` at several positions",
    "SSKDLoss": "`kd`; there is no self-supervision",
    "DISTLoss": "`kd`, which also compares probabilities",
    "SRDLoss": "`fitnet`, which also regresses features",
    "KTALoss": "`fitnet`, which also regresses features",
    "AffinityLoss": "`sp`, which also compares affinities",
    "ChSimLoss": "`sp`, of images in place of channels",
    "SelfDistillationLoss": "`distill from healthy` with `kd`",
    "DICELoss": "`task`",
    "CSEL2Loss": "`task`",
    "KLDivLoss": "`kd(T=1, alpha=1)`",
}


def key_of(value: Value | None) -> str:
    """The name of what is built: `key`, `name` or `type` by version, without the package of torch."""
    found = next((one for name in ("key", "type", "name") if value and (one := value.get(name))), None)
    return found.text.rpartition(".")[2] if found else ""


def arguments_of(value: Value | None) -> Value | None:
    """What it is built with: `kwargs` or `params`."""
    if value is None:
        return None
    return value.get("kwargs") or value.get("params") or value.get("init", "kwargs")


_SIDES = re.compile(r"[A-Za-z0-9_.]+")


def terms_of(criterion: Value) -> list[tuple[Value, float]]:
    """(term, weight) of a sum, or the criterion itself."""
    given = arguments_of(criterion)
    found: list[tuple[Value, float]] = []
    original = criterion.get("org_term") or (given.get("org_term") if given else None)
    parts = criterion.get("sub_terms") or (given.get("sub_terms") if given else None)
    for one in ([original] if original else []) + list(parts.mapping.values() if parts else ()):
        weight = one.get("weight") or one.get("factor")
        found.append((one, 1.0 if weight is None else number(weight.data) or 0.0))
    return found if original or parts else [(criterion, 1.0)]


def _kd(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
    """α of torchdistill weighs the labels, and ours the teacher."""
    temperature, alpha, beta = (
        number(one.data) if given and (one := given.get(name)) else None for name in ("temperature", "alpha", "beta")
    )
    if beta is not None and alpha is not None and abs(alpha + beta - 1) > 1e-9:
        findings.differs(inner.line, "KDLoss", "its two weights do not add up to 1; here the one of the labels decides")
    ours = 1.0 if not alpha else 1 - alpha
    if not alpha and temperature and temperature != 1:
        findings.differs(inner.line, "KDLoss", "without labels its divergence is not multiplied by T²; here it is")
    return call("kd", f"T={shown(temperature or 1.0)}", f"alpha={shown(ours)}")


def _pairs(given: Value | None, key: str) -> tuple[str, str]:
    """The modules of student and teacher of a loss with pairs, as two settings."""
    pairs = given.get(key) if given else None
    found: dict[str, list[str]] = {"student": [], "teacher": []}
    for pair in pairs.mapping.values() if pairs else ():
        for side, listed in found.items():
            one = pair.get(side)
            path = one.get("path") if one else None
            listed.append(path.text if path else "")
    if not all(_SIDES.fullmatch(path) for listed in found.values() for path in listed) or not found["student"]:
        return "", ""
    return f'student="{", ".join(found["student"])}"', f'teacher="{", ".join(found["teacher"])}"'


def _paired(ours: str, key: str, neutral: str = "") -> Callable[[Value, Value | None, Value, Findings], str]:
    """A loss of features with pairs; `neutral` sets a weight of ours to 1, since theirs stands before the term."""

    def make(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
        student, teacher = _pairs(given, key)
        if not student:
            _positions(inner, ours, findings)
        return call(ours, neutral, student, teacher)

    return make


def _hint(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
    """`MSELoss` between a module of the student and one of the teacher."""
    wrapper = arguments_of(term.get("criterion_wrapper")) or inner.get("params") or inner
    sides: dict[bool, str] = {}
    for name in ("input", "target"):
        one = wrapper.get(name)
        path = one.get("module_path") if one else None
        source = one.get("is_from_teacher") if one else None
        if path:
            sides[bool(source and source.data)] = path.text
    findings.differs(
        inner.line, "MSELoss", "`fitnet` is half the mean of the squares, and brings an adapter of 1×1 of its own"
    )
    mine, theirs = sides.get(False, "."), sides.get(True, ".")
    if not all(_SIDES.fullmatch(path) and path.strip(".") for path in (mine, theirs)):
        mine = theirs if _SIDES.fullmatch(theirs) and theirs.strip(".") else ""
        if not mine:
            return "fitnet"
        why = f"the student's side is an adapter of theirs; here it is `{mine}`, which brings its own"
        findings.differs(inner.line, "MSELoss", why)
    return call("fitnet", f'student="{mine}"', f'teacher="{theirs}"')


def _positions(inner: Value, ours: str, findings: Findings) -> None:
    why = f"its positions are found by shape and depth: `recipe plan` shows those of `{ours}`"
    findings.fill(inner.line, key_of(inner), why)


def _setting(ours: str, given: Value | None, name: str) -> str:
    """A number of theirs as a setting of ours; "" where the file does not say it."""
    found = given.get(name) if given else None
    value = number(found.data) if found else None
    return "" if value is None else f"{ours}={shown(value)}"


def _crd(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
    """`CRDLoss`, whose weight stands before the term."""
    _positions(inner, "crd", findings)
    names = {"negatives": "num_negative_samples", "temperature": "temperature", "momentum": "momentum"}
    said = (_setting(ours, given, theirs) for ours, theirs in {**names, "width": "input_size"}.items())
    return call("crd", "beta=1", *said)


def _relational(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
    """`RKDLoss` of the outputs of one module each."""
    sides = [given.get(f"{side}_output_path") if given else None for side in ("student", "teacher")]
    paths = [side.text if side and _SIDES.fullmatch(side.text) else "" for side in sides]
    if not all(paths):
        paths = ["", ""]
        _positions(inner, "relational", findings)
    findings.differs(inner.line, "RKDLoss", "activations are averaged over places before they are compared")
    said = (_setting("distances", given, "dist_factor"), _setting("angles", given, "angle_factor"))
    modules = (f'{side}="{path}"' for side, path in zip(("student", "teacher"), paths, strict=True) if path)
    return call("relational", *said, *modules)


def _factors(inner: Value, given: Value | None, term: Value, findings: Findings) -> str:
    """`FTLoss`, whose paraphraser is trained in a stage before."""
    _positions(inner, "ft", findings)
    why = "the paraphraser is trained along; `first=0.1` lets it learn alone for a tenth of the steps"
    findings.differs(inner.line, "FTLoss", why)
    if _setting("p", given, "p") not in ("", "p=1"):
        findings.differs(inner.line, "FTLoss: p", "factors are compared with p = 1")
    return call("ft", "beta=1")


LOSSES: Mapping[str, Callable[[Value, Value | None, Value, Findings], str]] = {
    "KDLoss": _kd,
    "ATLoss": _paired("at", "at_pairs", "beta=1"),
    "NSTLoss": _paired("nst", "nst_pairs", "beta=1"),
    "FSPLoss": _paired("fsp", "fsp_pairs"),
    "SPKDLoss": _paired("sp", "sp_pairs", "gamma=1"),
    "VIDLoss": _paired("vid", "vid_pairs"),
    "DABLoss": _paired("ab", "dab_pairs"),
    "CRDLoss": _crd,
    "RKDLoss": _relational,
    "FTLoss": _factors,
    "MSELoss": _hint,
}
