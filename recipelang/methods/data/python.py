"""`data python("data.py:build")`: data that the user's own code reads; only under `--trust`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.methods.data._fetching import fetching
from recipelang.methods.data._images import require_shares

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "python")
@dataclass(frozen=True)
class Python:
    """The torch data sets that a function of a Python file returns: `python("data.py:build", root="photos")`.

    The function gets the other settings as keywords. It returns data sets for training, validation and test, as
    `(train, val, test)`, `(train, test)`, a dictionary or an object with these names; or one data set. What is missing
    is cut from the training samples by `split`, class by class, by a hash of (seed, sample): equal samples are never in
    two splits. A data set has `__len__` and `__getitem__`; a sample is `(input, target)`. The file runs only under
    `--trust`; modules beside it can be imported, as of `model python`.
    Shapes: inputs are tensors of any one shape, of floating-point numbers, normalised by the code, or of whole numbers
    from 0 up, the ids of tokens (int16, int32 or int64). Targets are as the task needs them: the number of a class from
    0 up; a vector of 0 and 1, one for each label, for `multilabel`; or a floating-point tensor, an image of 0…1 for
    super-resolution.
    Classes or labels: named by `classes`, else by the attribute `classes` of the training data, else numbered. Of
    labels, the rarest that a sample has decides with which others it is divided.
    Random numbers that the code draws for a sample, with torch, numpy or random, depend on the seed, the epoch and the
    sample alone; measuring and ranking see the same ones each time.
    When it misleads: every sample is read once before the run, to know it again: a changed sample or file of code runs
    the steps again. Augmentation in `__getitem__` also acts on validation and test, unless they are data sets of their
    own.
    Workers: `workers=4` reads samples in four processes (on Linux and macOS), a few batches ahead; the samples are the
    same for any number. A worker that dies is an error that names the sample.
    Source: the file.
    """

    target: ClassVar[str] = ""

    where: str = setting(type="text", positional=True, help="`file.py:function`, relative to the recipe.")
    batch: int = setting(32, type="integer", low=1, help="Samples per training batch.")
    classes: str = setting("", type="text", help='Names of the classes: `classes="cat, dog"`; default the data\'s own.')
    split: tuple[float, ...] = setting(
        (0.8, 0.1, 0.1), type="numbers", help="Shares of training, validation and test, where they are not returned."
    )
    seed: int = setting(0, type="integer", low=0, help="Seed of the division.")
    workers: int = setting(0, type="integer", low=0, high=64, hashed=False, help="Processes that read samples.")
    extra: tuple[tuple[str, Any], ...] = setting((), type="any", extra=True, help="Settings for the function.")

    def __post_init__(self) -> None:
        file, _, function = self.where.rpartition(":")
        if not file.endswith(".py") or not function.isidentifier():
            raise SettingError(
                "where",
                f"`{self.where}` does not name a function in a Python file",
                'write the file and the function, as in `python("data.py:build")`',
            )
        require_shares(self.split)

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0711: no trust; RCP0844: the code fails or returns no data sets; RCP0845: a sample is invalid;
                RCP0808: too few samples to be divided; RCP0856: a worker died.
        """
        from recipelang.images.access import current
        from recipelang.images.own import open_own
        from recipelang.images.samples import splits_of
        from recipelang.surgery.code import call_function
        from recipelang.surgery.tasks import task_named

        if not current().trust:
            raise Refusal(
                "RCP0711",
                f'`python("{self.where}")` runs code of that file, which is not permitted',
                "read the file; if you trust it, add `--trust`",
            )
        file, _, function = self.where.rpartition(":")
        named = f"`{function}` of `{Path(file).name}`"

        def invalid(message: str, help: str) -> Refusal:
            return Refusal("RCP0845", f"{named}: {message}", help)

        ran = call_function(resolve(file), function, dict(self.extra), "the data sets", _refused)
        names = tuple(name.strip() for name in self.classes.split(",")) if self.classes else None
        return open_own(
            splits_of(ran.value, lambda message, help: _refused(f"{named}: {message}", help)),
            code=ran.code.digest,
            batch=self.batch,
            shares=self.split,
            seed=self.seed,
            names=names,
            naming='`classes="cat, dog"`',
            task=current().task or task_named(),
            fetch=fetching(invalid),
            refuse=invalid,
            notes=ran.notes,
            workers=self.workers,
        )


def _refused(message: str, help: str) -> Refusal:
    return Refusal("RCP0844", message, help)
