"""`model timm.resnet50(weights="DEFAULT")`: a classification network of timm."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError, did_you_mean
from recipelang.kinds import ModelRequest
from recipelang.making import many_objects
from recipelang.methods.models._own import require_file

_REGISTERED = "\n@register_model\n"
_NAMED = re.compile(r"(?:@.*\n)*def (\w+)")
#: `'resnet50.a1_in1k': …`, as timm's files list published weights
_PUBLISHED = re.compile(r"""['"](\w+)\.(\w+)['"]\s*:""")


@cache
def _files() -> tuple[str, ...]:
    """The texts of timm's files of networks."""
    found = importlib.util.find_spec("timm")
    folders = found.submodule_search_locations if found else None
    files = [file for folder in folders or () for file in sorted((Path(folder) / "models").glob("*.py"))]
    return tuple(file.read_text(encoding="utf-8") for file in files)


@cache
def _tags() -> dict[str, tuple[str, ...]]:
    """Network → the tags that timm's files list for it."""
    found: dict[str, dict[str, None]] = {}
    for text in _files():
        for name, tag in _PUBLISHED.findall(text):
            found.setdefault(name, {})[tag] = None
    return {name: tuple(tags) for name, tags in found.items()}


@method("model", "timm")
@dataclass(frozen=True)
class Timm:
    """A classification network of timm, named after a dot: `timm.resnet50(weights="DEFAULT")`.

    `weights` is `DEFAULT`, the tag of other published weights (`a1_in1k`, which `timm.resnet50.a1_in1k` names too), a
    folder that timm saved, or a file. A recipe downloads nothing: `hf download timm/resnet50.a1_in1k` does, once.
    Weights bring the preprocessing that timm states for them, which the data then follows, and published ones the names
    of ImageNet's classes. `classes=5` replaces the head with a new one of five outputs, which needs training; without
    weights the head has as many outputs as the data has classes.

    The network is built for the channels of the data's images, and for their size where it takes one size alone;
    published weights are adapted as timm does it. An artifact of such a network needs timm to load, of a version that
    builds the same network.

    Shapes: B×C×H×W → B×classes.
    Needs: `pip install "recipelang[timm]"`.
    When it misleads: a file of weights is given the preprocessing of the network's default weights, or of the tag in
    its name, whatever it was trained with.
    Source: https://huggingface.co/docs/timm; each network's file there names its paper.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    architecture: str = setting(type="text", dotted=True, help="The name in timm, with a tag or without: `resnet50`.")
    weights: str = setting(
        "", type="text", hashed=False, help="`DEFAULT`, the tag of published weights, a folder of timm, or a file."
    )
    at: str = setting(
        "",
        type="text",
        help="State dict in the file, or prefix of its names; default `state_dict`, `model_state_dict`, `model`.",
    )
    classes: int | None = setting(
        None, type="integer", low=2, help="Number of outputs; replaces the head if it differs."
    )

    def __post_init__(self) -> None:
        require_file(self.at, self.weights)
        name, known = self.architecture.partition(".")[0], self.dotted_names()
        if known and name not in known:
            guess = did_you_mean(name, known)
            raise SettingError(
                "architecture", f"timm has no network `{name}`", f"{guess}`timm.list_models()` lists them"
            )
        self._require_tag(name)

    def _require_tag(self, name: str) -> None:
        """Refuse a tag of published weights that timm's files rule out; what they leave open is asked for in a plan."""
        tag = self.architecture.partition(".")[2]
        asked, field = (tag, "architecture") if self.weights and tag else (self.weights, "weights")
        if not asked.isidentifier() or asked == "DEFAULT":
            return
        tags = _tags().get(name, ())
        if asked in tags or not tags:
            return
        made = re.compile(rf"(?<![\w.]){asked}(?!\w)")  # some files put names and tags together
        guess = did_you_mean(asked, tags)
        if (field == "weights" and not guess) or any(made.search(text) for text in _files()):
            return  # it may be a folder
        offered = ", ".join(f"`{one}`" for one in tags[:6]) + (f" and {len(tags) - 6} more" if tags[6:] else "")
        raise SettingError(field, f"timm has no weights `{asked}` for {name}", f"{guess}it has {offered}")

    @staticmethod
    @cache
    def dotted_names() -> frozenset[str]:
        """The names allowed after the dot: read from timm's files, since importing them would load torch."""
        after = (part for text in _files() for part in text.split(_REGISTERED)[1:])  # a pattern looks at every line
        return frozenset(found[1] for part in after if (found := _NAMED.match(part)))

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return bool(self.weights) and self.classes is None

    def require(self) -> None:
        """Refuse where the library is not installed."""
        from recipelang.surgery.timm_models import require_timm

        require_timm()

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The files of the weights."""
        from recipelang.surgery.timm_models import weights_of

        self.require()
        found = weights_of(self.architecture, self.weights, self.at, resolve, read=False)
        return found.files if found else ()

    @many_objects()  # those of torch, torchvision and timm too, if they are imported here
    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0764: timm has no such network, or cannot build it; RCP0760: its weights are not on this
                machine; RCP0706, RCP0707, RCP0762: they cannot be read or do not fit; RCP0708: the numbers of classes
                do not fit; RCP1027: timm is not installed.
        """
        from recipelang.surgery import timm_models as timm
        from recipelang.surgery.assembly import assemble

        self.require()
        name, _, tag = self.architecture.partition(".")
        wanted = self.weights if request.weights else ""
        found = timm.weights_of(self.architecture, wanted, self.at, request.resolve)
        cfg = found.cfg if found else timm.configuration(name, tag)
        shape = request.input_shape or tuple(cfg.get("input_size") or (3, 224, 224))
        arguments = request.built.get("arguments") or cfg.get("model_args") or {}
        arguments = arguments if isinstance(arguments, dict) else {}
        own = self.classes or (len(request.classes) if request.classes else None)
        checkpoint = found.checkpoint if found else None
        file = found.files[0] if found and found.published else None
        count = self.classes if file else own
        module = timm.construct(name, cfg, shape, count, file, arguments)
        if checkpoint and (heads := timm.classes_in(checkpoint, cfg, module)) not in (None, count):
            module = timm.construct(name, cfg, shape, heads, None, arguments)
        how, notes = timm.preprocessing(cfg, shape) if found else (None, ())
        known = found.known if found else ()
        if file and self.classes not in (None, cfg.get("num_classes")):
            new = f"the head of the weights is replaced with a new one of {count} outputs, which needs training"
            known, notes = (), (*notes, new)
        return assemble(
            module,
            request,
            model="timm",
            settings={"architecture": self.architecture},
            input_shape=shape,
            classes=self.classes,
            weights=checkpoint,
            pretrained=file is not None,
            known=known,
            preprocessing=how,
            library="timm",
            built={"arguments": dict(arguments)} if arguments else {},
            heads=timm.new_heads,
            notes=notes,
        )
