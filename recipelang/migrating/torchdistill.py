"""torchdistill: a teacher and a student, and stages of training with criteria made of terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from recipelang.catalogue import find, names
from recipelang.migrating.finding import Fields, Findings, call, epochs, joined, shown, unknown
from recipelang.migrating.losses import LOSSES, NEAREST, arguments_of, key_of, terms_of
from recipelang.migrating.rates import steps_of
from recipelang.migrating.reading import Value, Wrong, number
from recipelang.migrating.selecting import selected
from recipelang.migrating.timeline import Rate

_OPTIMIZERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "SGD": ("sgd", ("momentum", "weight_decay", "nesterov")),
    "Adam": ("adam", ("weight_decay",)),
    "AdamW": ("adamw", ("weight_decay",)),
    "RMSprop": ("rmsprop", ("alpha", "momentum", "weight_decay")),
    "NAdam": ("nadam", ("weight_decay",)),
    "RAdam": ("radam", ("weight_decay",)),
    "Adamax": ("adamax", ("weight_decay",)),
    "Adagrad": ("adagrad", ("weight_decay",)),
    "Adadelta": ("adadelta", ("weight_decay",)),
}
#: defaults of torch where ours are others
_DEFAULTS = {"sgd": {"momentum": "0", "weight_decay": "0"}}
#: fields of a stage that say where and how it runs
_IDLE = (
    *(
        "log_freq",
        "train_data_loader",
        "val_data_loader",
        "teacher",
        "student",
        "model",
        "grad_accum_step",
        "max_grad_norm",
    ),
    *("scheduling_step", "epoch_to_train", "find_unused_parameters"),
)


def looks_like(root: Value) -> bool:
    """Whether a file has models and a training of torchdistill."""
    models = root.get("models")
    known = ("teacher_model", "student_model", "model")
    return models is not None and any(models.get(name) for name in known) and root.get("train") is not None


def translate(root: Value, text: str, findings: Findings) -> None:
    """Write the statements of a file."""
    fields = Fields("configuration", root, findings)
    fields.drop("test", "dependencies")
    models = fields.take("models")
    student = models.get("student_model") or models.get("model") if models else None
    teacher = models.get("teacher_model") if models else None
    if student:
        _model(student, "", findings)
    if teacher:
        _model(teacher, " as teacher", findings)
    train = fields.take("train")
    _data(fields.take("datasets"), train, findings)
    stages = [one for name, one in (train.mapping if train else {}).items() if re.fullmatch(r"stage\d+", name)]
    inherited: dict[str, Value] = {}
    for number_of, stage in enumerate(stages or ([train] if train else [])):
        inherited |= {name: one for name, one in stage.mapping.items() if one.data is not None}
        _Stage(Value(dict(inherited), "", stage.span), bool(teacher), findings, first=number_of == 0).write()
    if len(stages) > 1:
        findings.differs(
            0, "", "a later stage takes what it does not say from the one before it; so it is written out here"
        )
    fields.rest()


def _model(value: Value, role: str, findings: Findings) -> None:
    """`model torchvision.resnet18(…)`, or a comment where the network is not here."""
    name, arguments = key_of(value), arguments_of(value)
    weights = _weights(value, arguments, bool(role), findings)
    classes = number(arguments.get("num_classes").data) if arguments and arguments.get("num_classes") else None  # type: ignore[union-attr]
    settings = [f'weights="{weights}"' if weights else ""]
    torchvision = find("model", "torchvision")
    known = torchvision.dotted_names() if torchvision else frozenset()  # type: ignore[attr-defined]
    if name in names("model") and name.startswith("resnet") and name not in known:
        if weights == "DEFAULT":
            settings = []
            findings.fill(value.line, name, f'its published weights are not here; name a file: `{name}(weights="…")`')
        findings.say(f"model {call(name, *settings)}{role}", value)
    elif name in known:
        if classes and not (weights and int(classes) == 1000):
            settings.append(f"classes={int(classes)}" if weights == "DEFAULT" and classes != 1000 else "")
        findings.say(f"model {call(f'torchvision.{name}', *settings)}{role}", value)
    else:
        near = f'`model python("nets.py:build"){role}`, which runs with `--trust`'
        findings.missing(value, name or "model", "no network of this name is here", near)
        findings.say(f'model python("nets.py:build"){role}', value)


def _weights(value: Value, arguments: Value | None, taught: bool, findings: Findings) -> str:
    """The file or the name of published weights; "" for random numbers.

    Files of the first versions have `ckpt` alone: of a teacher it is read where it exists, of a student it is written.
    """
    source = value.get("src_ckpt") or (value.get("ckpt") if taught else None)
    path = source.text if source and '"' not in source.text else ""
    pretrained = arguments.get("pretrained") if arguments else None
    given = arguments.get("weights") if arguments else None
    published = "DEFAULT" if pretrained and pretrained.data is True else ""
    if given and not published:
        name = given.items[-1].text if given.items else given.text
        published = name if re.fullmatch(r"[A-Z0-9_]+", name) else "DEFAULT"
    if published and path and source:
        why = f"`{path}` is read there over the published weights, where it exists; `weights=` names it here"
        findings.differs(source.line, "ckpt" if value.get("ckpt") else "src_ckpt", why)
    return published or path


def _data(datasets: Value | None, train: Value | None, findings: Findings) -> None:
    """`data cifar10(batch=128)`, `data folder("…")`, or what to fill in."""
    loader = next((one for value in (train.walk() if train else ()) if (one := value.get("train_data_loader"))), None)
    sized = next((one for value in (loader.walk() if loader else ()) if (one := value.get("batch_size"))), None)
    batch = f"batch={int(number(sized.data) or 1)}" if sized else ""
    first = next(iter(datasets.mapping.values()), None) if datasets else None
    name, root = key_of(first), _root(first)
    if first is None:
        findings.fill(0, "", "the file names no data: write a folder of images, or your own code, after `data`")
        findings.say('data python("data.py:build")')
    elif name == "CIFAR10":
        findings.say(f"data {call('cifar10', _quoted(root), batch)}", first)
        findings.differs(
            first.line, name, "every tenth image of the training split validates here, and is not trained on"
        )
    elif name == "ImageFolder" and root:
        findings.say(f"data {call('folder', _quoted(root), f'size={_side(first)}', batch)}", first)
        findings.differs(
            first.line, name, "augmentation is that of `folder`: `recipe explain folder` says what it does"
        )
    else:
        near = 'a folder of images, `data folder("photos")`, or your own code, `data python("data.py:build")`'
        findings.missing(first, name or "datasets", "these data are not translated", near)
        findings.say('data python("data.py:build")', first)


def _root(value: Value | None) -> str:
    found = next(
        (one for part in (value.walk() if value else ()) if (one := part.get("root")) and isinstance(one.data, str)),
        None,
    )
    inner = next((one for part in (value.walk() if value else ()) if (one := part.get("_root"))), None)
    text = (inner or found).text if inner or found else ""  # type: ignore[union-attr]
    return re.sub(r"/(train|val|test)/?$", "", text)


def _side(value: Value) -> int:
    """The side of the images that are handed out: the size of the crop."""
    for part in value.walk():
        if key_of(part) in ("RandomResizedCrop", "CenterCrop", "RandomCrop"):
            size = (arguments_of(part) or part).get("size")
            found = number(size.items[0].data) if size and size.items else None
            if found:
                return int(found)
    return 224


def _quoted(text: str) -> str:
    return f'"{text}"' if text and '"' not in text else ""


@dataclass(frozen=True)
class _Stage:
    """A stage of training."""

    value: Value
    taught: bool
    findings: Findings
    first: bool

    def write(self) -> None:
        """Its statement."""
        fields = Fields("stage", self.value, self.findings)
        fields.drop(*_IDLE, *(name for name in self.value.mapping if re.fullmatch(r"stage\d+", name)))
        length = fields.number("num_epochs", low=1)
        frozen = self._frozen()
        criterion = fields.take("criterion")
        student = self.value.get("student")
        trained = student.get("requires_grad") if student else None
        if trained and trained.data is False:
            why = "this stage does not train the student, so nothing is written for it; parts beside a loss learn along"
            self.findings.differs(self.value.line, "student: requires_grad", why)
            return
        loss = self._loss(criterion) if criterion else ("", False)
        optimizer = self._optimizer(fields.take("optimizer"), fields.take("scheduler"), length or 1)
        if length is None:
            raise Wrong("RCP1263", "a stage has no `num_epochs`", self.value, "write `num_epochs: 20`")
        terms, compares = loss
        what = ", ".join(part for part in (terms if compares else "", optimizer) if part)
        verb = "distill from teacher" if compares and self.taught else "train"
        if compares and not self.taught:
            verb = "distill from healthy"
        self.findings.say(joined([verb, f"for {epochs(length)}", f"with {what}" if what else "", frozen]), self.value)
        fields.rest()

    def _frozen(self) -> str:
        """The clause `except` with the modules that are not trained; a part of a network that is trained is told."""
        clause = ""
        for side in ("student", "model"):
            part = self.value.get(side)
            frozen, sequential = (part.get(name) if part else None for name in ("frozen_modules", "sequential"))
            if frozen and frozen.items:
                clause = selected("except", frozen.items, self.findings, f"{side}: frozen_modules")
            if sequential and sequential.items:
                why = "only these modules are trained there; here the whole network runs, and the loss looks at one"
                self.findings.differs(sequential.line, f"{side}: sequential", why)
        return clause

    def _loss(self, criterion: Value) -> tuple[str, bool]:
        """(the sum of terms, whether it compares with a teacher)."""
        terms: list[str] = []
        compares = False
        for term, weight in terms_of(criterion):
            text, compared = self._term(term)
            compares |= compared
            if text:
                terms.append(text if weight == 1 else f"{shown(weight)} * {text}")
        hints = compares and not any(
            "task" in text or text.startswith(("kd", "mis")) or " * kd" in text for text in terms
        )
        return " + ".join([*terms, "0 * task"] if hints else terms), compares

    def _term(self, term: Value) -> tuple[str, bool]:
        inner = term.get("criterion") or term
        name, given = key_of(inner), arguments_of(inner)
        if name in ("CrossEntropyLoss", "NLLLoss", "BCEWithLogitsLoss"):
            return "task", False
        make = LOSSES.get(name)
        if make is None:
            unknown(self.findings, name or "criterion", inner, NEAREST, LOSSES)
            return "", False
        return make(inner, given, term, self.findings), True

    def _optimizer(self, value: Value | None, scheduler: Value | None, length: float) -> str:
        name, given = key_of(value), arguments_of(value)
        if value is None:
            return ""
        if name not in _OPTIMIZERS:
            self.findings.missing(value, name or "optimizer", "no such optimizer", "`sgd` or `adamw`")
            return ""
        ours, allowed = _OPTIMIZERS[name]
        rate, settings = 0.0, dict(_DEFAULTS.get(ours, {}))
        for key, one in (given.mapping if given else {}).items():
            found = number(one.data)
            if key == "lr" and found is not None:
                rate = found
            elif key in allowed and (found is not None or isinstance(one.data, bool)):
                settings[key] = str(one.data).lower() if isinstance(one.data, bool) else shown(found or 0.0)
            elif one.data is not None:
                self.findings.missing(one, f"{name}: {key}", f"`{ours}` has no such setting", "")
        lr = self._ramp(scheduler, rate, length)
        return call(ours, f"lr={lr}" if rate else "", *(f"{key}={one}" for key, one in settings.items()))

    def _ramp(self, scheduler: Value | None, rate: float, length: float) -> str:
        name, given = key_of(scheduler), arguments_of(scheduler)
        if scheduler is None or not name:
            return shown(rate)
        if name == "CosineAnnealingLR":
            floor = given.get("eta_min") if given else None
            return call("cosine", shown(rate), f"to={shown(number(floor.data) or 0.0) if floor else '0'}")
        if name in ("poly_lr_scheduler", "get_linear_schedule_with_warmup", "LinearLR"):
            return call("linear", shown(rate), "to=0")
        stepped = steps_of(name, given, 0.0, length)
        if stepped is None:
            self.findings.missing(scheduler, name, "no ramp is like it", "`cosine`, `linear` or `multistep`")
            return shown(rate)
        factor, marks = stepped
        inside = [mark for mark in marks if 0 < mark < length]
        if len(inside) < len(marks):
            self.findings.differs(scheduler.line, name, "milestones after the last epoch are left out")
        law = Rate(scheduler.line, "multistep", 0, length, rate, 0, factor, tuple(inside))
        at = ", ".join(shown(mark) for mark in law.at)
        return call("multistep", shown(rate), f"factor={shown(factor)}", f"at=[{at}]") if inside else shown(rate)
