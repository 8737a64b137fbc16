"""Masks that meet those that a network has already: refused by the plan, where it knows them, and by the run."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import StepFailed

HEAD = "model digits_resnet\ndata digits(batch=32)\n"


@pytest.mark.parametrize(
    ("first", "then", "code", "said"),
    [
        ('sparsify nm 2:4 in "layer1.*"', "sparsify kernels to 50%", "RCP0547", "`layer1.0.conv1.weight` is 2:4"),
        ("sparsify kernels to 50%", "sparsify nm 2:4", "RCP0547", "is 50% sparse in kernels"),
        ("sparsify weights to 90%", "sparsify vectors to 50% over agp(every=1 steps) for 3 steps", "RCP0432", "50%"),
        ("sparsify weights to 90%", "sparsify weights to 50% over deepr for 3 steps", "RCP0432", "write a share of"),
    ],
)
def test_masks_that_exclude_each_other(lab: Any, first: str, then: str, code: str, said: str) -> None:
    done = lab.run(f"{HEAD}{first}\n")
    known = f'model artifact("{done.folder / "main"}")\ndata digits(batch=32)\n{then}\n'
    with pytest.raises(StepFailed) as planned:
        lab.plan(known)
    with pytest.raises(StepFailed) as run:
        lab.run(known)
    for failed in (planned, run):
        [problem] = failed.value.diagnostics
        assert problem.code == code and said in f"{problem.message}; {problem.help}"


def test_what_goes_with_the_masks_that_are_there(lab: Any) -> None:
    others = 'sparsify kernels to 50% except "layer1.*"\nsparsify nm 1:4 in "layer1.*"\n'
    assert lab.run(f'{HEAD}sparsify nm 2:4 in "layer1.*"\n{others}').code == 0
    more = "sparsify weights to 60% over set(every=1 steps) for 3 steps"
    assert lab.run(f"{HEAD}sparsify weights to 50%\n{more}\n", smoke=False).code == 0
