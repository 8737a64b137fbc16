"""What may stand at a place: kinds of methods, names, words and units, from what verbs and settings say they accept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from recipelang import catalogue, verbs
from recipelang.catalogue import Setting
from recipelang.editor.cursor import Call, Cursor
from recipelang.errors import Refusal
from recipelang.meaning.verb import Verb
from recipelang.units import SINGULAR, UNITS

#: type of a setting → the dimensions of its numbers
_DIMENSIONS = {"duration": ("epochs", "steps"), "time": ("time",), "bytes": ("bytes",), "number": ("ratio",)}
#: sort → the dimensions of its numbers
_OF_SORT = {
    "epochs": ("epochs", "steps"),
    "rounds": ("rounds",),
    "times": ("times",),
    "bits": ("bits",),
    "share": ("ratio",),
    "unit": ("ratio",),
}


@dataclass(frozen=True)
class Expected:
    """What may stand at a place.

    Attributes:
        accepts: kinds of methods, and sorts of `meaning.verb.SORTS`.
        words: single words.
        dimensions: of numbers.
        settings: those that may be given here by name.
    """

    accepts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of methods among them."""
        conditional = ("metric",) if "condition" in self.accepts else ()
        return (*(kind for kind in self.accepts if kind in catalogue.FOLDERS), *conditional)


#: the value of a `let` or a sweep
ANYTHING = Expected(accepts=(*catalogue.FOLDERS, "split"))


def expected(place: Cursor) -> Expected:
    """What may stand at a place within a statement; nothing where the verb is still to be typed."""
    if place.call:
        return _in_call(place.call)
    if place.verb == "let":
        return ANYTHING if any(word.type == "EQUAL" for word in place.statement) else Expected()
    verb = verb_of(place.verb)
    part = verb.clause(place.clause) if verb and place.clause else verb
    if part is None:
        return Expected()
    accepts = ANYTHING.accepts if "value" in part.accepts else part.accepts
    return Expected(accepts, part.words, _dimensions(place, part.accepts))


def verb_of(name: str) -> Verb | None:
    """The verb of a name; None also for a plug-in that breaks its contract."""
    return None if verbs.why_not(name) else verbs.find(name)


def method_of(call: Call) -> tuple[str, type] | None:
    """The kind and class of the method that is called, as the place of the call has it: `latency` of `early.latency`,
    and `torchvision` of `torchvision.resnet18`, which takes the rest of its name as a setting."""
    kinds = expected(call.outside).kinds
    found = method_named(call.path[0], kinds)
    if len(call.path) > 1 and not (found and any(s.dotted for s in catalogue.settings(found[1]))):
        return method_named(call.path[-1], kinds)
    return found


def method_named(name: str, kinds: Iterable[str]) -> tuple[str, type] | None:
    """The kind and class of the method of a name: of these kinds, else of any."""
    known = catalogue.kinds_of(name)
    for kind in (*(kind for kind in kinds if kind in known), *known):
        try:
            found = catalogue.find(kind, name)
        except Refusal:  # a plug-in; `check` says what is wrong with it
            continue
        if found is not None:
            return kind, found
    return None


def _in_call(call: Call) -> Expected:
    """What may stand in the brackets of a call: a value, or the name of a setting that is not given yet."""
    found = method_of(call)
    if found is None:
        return _in_word(call)
    every = {s.name: s for s in catalogue.settings(found[1]) if not (s.dotted or s.extra)}
    if call.setting:
        return _of_setting(every[call.setting]) if call.setting in every else Expected()
    free = tuple(s for name, s in every.items() if name not in call.given and not s.several)
    first = next((s for s in every.values() if s.positional and (s.several or None not in call.given)), None)
    value = _of_setting(first) if first else Expected()
    return Expected(value.accepts, value.words, value.dimensions, free)


def _in_word(call: Call) -> Expected:
    """In the brackets of a word that is not a method: of a split, of `drop` and `rise`, of `scratch` and `type`."""
    known = {
        **dict.fromkeys(("train", "val", "test"), Setting("samples", "integer", 512, help="How many of its images.")),
        **dict.fromkeys(("drop", "rise"), Setting("from", "word", "healthy", choices=("healthy", "control"))),
        "scratch": Setting("equal", "word", None, choices=("flops",), help="What it trains as much of as `healthy`."),
    }.get(call.path[0])
    if known is None:
        return Expected()
    return _of_setting(known) if call.setting else Expected(settings=() if call.given else (known,))


def _of_setting(s: Setting) -> Expected:
    """What a setting takes."""
    kinds = ((s.kind,) if s.type == "method" else ()) + (("ramp",) if s.ramp else ())
    words = s.choices if s.type == "word" else ("true", "false") if s.type == "boolean" else ()
    named = (s.type,) if s.type in ("state", "modules") else ()
    return Expected((*kinds, *named), words, _DIMENSIONS.get(s.type, ()))


def _dimensions(place: Cursor, accepts: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions of a number at a place, in a condition those of its metric."""
    found = [dimension for sort in accepts for dimension in _OF_SORT.get(sort, ())]
    if "condition" in accepts and any(word.type == "COMPARE" for word in place.part):
        found += _of_metric(place)
    return tuple(found)


def _of_metric(place: Cursor) -> tuple[str, ...]:
    """The dimensions of what the metric on the left of a comparison is compared with."""
    from recipelang.meaning.bounds import FITTING

    left = [word.text for word in place.part if word.type == "NAME"]
    for name in reversed(left):
        if (metric := method_named(name, ("metric",))) and metric[0] == "metric":
            unit: str = metric[1].unit  # type: ignore[attr-defined]
            return ("ratio", FITTING.get(unit, ("number", ""))[0])
    return ()


def units_of(dimension: str, singular: bool) -> tuple[str, ...]:
    """The units of a dimension, as they follow a number; words in the singular after a 1."""
    units = [unit for unit, (other, _) in UNITS.items() if other == dimension and unit]
    ones = {many: one for one, many in SINGULAR.items()}
    return tuple(ones.get(unit, unit) if singular else unit for unit in units)
