"""What someone needs to use an exported network without recipelang: class names or task, preprocessing, input shape."""

from __future__ import annotations

import json

from recipelang.images.preprocessing import entries
from recipelang.kinds import DEFAULT_TASK
from recipelang.surgery.network import Network


def card(network: Network) -> str:
    """The JSON that exports carry in their files; equal networks give equal text."""
    shown = entries(network.preprocessing) if network.preprocessing else None
    told = {"classes": network.classes, "preprocessing": shown, "input_shape": network.input_shape}
    task = {} if network.task == DEFAULT_TASK else {"task": network.task}
    return json.dumps({**told, **task}, sort_keys=True)
