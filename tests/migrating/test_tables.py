"""What the tables call nearest is here, and no item is translated by two of them."""

from __future__ import annotations

import re

import pytest

from recipelang import verbs
from recipelang.catalogue import FOLDERS, find, names
from recipelang.migrating import distiller, llmcompressor, losses, pruners, sparseml, torchdistill

NEAREST = {**sparseml.NEAREST, **llmcompressor.NEAREST, **pruners.NEAREST, **losses.NEAREST}


@pytest.mark.parametrize("item", NEAREST)
def test_what_is_nearest_is_here(item: str) -> None:
    known = {name for kind in FOLDERS for name in names(kind)} | set(verbs.names())
    quoted = re.findall(r"`([^`]+)`", NEAREST[item])
    assert quoted, NEAREST[item]
    for text in quoted:
        words = set(re.findall(r"[a-z_]+", text))
        assert words & (known | {"weight_decay", "bits"}), text


def test_what_is_translated_is_not_called_missing() -> None:
    assert not set(sparseml.TABLE) & set(sparseml.NEAREST)
    assert not set(pruners.PRUNERS) & set(pruners.NEAREST)
    assert not set(losses.LOSSES) & set(losses.NEAREST)


def test_methods_that_tables_write_exist() -> None:
    for name in {*distiller._QUANTIZERS.values(), *distiller._CLIPPING.values()}:
        assert find("quantizer", name)
    for name, _ in torchdistill._OPTIMIZERS.values():
        assert find("optimizer", name)
