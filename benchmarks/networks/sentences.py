"""A small text transformer and a task for it, for studies: are two pieces of a sentence in their order?

The sentences are the English captions of Multi30k (Elliott et al. 2016, https://github.com/multi30k/dataset): a folder
with `train.en`, `val.en` and `test_2016_flickr.en`. Two neighbouring pieces of four words are taken from inside each
(its first word, which gives the beginning away, is left out, and so are capitals and punctuation); half of them are
swapped. The vocabulary is that of the training sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

PIECE = 4  # words
WORDS = 2048  # ids: 0 stands for a word that is not among the 2,047 most frequent
HELD = 4000  # sentences of `train.en` that are tested on, with those of `test_2016_flickr.en`
WIDTH, HEADS, LAYERS = 64, 4, 2


def pieces(folder: str = "multi30k") -> tuple[Data, Data, Data]:
    """Training, validation and test: ids of 8 words, int64; 1 where the pieces are swapped."""
    read = {name: _words(Path(folder) / f"{name}.en") for name in ("train", "val", "test_2016_flickr")}
    train, held = read["train"][:-HELD], read["train"][-HELD:]
    frequent = Counter(word for sentence in train for word in sentence).most_common(WORDS - 1)
    ids = {word: number for number, (word, _) in enumerate(frequent, 1)}
    test = _samples(held + read["test_2016_flickr"], ids, 2, set())
    val = _samples(read["val"], ids, 1, test.seen)
    return _samples(train, ids, 0, test.seen | val.seen), val, test


class Data(TensorDataset):
    """Samples, and the pieces that they are made of, whichever comes first."""

    classes = ("in order", "swapped")

    def __init__(self, ids: Tensor, labels: Tensor, seen: set[frozenset[tuple[int, ...]]]) -> None:
        super().__init__(ids, labels)
        self.seen = seen


def _words(file: Path) -> list[list[str]]:
    return [re.findall(r"[a-z0-9']+", line.lower()) for line in file.read_text(encoding="utf-8").splitlines()]


def _samples(sentences: list[list[str]], ids: dict[str, int], seed: int, elsewhere: set) -> Data:  # type: ignore[type-arg]
    """The samples of sentences that are long enough; none that is in another split, and each once."""
    generator = torch.Generator().manual_seed(seed)
    inputs, labels, seen = [], [], set()
    for sentence in sentences:
        numbers = [ids.get(word, 0) for word in sentence[1:]]
        if len(numbers) < 2 * PIECE:
            continue
        start = int(torch.randint(len(numbers) - 2 * PIECE + 1, (), generator=generator))
        swapped = int(torch.randint(2, (), generator=generator))
        first, second = numbers[start : start + PIECE], numbers[start + PIECE : start + 2 * PIECE]
        both = frozenset([tuple(first), tuple(second)])
        if first == second or both in seen or both in elsewhere:
            continue
        seen.add(both)
        inputs.append(second + first if swapped else first + second)
        labels.append(swapped)
    return Data(torch.tensor(inputs), torch.tensor(labels), seen)


class Text(nn.Module):
    """Ids of words → two scores: embeddings of words and places, layers with their norms first, the mean, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Parameter(0.1 * torch.randn(2 * PIECE, WIDTH))
        nn.init.normal_(self.words.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """B×8 int64 → B×2."""
        scores: Tensor = self.head(self.layers(self.words(ids) + self.places).mean(1))
        return scores


def text() -> nn.Module:
    """The network for pieces of sentences."""
    return Text()
