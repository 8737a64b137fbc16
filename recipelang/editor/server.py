"""The language server: `recipelang.editor` behind the protocol that editors speak, by pygls.

Most answers come from the words of the text alone, at once. Checking takes longer on a long recipe; it waits until
nothing was typed for a moment and runs in a thread of its own.
"""

from __future__ import annotations

import gc
import os
import sys

from recipelang.editor.serving import fixing, naming, structure, texts, words
from recipelang.editor.serving.host import SERVER

#: whose functions answer the editor; they enter themselves where they are defined
ANSWERS = (texts, words, naming, fixing, structure)


def serve() -> None:
    """Talk to an editor over standard input and output until it ends the conversation, or goes away.

    What a plug-in prints goes to standard error, so that it cannot get into the conversation.
    """
    gc.set_threshold(100_000, 20, 50)  # what is known of a long recipe is much, and none of it is garbage
    speech = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    SERVER.start_io(sys.stdin.buffer, speech)
