"""The criteria of torchdistill: terms with weights, each of them a loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from recipelang.migrating.finding import Findings, call, shown
from recipelang.migrating.reading import Value, number

NEAREST: dict[str, str] = {
    "CRDLoss": "`sp`, which also compares how images relate to each other",
    "RKDLoss": "`sp`, which also compares how images relate to each other",
    "PKTLoss": "`sp`, which also compares how images relate to each other",
    "CCKDLoss": "`sp`, which also compares how images relate to each other",
    "FTLoss": "`fitnet`, which also adapts activations of the network to the teacher's",
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
            findings.fill(
                inner.line,
                key_of(inner),
                f"its positions are found by shape and depth: `recipe plan` shows those of `{ours}`",
            )
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


LOSSES: Mapping[str, Callable[[Value, Value | None, Value, Findings], str]] = {
    "KDLoss": _kd,
    "ATLoss": _paired("at", "at_pairs", "beta=1"),
    "NSTLoss": _paired("nst", "nst_pairs", "beta=1"),
    "FSPLoss": _paired("fsp", "fsp_pairs"),
    "SPKDLoss": _paired("sp", "sp_pairs", "gamma=1"),
    "VIDLoss": _paired("vid", "vid_pairs"),
    "DABLoss": _paired("ab", "dab_pairs"),
    "MSELoss": _hint,
}
