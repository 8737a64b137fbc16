"""What someone needs to use an exported network without recipelang: class names, preprocessing, input shape."""

from __future__ import annotations

import json

from recipelang.images.preprocessing import entries
from recipelang.surgery.network import Network


def card(network: Network) -> str:
    """The JSON that exports carry in their files; equal networks give equal text."""
    shown = entries(network.preprocessing) if network.preprocessing else None
    return json.dumps(
        {"classes": network.classes, "preprocessing": shown, "input_shape": network.input_shape}, sort_keys=True
    )
