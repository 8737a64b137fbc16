"""What methods that open labelled images or texts have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import setting
from recipelang.errors import SettingError
from recipelang.methods.data._images import ImageSettings

if TYPE_CHECKING:
    from recipelang.images.texts import Labelled
    from recipelang.kinds import Dataset

#: settings that have no meaning for texts
OF_IMAGES = ("size", "augment", "channels", "bits", "unreadable")


@dataclass(frozen=True, kw_only=True)
class SampleSettings(ImageSettings):
    """The settings of methods whose samples are images, or texts where `text` names a column."""

    of_images: ClassVar[tuple[str, ...]] = OF_IMAGES

    text: str = setting("", type="text", help="Column of the texts, where samples are texts.")
    tokenizer: str = setting("", type="text", help="Of texts: folder of their network, or a `tokenizer.json`.")
    length: int | None = setting(None, type="integer", low=2, high=2**15, help="Tokens of a text; default 128.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text:
            for name in ("tokenizer", "length"):
                if getattr(self, name):
                    help = 'name the column of the texts, as in `text="review"`, or remove it'
                    raise SettingError(name, f"`{name}` is for texts, and these samples are images", help)
            return
        for name in self.of_images:
            if getattr(self, name) != next(field.default for field in fields(self) if field.name == name):
                raise SettingError(
                    name, f"`{name}` is for images, and `text` says that samples are texts", f"remove `{name}`"
                )
        if not self.tokenizer:
            help = 'name the folder of the network, which has one: `tokenizer="FOLDER"`'
            raise SettingError("text", "texts need a tokenizer, which makes the ids that a network reads", help)

    def require_tokenizers(self, what: str) -> None:
        """Refuse where samples are texts and their libraries are not installed (RCP1027)."""
        from recipelang.extras import require_libraries

        if self.text:
            require_libraries(what, ("tokenizers", "transformers"), "hf")

    def opened_texts(self, name: str, found: Labelled, resolve: Callable[[str], Path]) -> Dataset:
        """The data set of texts that were found.

        Args:
            name: of the data set.

        Raises:
            Refusal: RCP0780, RCP0781: the tokenizer is invalid, or does not fit the texts; RCP0808: a class has too
                few texts to be divided.
        """
        from recipelang.images.texts import open_texts
        from recipelang.images.tokens import read_tokenizer

        tokenizer = read_tokenizer(resolve(self.tokenizer), self.tokenizer)
        return open_texts(
            name, found, tokenizer, length=self.length or 128, batch=self.batch, shares=self.split, seed=self.seed
        )
