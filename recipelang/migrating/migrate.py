"""The one door: which format a file has, its statements and notes, the recipe as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recipelang.errors import nearest
from recipelang.migrating import distiller, llmcompressor, sparseml, torchdistill
from recipelang.migrating.finding import KINDS, Findings, Note, Statement
from recipelang.migrating.laying import written
from recipelang.migrating.modifiers import Modifier, has_names, has_tags, modifiers
from recipelang.migrating.reading import Value, Wrong, front_matter, read
from recipelang.migrating.timeline import Timeline
from recipelang.migrating.writing import accepted, recipe

#: format → its name for people
FORMATS: Mapping[str, str] = {
    "sparseml": "SparseML",
    "llmcompressor": "LLM Compressor",
    "distiller": "Distiller",
    "torchdistill": "torchdistill",
}
_LOOKS: Mapping[str, Callable[[Value], bool]] = {
    "sparseml": has_tags,
    "llmcompressor": has_names,
    "distiller": distiller.looks_like,
    "torchdistill": torchdistill.looks_like,
}


@dataclass(frozen=True)
class Migration:
    """A recipe in our language, and what its user has to know.

    Attributes:
        kind: the format, of `FORMATS`.
        recipe: the text, formatted.
        notes: in the order in which they are told.
    """

    kind: str
    recipe: str
    notes: tuple[Note, ...]

    @property
    def complete(self) -> bool:
        """Whether everything was translated."""
        return all(note.kind != "missing" for note in self.notes)


def migrate(text: str, name: str, kind: str = "") -> Migration:
    """Translate a recipe of another tool.

    Args:
        text: of the file, in YAML; of a Markdown file, its front matter.
        name: of the file, for the recipe's first comment; `.md` is Markdown.
        kind: one of `FORMATS`; "" to recognise it.

    Raises:
        Wrong: RCP1260 it is not YAML that can be read safely; RCP1261 it has none of the formats; RCP1262 several;
            RCP1263 a value contradicts another or has no meaning; RCP1264 nothing is in it.
    """
    root = read(front_matter(text) if name.lower().endswith(".md") else text)
    kind = kind or _recognised(root)
    findings = Findings()
    if kind in ("sparseml", "llmcompressor"):
        _by_modifiers(root, kind, findings)
    elif kind == "distiller":
        distiller.translate(root, text, findings)
    else:
        torchdistill.translate(root, text, findings)
    if kind != "torchdistill":
        findings.fill(
            0, "", "the file names no network and no data: write `model` and `data`, or run with `--model --data`"
        )
    statements = accepted(findings.statements, findings.notes)
    order = list(KINDS)
    notes = tuple(sorted(findings.notes, key=lambda note: (order.index(note.kind), note.line)))
    return Migration(
        kind, recipe(f"Migrated from {name} ({FORMATS[kind]}) by `recipe migrate`.", statements, notes), notes
    )


def _recognised(root: Value) -> str:
    found = [kind for kind, looks in _LOOKS.items() if looks(root)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = " and ".join(FORMATS[kind] for kind in found)
        help = " or ".join(f"`--from {kind}`" for kind in found)
        raise Wrong("RCP1262", f"the file looks like {listed}", root, f"say which it is: {help}")
    keys = ("policies", "pruners", "modifiers", "models", "train")
    guesses = [guess for key in root.mapping if (guess := nearest(key, keys)) and key not in keys]
    help = "; ".join(
        (
            "SparseML and LLM Compressor have modifiers, Distiller policies, torchdistill `models` and `train`",
            *([f"did you mean the key `{guesses[0]}`?"] if guesses else []),
        )
    )
    raise Wrong(
        "RCP1261", "the file is not a recipe of SparseML, LLM Compressor, Distiller or torchdistill", root, help
    )


def _by_modifiers(root: Value, kind: str, findings: Findings) -> None:
    """Stage by stage, each with epochs of its own."""
    table = sparseml.TABLE if kind == "sparseml" else llmcompressor.TABLE
    near = {**llmcompressor.NEAREST, **sparseml.NEAREST}
    stages: dict[str, list[Modifier]] = {}
    for modifier in modifiers(root, findings):
        stages.setdefault(modifier.stage, []).append(modifier)
    for stage, inside in stages.items():
        timeline = Timeline()
        for one in inside:
            sparseml.one(one, timeline, findings, table, near)
        section = root.get(f"{stage}_stage") if stage else root
        run_type = section.get("run_type") if section else None
        sparseml.finished(timeline, findings, kind == "sparseml" and bool(timeline.rates))
        if run_type and run_type.text == "train" and not timeline.total:
            why = "the stage trains for as long as its command line says: write `finetune for 3 epochs` where it stands"
            findings.fill(run_type.line, f"{stage}_stage", why)
            findings.statements.append(Statement("# finetune for 3 epochs", (run_type.line,)))
        written(timeline, findings)
