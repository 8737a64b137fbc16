"""`data given("Photos")`: data of the program that calls; only from Python and in notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang import given as objects
from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.methods.data._fetching import fetching

if TYPE_CHECKING:
    from recipelang.kinds import Dataset

#: of training, validation and test, where the program gives no data set for a split
SHARES = (0.8, 0.1, 0.1)


@method("data", "given")
@dataclass(frozen=True)
class Given:
    """The data that a program gives: `recipelang.run(recipe, data=photos)`, or `data $photos` in a notebook.

    A torch data set with `__len__` and `__getitem__`, a DataLoader, which gives its data set and batch size, tensors
    `(inputs, targets)`, or a list of samples `[(input, target), …]`; for several splits `{"train": …, "val": …,
    "test": …}`, `(train, test)` or `(train, val, test)` of these. What is missing is cut from the training samples,
    80, 10 and 10 %, class by class, by a hash of the sample: equal samples are never in two splits. The recipe of
    such a run says `given("Photos", content="…")`, which the program writes and nobody needs to.

    Shapes: as of `data python`: inputs are floating-point tensors of any one shape, normalised by the data set; targets
    are the number of a class from 0 up, a vector of 0 and 1 for `task multilabel`, or what the task needs.
    Classes: named by the attribute `classes` of the training data, else numbered.
    When it misleads: as of `data python`. A loader's `collate_fn` is not used, since samples are put together here.
    Source: the program.
    """

    target: ClassVar[str] = ""

    of: str = setting(type="text", positional=True, hashed=False, help="What it is called: its class, or the variable.")
    content: str = setting("", type="text", help="Digest of its code; samples are compared besides.")
    batch: int = setting(32, type="integer", low=1, help="Samples per training batch.")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data; its samples are looked at once in a call of the program.

        Raises:
            Refusal: RCP0922: the program that has it is not the one that asks; RCP0845: a sample is invalid; RCP0808:
                too few samples to be divided; RCP0856: a worker died.
        """
        from recipelang.images.access import current
        from recipelang.images.own import open_own
        from recipelang.surgery.tasks import task_named

        given = objects.found(self.content)
        if given is None:
            raise Refusal(
                "RCP0922",
                f"the data `{self.of}` belongs to a program of Python, which has to give it",
                "call `recipelang.run(…, data=data)`",
            )

        def invalid(message: str, help: str) -> Refusal:
            return Refusal("RCP0845", f"`{self.of}`: {message}", help)

        task = current().task or task_named()
        known: Any = given.opened.get((self, task))
        if known is None:
            opened = open_own(
                given.value.splits,
                code=self.content,
                batch=self.batch,
                shares=SHARES,
                seed=0,
                names=None,
                naming='the training data\'s attribute `classes = ("cat", "dog")`',
                task=task,
                fetch=fetching(invalid),
                refuse=invalid,
                notes=given.notes,
                workers=given.value.workers,
            )
            given.opened[self, task] = known = dataclasses.replace(opened, name=self.of)
        return known
