"""Texts with classes become a data set of token ids (`kinds.Dataset`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.dataset import fingerprint
from recipelang.images.draws import course, fingerprint_of_part
from recipelang.images.several_labels import NONE, require_varied, strata
from recipelang.images.splits import SPLITS, divide
from recipelang.images.tokens import Tokenizer
from recipelang.kinds import Batch, Inputs, Labels
from recipelang.lazy import torch


class Labelled(Protocol):
    """Texts with their classes, before tokens are made of them.

    Attributes:
        name: what holds them, for messages.
        values: the texts.
        labels: class number of each, or a 0 or 1 for each label.
        splits: `train`, `val` or `test` of each; a split that no text has is cut from `train`.
        classes: their names.
        notes: what the user is told.
    """

    @property
    def name(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...
    @property
    def labels(self) -> Sequence[Any]: ...
    @property
    def splits(self) -> Sequence[str]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    def at(self, chosen: Sequence[int]) -> str:
        """Where these texts are, for messages."""


@dataclass(frozen=True)
class Texts:
    """The texts of one split.

    Attributes:
        ids: int64 N×length.
        labels: int64 N, or float32 N×C of 0 and 1.
    """

    ids: np.ndarray
    labels: np.ndarray

    def take(self, chosen: np.ndarray) -> Texts:
        """Those at these places."""
        return Texts(self.ids[chosen], self.labels[chosen])


@dataclass(frozen=True)
class TextDataset:
    """Texts for classification; see `kinds.Dataset` for what the attributes and methods guarantee.

    Attributes:
        inputs: the ids of the tokenizer, and the one that fills up short texts.
        texts: split → its texts, in memory.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    batch: int
    inputs: Inputs
    texts: Mapping[str, Texts]
    notes: tuple[str, ...] = ()
    preprocessing: None = None  # of images
    target_shape: None = None  # a label has no shape that an answer must have
    augments: bool = False

    @property
    def target(self) -> str:
        """One class per text, or several labels."""
        return "class" if self.texts["train"].labels.ndim == 1 else "labels"

    @property
    def labels(self) -> Labels:
        """The names of the classes."""
        return Labels(self.classes)

    @property
    def input_shape(self) -> tuple[int]:
        """(tokens,)."""
        return (self.texts["train"].ids.shape[1],)

    def part(self, chosen: np.ndarray) -> TextDataset:
        """The same with only these training texts (sorted numbers)."""
        key = fingerprint_of_part(self.fingerprint, chosen)
        return replace(self, fingerprint=key, texts={**self.texts, "train": self.texts["train"].take(chosen)})

    def size(self, split: str) -> int:
        """Number of texts in `train`, `val` or `test`."""
        return len(self._split(split).labels)

    def drawn(self, *, samples: int | None = None, epoch: int | None = None, seed: int = 0) -> np.ndarray:
        """The numbers of the training samples in the order of `batches`; see `kinds.Dataset`."""
        return course(seed, self.size("train"), samples, epoch, self.batch)

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[Batch]:
        """Batches of ids int64 B×length, with labels int64 B or float32 B×C; see `kinds.Dataset.batches`.

        Raises:
            Refusal: RCP0818 the split is empty.
        """
        texts = self._split(split)
        count = batch or self.batch
        chosen = course(seed, len(texts.labels), samples, epoch, count)
        if epoch is not None:
            count = min(count, len(chosen))
        for first in range(start * count, len(chosen), count):
            some = texts.take(chosen[first : first + count])
            yield Batch(torch.from_numpy(some.ids), torch.from_numpy(some.labels))

    def _split(self, split: str) -> Texts:
        texts = self.texts[split]
        if not len(texts.labels):
            help = f"give the split a share in `split=[…]`, in the order {', '.join(SPLITS)}"
            raise Refusal("RCP0818", f"the data set `{self.name}` has no `{split}` texts", help)
        return texts


