"""`data webdataset("train-{000..009}.tar")`: images in shards of WebDataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.methods.data._images import ImageSettings
from recipelang.methods.data._labels import require_one_form, target_of

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "webdataset")
@dataclass(frozen=True)
class WebDataset(ImageSettings):
    """Images in shards of WebDataset: `webdataset("train-{000..009}.tar", val="val-{000..001}.tar")`.

    What: tar files in which the files of one sample have one name and follow each other: `0001.jpg`, `0001.cls`. A
    pattern has braces, or `*`, or is a folder of `.tar` files; `::` separates several. `image` names the member that is
    the image, where a sample has several (`jpg`, or alternatives as in `jpg;png`); `label` that of the class: `cls`
    by default, else a field of a JSON file with a usual name, or as written: `json.species`. Addresses, commands and
    compressed shards are refused, and nothing is unpickled.
    Classes: as of `csv`.
    Several labels, for `task multilabel`: `labels=list` takes a list of names or numbers from a field of JSON
    (`label="json.tags"`), an object that says 0 or 1 of each (`{"cat": 1, "dog": 0}`), or a text with a label in each
    line; `label=["json.cat", "json.dog"]` names the fields of 0 and 1 where there are others beside them;
    `separator=";"` takes a text with names in one line. What is empty has none. All else as of `csv`.
    Splits: `val` and `test` have shards of their own, or are cut from `train` by `split`, sample by sample and class by
    class, by a hash of (seed, bytes), as of `folder`: copies of an image are never in two splits that are cut.
    Order: an index of each shard is made once and kept. Samples are then read in any order, so an epoch shuffles all of
    them, by its seed, and is the same with any number of threads, also where a training goes on after a kill.
    Shapes, range and augmentation: as of `folder`. An image is named by shard and key in messages.
    Needs: `pip install "recipelang[webdataset]"`.
    When it misleads: reading in any order is slow on disks that turn and on some network drives; copy shards to a disk
    without moving parts. Only byte-equal copies are recognised.
    Source: https://github.com/webdataset/webdataset.
    """

    targets: ClassVar[Mapping[str, str]] = {
        "class": "name a member of one class, without `separator` and `labels=list`",
        "labels": 'write `labels=list` for lists, 0 or 1 of each, or lines; `separator=";"` for names in one line',
    }

    train: str = setting(type="text", positional=True, hashed=False, help="Shards to train on.")
    val: str = setting("", type="text", hashed=False, help="Shards that validate.")
    test: str = setting("", type="text", hashed=False, help="Shards that test.")
    image: str = setting("", type="text", help="Extension of the images: `jpg`, `jpg;png`.")
    label: str | tuple[str, ...] = setting(
        "",
        type="texts",
        help="Extension of the classes, `cls`, or a field of JSON, `json.species`; or several of 0 and 1.",
    )
    separator: str = setting(
        "", type="text", later=True, help="Between the names of labels in a text, where a sample may have several."
    )
    labels: str = setting(
        "auto",
        type="word",
        choices=("auto", "text", "list"),
        help="`text`: labels are names even if some look like numbers; `list`: each sample has a list of them.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_form(self.label, self.separator, self.labels)

    @property
    def target(self) -> str:
        """`labels` where a sample may have several, else `class`."""
        return target_of(self.label, self.separator, self.labels)

    def require(self) -> None:
        """Refuse where the library is not installed (RCP1027)."""
        from recipelang.extras import require_libraries

        require_libraries("data webdataset", ("webdataset", "braceexpand"), "webdataset")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0862 to RCP0864: shards or samples are missing, damaged or incomplete; RCP0853, RCP0854: their
                labels are invalid; RCP0803 to RCP0808, RCP0810, RCP0820, RCP0870: images or labels cannot be used;
                RCP1027: the library is not installed.
        """
        self.require()
        from recipelang.images.shard_sets import open_shards

        patterns = {part: text for part in ("train", "val", "test") if (text := getattr(self, part)) or part == "train"}
        return open_shards(
            patterns,
            resolve,
            image=self.image,
            label=self.label,
            labels=self.labels,
            separator=self.separator,
            **self.how(),
        )
