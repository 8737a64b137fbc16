"""Several labels of each sample: columns of 0 and 1, names in one column, attributes, vectors of a user's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recipelang.catalogue import find
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.access import reading
from recipelang.images.several_labels import strata
from recipelang.images.splits import SPLITS, divide
from recipelang.images.view import seen_by
from recipelang.kinds import Dataset
from recipelang.surgery.tasks import task_named
from recipelang.syntax.parse import parse

COUNT = 30
CATS, DOGS = [k % 2 for k in range(COUNT)], [k % 3 == 0 for k in range(COUNT)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for k in range(COUNT):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


def opened(root: Path, text: str, **how: Any) -> Any:
    (root / "labels.csv").write_text(text)
    method: Any = find("data", "csv")
    return method("labels.csv", **({"size": 8, "batch": 4, "augment": "none"} | how)).open(lambda name: root / name)


def columns(cats: Any = CATS, dogs: Any = DOGS, more: str = "") -> str:
    rows = "".join(f"{k}.png,{int(cats[k])},{dogs[k]}\n" for k in range(COUNT))
    return f"path,cat,dog\n{rows}{more}"


def names(row: dict[int, str]) -> str:
    cells = (row.get(k, ";".join(n for n, held in (("cat", CATS[k]), ("dog", DOGS[k])) if held)) for k in range(COUNT))
    return "path,tags\n" + "".join(f'{k}.png,"{cell}"\n' for k, cell in enumerate(cells))


def rows_of(data: Dataset) -> dict[bytes, list[float]]:
    """Image → labels, of all splits."""
    found = {}
    for split in SPLITS:
        for images, labels in data.batches(split):
            assert labels.dtype == torch.float32
            found |= {image.numpy().tobytes(): row.tolist() for image, row in zip(images, labels, strict=True)}
    return found


def test_columns_and_names_say_the_same(root: Path) -> None:
    by_columns = opened(root, columns(), label=("cat", "dog"))
    by_names = opened(root, names({}), label="tags", separator=";")
    for data in (by_columns, by_names):
        assert (data.target, data.labels.names, data.target_shape) == ("labels", ("cat", "dog"), None)
        assert sum(data.size(split) for split in SPLITS) == COUNT
    assert rows_of(by_columns) == rows_of(by_names) and len(rows_of(by_columns)) == COUNT
    held = np.asarray(list(rows_of(by_columns).values())).sum(0)
    assert held.tolist() == [sum(CATS), sum(DOGS)]
    assert "10 rows of `labels.csv` without any label" in by_names.notes
    assert by_columns.fingerprint == by_names.fingerprint
    other = opened(root, columns([1 - CATS[0], *CATS[1:]]), label=("cat", "dog"))
    assert other.fingerprint != by_columns.fingerprint


def test_splits_of_the_file_are_used(root: Path) -> None:
    text = "".join(
        f"{k}.png,{CATS[k]},{int(DOGS[k])},{('train', 'val', 'test')[max(0, k - 27)]}\n" for k in range(COUNT)
    )
    data = opened(root, f"path,cat,dog,split\n{text}", label=("cat", "dog"))
    assert [data.size(split) for split in SPLITS] == [28, 1, 1]


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("RCP0853", columns(), {"label": ("cat", "bird", "fish")}, "has no columns `bird`, `fish`"),
    ("RCP0853", columns(), {"label": ("cat", "Cat")}, "the column `cat` of `labels.csv` is named twice"),
    ("RCP0853", columns(), {"label": ("cat", "dog"), "path": "dog"}, "cannot be both the path and a label"),
    ("RCP0854", columns(dogs=[2, *DOGS[1:]]), {"label": ("cat", "dog")}, "line 2: `dog` holds `2`"),
    ("RCP0854", columns(dogs=["", *DOGS[1:]]), {"label": ("cat", "dog")}, "line 2: no `dog`"),
    ("RCP0854", columns(dogs=[0.5, -1, *DOGS[2:]]), {"label": ("cat", "dog")}, "lines 2, 3: `dog` holds `0.5`, `-1`"),
    ("RCP0854", columns(more="3.png,0,1\n"), {"label": ("cat", "dog")}, "`3.png` has different labels in two rows"),
    ("RCP0870", columns(dogs=[1] * COUNT), {"label": ("cat", "dog")}, "every training sample of the data has"),
    ("RCP0870", columns(cats=[0] * COUNT), {"label": ("cat", "dog")}, "no training sample of the data has"),
    ("RCP0854", names({}), {"label": "tags", "separator": "|"}, "no cell of the column `tags` of"),
    ("RCP0854", names({2: "cat;\x07"}), {"label": "tags", "separator": ";"}, "is not the name of a label"),
    ("RCP0804", names(dict.fromkeys(range(COUNT), ";")), {"label": "tags", "separator": ";"}, "has no label"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "how", "said"), WRONG, ids=[str(k) for k in range(len(WRONG))])
def test_what_a_table_may_not_say(root: Path, code: str, text: str, how: Any, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        opened(root, text, **how)
    assert refused.value.code == code and said in refused.value.message and refused.value.help


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ('task multilabel\ndata csv("x", label=["cat", "dog"])', []),
        ('task multilabel\ndata csv("x", label="tags", separator=";")', []),
        ('task multilabel\ndata csv("x", label="kind")', ["RCP0438"]),
        ('data csv("x", label=["cat", "dog"])', ["RCP0438"]),
        ('task superresolution\ndata csv("x", label=["cat", "dog"])', ["RCP0438"]),
        ('task multilabel\ndata csv("x", label=["cat", "cat"])', ["RCP0307"]),
        ('task multilabel\ndata csv("x", label=["cat"])', ["RCP0307"]),
        ('task multilabel\ndata csv("x", label=[])', ["RCP0301"]),
        ('task multilabel\ndata csv("x", label=["cat", 5])', ["RCP0302"]),
        ('task multilabel\ndata csv("x", label=["cat", "dog"], separator=";")', ["RCP0307"]),
        ('task multilabel\ndata csv("x", label=["cat", "dog"], labels=text)', ["RCP0307"]),
        ('task multilabel\ndata huggingface("x", label="tags", labels=list)', []),
        ('task multilabel\ndata huggingface("x", label=["cat", "dog"])', []),
        ('task multilabel\ndata huggingface("x", label="tags", separator=";")', []),
        ('task multilabel\ndata huggingface("x", label="tags")', ["RCP0438"]),
        ('data huggingface("x", label="tags", labels=list)', ["RCP0438"]),
        ('task multilabel\ndata huggingface("x", label=["cat", "dog"], labels=list)', ["RCP0307"]),
        ('task multilabel\ndata webdataset("x.tar", label="json.tags", labels=list)', []),
        ('task multilabel\ndata webdataset("x.tar", label="txt", separator=";")', []),
        ('task multilabel\ndata webdataset("x.tar")', ["RCP0438"]),
        ('task multilabel\ndata webdataset("x.tar", separator=";", labels=list)', ["RCP0307"]),
        ('task multilabel\ndata torchvision.CelebA("x")', []),
        ('data torchvision.CelebA("x")', ["RCP0438"]),
        ('task multilabel\ndata torchvision.MNIST("x")', ["RCP0438"]),
        ("task multilabel\ndata digits", ["RCP0438"]),
    ],
)
def test_check_compares_what_the_settings_give(line: str, codes: list[str]) -> None:
    found: list[Any] = []
    model = "srresnet" if "super" in line else "digits_resnet"
    try:
        check(parse(f"{line}\nmodel {model}\nfinetune for 1 epochs", "test.rcp"))
    except RecipeError as error:
        found = error.diagnostics
    assert [one.code for one in found] == codes
    for one in found:
        assert one.help and (one.code != "RCP0438" or "`task " in one.help)


def test_texts_may_have_several_labels(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", *(f"w{k}" for k in range(COUNT))]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: k for k, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.enable_padding(pad_id=0, pad_token="[PAD]")
    made.save(str(tmp_path / "tokenizer.json"))
    rows = "".join(f"w{k} w{(7 * k) % COUNT},{CATS[k]},{int(DOGS[k])}\n" for k in range(COUNT))
    (tmp_path / "texts.csv").write_text(f"review,glad,long\n{rows}")
    method: Any = find("data", "csv")
    how = {"text": "review", "tokenizer": "tokenizer.json", "length": 4, "label": ("glad", "long")}
    data = method("texts.csv", **how).open(lambda name: tmp_path / name)
    assert (data.target, data.labels.names) == ("labels", ("glad", "long"))
    ids, labels = next(iter(data.batches("train", epoch=0)))
    assert ids.dtype == torch.int64 and labels.dtype == torch.float32
    for row, label in zip(ids.tolist(), labels.tolist(), strict=True):
        assert label == [CATS[row[0] - 2], int(DOGS[row[0] - 2])]


def test_attributes_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    base = tmp_path / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    listed: dict[str, list[str]] = {"attr": ["24", "Young Smiling Bald "], "bbox": ["24", "a b"], "land": ["24", "a b"]}
    parts, identities = [], []
    for k in range(24):
        name = f"{k:06d}.jpg"
        Image.fromarray(np.full((20, 16, 3), 10 * k, np.uint8)).save(base / "img_align_celeba" / name)
        listed["attr"].append(f"{name} {1 if k % 2 else -1}  {1 if k % 3 else -1} {-1 if k % 5 else 1}")
        listed["bbox"].append(f"{name} 1 2")
        listed["land"].append(f"{name} 1 2")
        parts.append(f"{name} {max(0, (k - 18) // 2)}")
        identities.append(f"{name} {k}")
    for file, key in (
        ("list_attr_celeba", "attr"),
        ("list_bbox_celeba", "bbox"),
        ("list_landmarks_align_celeba", "land"),
    ):
        (base / f"{file}.txt").write_text("\n".join(listed[key]) + "\n")
    (base / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (base / "identity_CelebA.txt").write_text("\n".join(identities) + "\n")
    method: Any = find("data", "torchvision")
    data = method(collection="CelebA", root="sets", size=16, batch=4).open(lambda _: tmp_path)
    assert (data.target, data.labels.names) == ("labels", ("Young", "Smiling", "Bald"))
    assert [data.size(split) for split in SPLITS] == [20, 2, 2]
    images = data.images["train"]
    wanted = [[k % 2, int(k % 3 > 0), int(k % 5 == 0)] for k in range(20)]
    assert images.labels.tolist() == wanted
    brightness = [round(float(images.images[k].mean()) / 10) for k in range(20)]
    assert brightness == list(range(20)), "each label row is that of its image"


OWN = """
import torch
from torch.utils.data import TensorDataset
def build():
    x = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = torch.stack([torch.arange(40) % 2, torch.arange(40) % 3 == 0], 1)
    {}
