"""`data huggingface("ylecun/mnist")`: a data set of the library `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.methods.data._labels import require_one_form, target_of
from recipelang.methods.data._texts import OF_IMAGES, SampleSettings

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "huggingface")
@dataclass(frozen=True)
class HuggingFaceSet(SampleSettings):
    """Images or texts of the library `datasets`: `huggingface("ylecun/mnist")`, or a folder of your own.

    What: a folder that `save_to_disk` wrote; a folder of Parquet files, or a single one; a folder of images
    (`imagefolder`: a folder per class, or a `metadata.csv`); or an id that was downloaded before, by
    `hf download --repo-type dataset ylecun/mnist` or by `load_dataset`. A recipe downloads nothing, and code of a data
    set never runs: a script is refused. The library prepares Parquet files in its cache, once.
    Columns: that of images has the type `Image` (or bytes), that of classes `ClassLabel`, or a usual name (`label`,
    `class`, `target` …) and whole numbers or text; `image` and `label` name others. The plan says which were found.
    Classes: the names of `ClassLabel`, in its order; of other columns as of `csv`.
    Several labels, for `task multilabel`: `labels=list` takes a column of lists, `List(ClassLabel)` or lists of names
    or numbers, where an empty list has none; `label=["cat", "dog"]` columns of 0 and 1 or of booleans, one for each
    label; `label="tags", separator=";"` names in a column of text. All else as of `csv`.
    Splits: `train`, `validation` (`val`, `valid`, `dev`) and `test`, or as `train`, `val` and `test` name them; other
    splits are not used. What is missing, or published without labels (−1), is cut from `train` by `split`, class by
    class, by a hash of (seed, bytes), as of `folder`, and the plan says so.
    Shapes, range and augmentation of images: as of `folder`; images of any mode and size. An image is named by its row
    in messages: `train[3]`.
    Texts: `huggingface("reviews", text="review", tokenizer="FOLDER", length=128)`, as of `csv`.
    Needs: `pip install "recipelang[hf]"`.
    When it misleads: only byte-equal copies are recognised; a validation split that was published may hold others.
    Source: https://huggingface.co/docs/datasets; each data set's page there names its paper.
    """

    targets: ClassVar[Mapping[str, str]] = {
        "class": "name one column of classes, without `separator` and `labels=list`",
        "labels": 'write `labels=list` for a column of lists, name columns of 0 and 1, `label=["cat", "dog"]`, '
        'or what separates names in one: `separator=";"`',
    }
    of_images: ClassVar[tuple[str, ...]] = (*OF_IMAGES, "image")

    where: str = setting(type="text", positional=True, hashed=False, help="A folder, a file, or an id.")
    image: str = setting("", type="text", help="Column of the images.")
    label: str | tuple[str, ...] = setting(
        "", type="texts", help="Column of the classes; or columns of 0 and 1, one for each label."
    )
    separator: str = setting(
        "", type="text", later=True, help="Between the names of labels in a column, where a row may have several."
    )
    labels: str = setting(
        "auto",
        type="word",
        choices=("auto", "text", "list"),
        help="`text`: labels are names even if some look like numbers; `list`: each row has a list of them.",
    )
    train: str = setting("", type="text", help="Which split is trained on.")
    val: str = setting("", type="text", help="Which split validates.")
    test: str = setting("", type="text", help="Which split tests.")
    subset: str = setting("", type="text", help="Which configuration of a data set that has several.")
    revision: str = setting("main", type="text", hashed=False, help="Branch, tag or commit of an id.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_form(self.label, self.separator, self.labels)
        named = [(split, name) for split in ("train", "val", "test") if (name := getattr(self, split))]
        for k, (split, name) in enumerate(named):
            if before := next((one for one, other in named[:k] if other == name), None):
                message = f"`{name}` is both `{before}` and `{split}`"
                raise SettingError(split, message, "name different splits; one that is missing is cut from `train`")

    @property
    def target(self) -> str:
        """`labels` where a row may have several, else `class`."""
        return target_of(self.label, self.separator, self.labels)

    def require(self) -> None:
        """Refuse where the libraries are not installed (RCP1027)."""
        from recipelang.extras import require_libraries

        require_libraries("data huggingface", ("datasets", "huggingface_hub"), "hf")
        self.require_tokenizers("data huggingface")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0858 to RCP0861: the data set is not there or cannot be used; RCP0853, RCP0854: a column, a
                split or a label is missing; RCP0803 to RCP0808, RCP0810, RCP0820, RCP0870: its images, classes or
                labels cannot be used; RCP0780, RCP0781: the tokenizer is invalid, or does not fit the texts; RCP1027:
                a library is not installed.
        """
        self.require()
        from recipelang.images.hub_columns import choose
        from recipelang.images.hub_rows import open_images, read_rows, with_texts
        from recipelang.images.hub_sets import open_hub_set

        data = open_hub_set(self.where, resolve, self.subset, self.revision)
        splits = {"train": self.train, "val": self.val, "test": self.test}
        what, value = ("text", self.text) if self.text else ("image", self.image)
        chosen = choose(data, what, value, self.label, splits, "separated" if self.separator else self.labels)
        named = [split for split, name in splits.items() if name]
        rows = read_rows(data, chosen, self.labels, named, self.separator)
        if self.text:
            return self.opened_texts("huggingface", with_texts(data, rows), resolve)
        return open_images(data, rows, **self.how())
