"""The rows of `recipe layers`."""

from __future__ import annotations

import json

from recipelang.methods.patterns.nm import NM
from recipelang.surgery.listing import describe_layers
from recipelang.surgery.network import Network


def test_every_module_has_a_row(digits: Network) -> None:
    rows = describe_layers(digits)
    assert [row["layer"] for row in rows] == [path for path, _ in digits.module.named_modules() if path]
    by_name = {row["layer"]: row for row in rows}
    assert by_name["conv1"] == {
        "layer": "conv1",
        "type": "Conv2d",
        "shape": [16, 1, 3, 3],
        "parameters": 144,
        "removable": "",
        "stays": "",
        "pattern": "2:4",
        "eligible": False,
        "why": "1 input channel is not a multiple of 4",
    }
    assert by_name["layer1.0"]["removable"] == "residual"
    assert by_name["layer2.0"]["removable"] == ""
    assert by_name["linear"]["eligible"] is True
    assert by_name["bn1"]["eligible"] is None
    assert json.loads(json.dumps(rows)) == rows


def test_another_pattern_may_be_asked_about(digits: Network) -> None:
    rows = {row["layer"]: row for row in describe_layers(digits, NM(1, 32))}
    assert rows["linear"]["eligible"] is True and rows["layer1.0.conv1"]["eligible"] is False
    assert rows["linear"]["pattern"] == "1:32"