def open_texts(
    name: str,
    found: Labelled,
    tokenizer: Tokenizer,
    *,
    length: int,
    batch: int,
    shares: tuple[float, ...],
    seed: int,
) -> TextDataset:
    """The data set of listed texts.

    Texts that are equal to the network, as rows of ids, stay together where splits are cut.

    Args:
        found: texts, classes and perhaps splits.
        length: tokens of an input: shorter texts are filled up, longer ones are cut.
        shares: of train, val and test; a split that no row has is cut from `train` by its share.
        seed: of the division.

    Raises:
        Refusal: RCP0781: the texts say nothing to this tokenizer; RCP0808: a class has too few texts to be divided;
            RCP0870: a label is the same for all training texts.
    """
    ids, cut = tokenizer.tokens(found.values, length)
    _require_tokens(ids, tokenizer, found)
    digests = [hashlib.sha256(row.tobytes()).digest() for row in ids]
    labels, splits = np.asarray(found.labels, np.int64), np.asarray(found.splits)
    places = {split: np.flatnonzero(splits == split) for split in SPLITS}
    places |= _cut(places, digests, found, shares, seed)
    if labels.ndim == 2:
        require_varied(labels[places["train"]], found.classes, f"`{found.name}`")
    key = fingerprint(
        {split: [digests[k] for k in places[split]] for split in SPLITS},
        labels={split: labels[places[split]].tolist() for split in SPLITS},
        classes=found.classes,
        batch=batch,
        tokenizer=tokenizer.digest,
        length=length,
    )
    if labels.ndim == 2:
        labels = labels.astype(np.float32)
    texts = {split: Texts(ids[where], labels[where]) for split, where in places.items()}
    notes = (*found.notes, *_notes(cut, digests, places, length))
    return TextDataset(name, found.classes, key, batch, Inputs(tokenizer.ids, tokenizer.padding), texts, notes)


def _require_tokens(ids: np.ndarray, tokenizer: Tokenizer, found: Labelled) -> None:
    """Refuse texts of which the tokenizer keeps nothing but what it puts around every text."""
    ends, _ = tokenizer.tokens([""], ids.shape[1])  # what it puts around every text
    told = ~np.isin(ids, [*ends.flat, tokenizer.padding])
    if len(empty := np.flatnonzero(~told.any(1))):
        message = f"{found.at(empty.tolist())}: the tokenizer makes no token of the text"
        raise Refusal("RCP0781", message, "remove them, or use the tokenizer of a network for such texts")
    unknown = tokenizer.made.token_to_id(str(getattr(tokenizer.made.model, "unk_token", None)))
    if unknown is not None and not (told & (ids != unknown)).any():
        message = f"the tokenizer knows no word of `{found.name}`"
        raise Refusal("RCP0781", message, "use the tokenizer of a network for such texts")


def _cut(
    places: Mapping[str, np.ndarray],
    digests: Sequence[bytes],
    found: Labelled,
    shares: tuple[float, ...],
    seed: int,
) -> dict[str, np.ndarray]:
    """Split → places of its texts, for `train` and the splits that are missing and have a share."""
    missing = [split for split in ("val", "test") if not len(places[split])]
    wanted = {split: shares[SPLITS.index(split)] for split in ("train", *missing)}
    if not missing or not sum(wanted[split] for split in missing):
        return {}
    train = places["train"]
    some, labels = [digests[k] for k in train], np.asarray(found.labels, np.int64)[train]
    if labels.ndim == 2:
        labels = strata(labels)
    whole = sum(wanted.values())
    of = (*found.classes, NONE)
    parts = divide(some, labels.tolist(), [w / whole for w in wanted.values()], seed, of, "text")
    return {split: train[part] for split, part in zip(wanted, parts, strict=True)}


def _notes(cut: np.ndarray, digests: Sequence[bytes], places: Mapping[str, np.ndarray], length: int) -> tuple[str, ...]:
    """How many texts were cut, and which are in two splits."""
    notes = []
    if cut.any():
        notes.append(f"{int(cut.sum())} of {len(cut)} texts have more than {length} tokens and are cut")
    train = {digests[k] for k in places["train"]}
    for split in ("val", "test"):
        shared = sum(digests[k] in train for k in places[split])
        if shared:
            notes.append(f"{shared} of the {len(places[split])} texts of `{split}` are also in `train`")
    return tuple(notes)
