"""The data set `csv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.methods.data._labels import require_one_form, target_of
from recipelang.methods.data._texts import OF_IMAGES, SampleSettings

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "csv")
@dataclass(frozen=True)
class Csv(SampleSettings):
    """Images or texts that a CSV file lists, each with its class: `csv("labels.csv")`.

    What: the first line names the columns; a row is an image. `path`, `label` and `split_by` say which column is what;
    without them, columns are found by usual names (`path`, `file`, `image` …; `label`, `class`, `target` …; `split`,
    `subset` …), of two columns one by the other, and the plan says which were found. Values are separated by commas,
    semicolons or tabs, quoted where they contain one, in UTF-8 (or UTF-16 with its mark).
    Paths start at the folder of the file, or at `root`; absolute ones are used as they are, links are followed, and
    `suffix=".jpg"` is added to each. Files that are missing are reported together. Nothing is downloaded.
    Classes: whole numbers, or text; in the order of their size, or of the alphabet. A mixture is refused, as it is
    mostly a mistake; `labels=text` takes whatever is there as names.
    Several labels, for `task multilabel`: `label=["cat", "dog"]` names columns of 0 and 1 (or true and false), one for
    each label; `label="tags", separator=";"` takes the names of the labels of a row from one column, where an empty
    cell has none. What is neither 0 nor 1, or missing, is refused, and so is a label that all training samples have, or
    none. The rarest label of a row decides with which others it is divided among splits.
    Splits: `train`, `val` (`valid`, `validation`, `dev`) and `test`, if there is such a column; what it lacks is cut
    from `train` by `split`, class by class, by a hash of (seed, bytes), as of `folder`: copies of an image are never in
    two splits that are cut, and counted in the note where the file puts them there.
    Shapes, range and augmentation of images: as of `folder`.
    Texts: `csv("reviews.csv", text="review", tokenizer="FOLDER", length=128)` takes them from a column and makes ids of
    tokens, int64 B×length, by the tokenizer of the network's folder, or by a `tokenizer.json`. Shorter texts are filled
    up at the end, longer ones are cut and counted in the note. Texts with equal ids are never in two splits that are
    cut. The network leaves out what fills up: `model huggingface` does, by the tokenizer's id for it.
    When it misleads: only byte-equal copies are recognised; rows of one patient, video or place belong in one split,
    which the file has to say.
    Source: RFC 4180; the file.
    """

    targets: ClassVar[Mapping[str, str]] = {
        "class": "name one column of classes, without `separator`",
        "labels": 'name columns of 0 and 1, `label=["cat", "dog"]`, or what separates names in one: `separator=";"`',
    }
    of_images: ClassVar[tuple[str, ...]] = (*OF_IMAGES, "path", "root", "suffix")

    file: str = setting(type="text", positional=True, hashed=False, help="The CSV file, or its alias.")
    path: str = setting("", type="text", help="Column of the paths.")
    label: str | tuple[str, ...] = setting(
        "", type="texts", help="Column of the classes; or columns of 0 and 1, one for each label."
    )
    separator: str = setting(
        "", type="text", later=True, help="Between the names of labels in a column, where a row may have several."
    )
    split_by: str = setting("", type="text", help="Column of the splits.")
    labels: str = setting(
        "auto", type="word", choices=("auto", "text"), help="`text`: labels are names even if some look like numbers."
    )
    root: str = setting("", type="text", hashed=False, help="Where relative paths start; default: beside the file.")
    suffix: str = setting("", type="text", help='Added to every path: `".jpg"`.')

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_form(self.label, self.separator, self.labels)

    @property
    def target(self) -> str:
        """`labels` where a row may have several, else `class`."""
        return target_of(self.label, self.separator, self.labels)

    def require(self) -> None:
        """Refuse where the libraries of texts are not installed (RCP1027)."""
        self.require_tokenizers("data csv")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0852 to RCP0855: the table is invalid; RCP0801, RCP0803 to RCP0808, RCP0810, RCP0820, RCP0870:
                its images, classes or labels are; RCP0780, RCP0781: the tokenizer is invalid, or does not fit the
                texts; RCP1027: its library is not installed.
        """
        if self.text:
            return self._texts(resolve)
        from recipelang.images.listed import Columns, open_listed

        columns = Columns(self.path, self.label, self.split_by, self.labels, self.suffix, self.separator)
        return open_listed(resolve(self.file), resolve(self.root) if self.root else None, columns, **self.how())

    def _texts(self, resolve: Callable[[str], Path]) -> Dataset:
        from recipelang.images.listing import list_samples
        from recipelang.images.table import read_table

        self.require()
        table = read_table(resolve(self.file))
        found = list_samples(
            table,
            "text",
            value=self.text,
            label=self.label,
            split_by=self.split_by,
            names=self.labels,
            separator=self.separator,
        )
        return self.opened_texts("csv", found, resolve)
