"""From texts to ids of tokens: the tokenizer beside a network, and what it makes of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipelang.errors import Refusal
from recipelang.hub import calm

FILE = "tokenizer.json"
#: files of which transformers makes a tokenizer where there is no `tokenizer.json`
OLDER = ("vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
#: files beside it that say which token pads and which stand at the ends
TOLD = ("tokenizer_config.json", "special_tokens_map.json", "config.json")
CHUNK = 1000  # texts


@dataclass(frozen=True)
class Tokenizer:
    """What makes ids of texts.

    Attributes:
        made: the `tokenizers.Tokenizer`.
        ids: how many ids it knows.
        padding: the id that fills up short texts, and the token that it stands for.
        digest: of everything that decides what it makes.
    """

    made: Any
    ids: int
    padding: int
    token: str
    digest: str

    def tokens(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids int64 N×length, filled up with `padding` at the end, and whether each text was cut (bool N).

        What a network expects at the ends (`[CLS]`, `[SEP]`, `</s>`) is there, in texts that are cut too.
        """
        self.made.enable_truncation(length)
        self.made.enable_padding(length=length, pad_id=self.padding, pad_token=self.token)
        ids, cut = np.empty((len(texts), length), np.int64), np.zeros(len(texts), bool)
        for first in range(0, len(texts), CHUNK):
            some = self.made.encode_batch(list(texts[first : first + CHUNK]))
            ids[first : first + len(some)] = [one.ids for one in some]
            cut[first : first + len(some)] = [bool(one.overflowing) for one in some]
        return ids, cut


def read_tokenizer(path: Path, where: str) -> Tokenizer:
    """The tokenizer of a folder, or of a `tokenizer.json`.

    Args:
        path: a folder as `save_pretrained` writes it, or such a file.
        where: as the recipe names it.

    Raises:
        Refusal: RCP0780: there is none, it is damaged, or it has no token that pads.
    """
    loaded = _loaded(path, where)
    made, padding = loaded.backend_tokenizer, loaded.pad_token_id
    token = loaded.pad_token if padding is not None else loaded.eos_token
    padding = padding if padding is not None else loaded.eos_token_id
    if padding is None:
        raise refused(
            where, "has no token that pads", 'give it one: `tokenizer.add_special_tokens({"pad_token": "…"})`'
        )
    made.no_padding()
    made.no_truncation()
    digest = hashlib.sha256(f"{made.to_str()} {padding}".encode()).hexdigest()
    return Tokenizer(made, len(loaded), int(padding), str(token), digest)


def tokenizer_files(path: Path) -> tuple[Path, ...]:
    """The files that decide what a tokenizer does."""
    if path.is_file():
        return (path,)
    return tuple(file for name in (FILE, *OLDER, "merges.txt", *TOLD) if (file := path / name).is_file())


def _loaded(path: Path, where: str) -> Any:
    """A fast tokenizer of transformers."""
    if path.is_dir() and not any((path / name).is_file() for name in (FILE, *OLDER)):
        raise refused(where, f"has no tokenizer: neither `{FILE}` nor {', '.join(f'`{n}`' for n in OLDER[:2])}, …")
    if not path.exists():
        raise refused(where, "does not exist")
    calm()
    import transformers
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        if path.is_file():
            return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path), **_special(path))
        loaded = transformers.AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # files of others may make their reader raise anything
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise refused(where, f"cannot be read as a tokenizer: {why}") from error
    finally:
        logging.set_verbosity(level)
    if not getattr(loaded, "is_fast", False):
        raise refused(where, "has a tokenizer that the library `tokenizers` does not know", f"save it with a `{FILE}`")
    return loaded


def _special(path: Path) -> dict[str, str]:
    """The token that pads in a lone `tokenizer.json`, which does not say so: by its usual names."""
    from tokenizers import Tokenizer as Read

    vocabulary = Read.from_file(str(path)).get_vocab()
    names = ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<|endoftext|>", "</s>")
    return next(({"pad_token": name} for name in names if name in vocabulary), {})


def refused(where: str, why: str, help: str = "") -> Refusal:
    """The refusal for a tokenizer."""
    usual = (
        'name the folder of the network, in which `tokenizer.save_pretrained(FOLDER)` wrote one: `tokenizer="FOLDER"`'
    )
    return Refusal("RCP0780", f"the tokenizer `{where}` {why}", help or usual)