"""


def of_code(folder: Path, body: str, task: str, **how: Any) -> Any:
    (folder / "data.py").write_text(OWN.format(body))
    with reading(trust=True, task=task_named(task)):
        return find("data", "python")("data.py:build", batch=4, **how).open(lambda name: folder / name)  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["y", "y.float()", "y.bool()", "y.byte()"])
def test_own_data_gives_vectors(tmp_path: Path, kind: str) -> None:
    data = of_code(tmp_path, f"return TensorDataset(x, {kind})", "multilabel", classes="even, third")
    assert (data.target, data.labels.names, data.target_shape) == ("labels", ("even", "third"), None)
    labels = torch.cat([targets for split in SPLITS for _, targets in data.batches(split)])
    assert labels.dtype == torch.float32 and labels.sum(0).tolist() == [20, 14]


@pytest.mark.parametrize(
    ("task", "body", "code", "said"),
    [
        ("classification", "return TensorDataset(x, y)", "RCP0845", "task multilabel"),
        ("multilabel", "return TensorDataset(x, y[:, 0])", "RCP0845", "task classification"),
        ("multilabel", "return TensorDataset(x, y * 2)", "RCP0845", "not a 0 or 1 for each label"),
        ("multilabel", "return TensorDataset(x, y / 0)", "RCP0845", "not a 0 or 1 for each label"),
        ("multilabel", "return TensorDataset(x, y[:, :1])", "RCP0845", "there is one label"),
        ("multilabel", "return [(x[k], [0, 1, 1][: 2 + k % 2]) for k in range(9)]", "RCP0845", "sample 1 of `train`"),
        ("multilabel", "return TensorDataset(x, y), TensorDataset(x, torch.cat([y, y], 1))", "RCP0845", "have 4"),
        ("multilabel", "return TensorDataset(x, torch.ones(40, 2))", "RCP0870", "every training sample"),
        ("multilabel", "d = TensorDataset(x, y); d.classes = ['a', 'b', 'c']; return d", "RCP0845", "have 2 labels"),
    ],
)  # fmt: skip
def test_what_own_data_may_not_give(tmp_path: Path, task: str, body: str, code: str, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        of_code(tmp_path, body, task)
    assert refused.value.code == code and said in refused.value.message + refused.value.help


def test_labels_are_matched_to_outputs_by_name(root: Path) -> None:
    data = opened(root, columns(), label=("cat", "dog"))
    seen = seen_by(data, ("dog", "cat"), None)
    for (images, labels), (same, turned) in zip(data.batches("val"), seen.batches("val"), strict=True):
        assert torch.equal(images, same) and torch.equal(labels.flip(1), turned)
    for classes, said in ((("dog", "cat", "bird"), "does not say whether"), (("dog", "bird"), "does not know")):
        with pytest.raises(Refusal) as refused:
            seen_by(data, classes, None)
        assert refused.value.code == "RCP0819" and said in refused.value.message


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(60, 200), st.integers(2, 6))
def test_rare_labels_are_divided_evenly(seed: int, count: int, width: int) -> None:
    random = np.random.default_rng(seed)
    labels = (random.random((count, width)) < random.uniform(0.02, 0.6, width)).astype(np.int64)
    found = strata(labels)
    assert found.min() >= 0 and found.max() <= width
    for k in range(width):
        assert labels[found == k, k].all() or (found == k).sum() >= 10
    digests = [bytes(random.integers(0, 256, 32, dtype=np.uint8)) for _ in range(count)]
    parts = divide(digests, found.tolist(), (0.6, 0.2, 0.2), 0, [str(k) for k in range(width + 1)])
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    rarest = int(labels.sum(0).argmin())
    if labels[:, rarest].sum() >= 10:  # divided on its own
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
            assert abs(labels[part, rarest].sum() - share * labels[:, rarest].sum()) <= 2


def test_embedded_images_show_their_labels() -> None:
    data: Any = find("data", "several_digits")(augment="none").open(Path)  # type: ignore[misc]
    digits: Any = find("data", "digits")(augment="none").open(Path)  # type: ignore[misc]
    assert (data.target, data.labels.names, data.input_shape) == ("labels", tuple("0123456789"), (1, 16, 16))
    for split in SPLITS:
        known = {
            image.tobytes(): int(label)
            for image, label in zip(digits.images[split].images, digits.images[split].labels, strict=True)
        }
        for image, row in zip(data.images[split].images, data.images[split].labels, strict=True):
            corners = [image[r : r + 8, c : c + 8] for r in (0, 8) for c in (0, 8)]
            there = [known[corner.tobytes()] for corner in corners if corner.any()]
            assert 1 <= len(there) <= 3 and set(there) == set(np.flatnonzero(row).tolist())
