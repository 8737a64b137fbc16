"""The report as a model card of the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError

_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@method("report", "model_card")
@dataclass(frozen=True)
class ModelCardReport:
    """A model card of the Hugging Face Hub, `README.md`: front matter with the results, and the comparison as Markdown.

    What: of the networks that the recipe ends with. `model-index` has every quality and cost of each, as measured;
    `base_model` and its relation are there where `base_model` is given. The text has the comparison with healthy and
    the control, what was asked for and reached, how layers execute, what it cost to make, the recipe and the machine.
    When it misleads: times are those of the machine that the card names; a difference marked `≈` is within the noise.
    Source: the Hub's model card specification, https://huggingface.co/docs/hub/model-cards.
    """

    file: ClassVar[str] = "README.md"
    template: ClassVar[str] = "model_card.md.j2"
    charts: ClassVar[str] = ""
    ours: ClassVar[str] = "library_name: recipelang\n"  # a file of this name without this text is somebody else's

    base_model: str = setting("", type="text", help="The network before the recipe, as the Hub names it: `owner/name`.")
    license: str = setting("", type="text", help="As the Hub names it: `apache-2.0`. Left out if it is not given.")
    model_name: str = setting("", type="text", help="Name of the network on the card; default the recipe's.")
    dataset: str = setting("", type="text", help="The data set, as the Hub names it: `owner/name` or `cifar10`.")

    def __post_init__(self) -> None:
        for field in ("base_model", "dataset"):
            value = getattr(self, field)
            if value and not _ID.fullmatch(value):
                raise SettingError(field, f"`{value}` is not a name on the Hub", 'write `"owner/name"`')
        if self.license and not re.fullmatch(r"[a-z0-9.+-]+", self.license):
            message = f"`{self.license}` is not the Hub's name of a license"
            raise SettingError("license", message, 'write `"apache-2.0"`, or `"other"`')
