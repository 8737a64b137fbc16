"""Text classifiers of transformers, and texts of a CSV file: the same answers as transformers', and surgery on them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recipelang.catalogue import find
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Inputs, ModelRequest, inputs_of, names_of
from recipelang.surgery import artifact
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input
from recipelang.syntax.parse import parse

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

WORDS = "good bad film plot actor dull bright slow sharp weak great scene story very not a the was is".split()  # noqa: SIM905
SMALL = {"vocab_size": 40, "pad_token_id": 0, "num_labels": 2, "id2label": {0: "bad", 1: "good"}}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
             "max_position_embeddings": 32},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 32},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
                "max_position_embeddings": 34, "pad_token_id": 1},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32, "pad_token_id": None},
}  # fmt: skip


def tokenizer(folder: Path, padding: int = 0) -> None:
    """A tokenizer of whole words, saved as transformers saves one."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    special.insert(padding, special.pop(0))
    names = {word: number for number, word in enumerate([*special, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", names["[CLS]"]), ("[SEP]", names["[SEP]"])]
    )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of every kind, each with its tokenizer, and reviews."""
    root = tmp_path_factory.mktemp("texts")
    for kind, more in CONFIGS.items():
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(kind, **{**SMALL, **more})
        module = transformers.AutoModelForSequenceClassification.from_config(config)
        for parameter in module.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        module.save_pretrained(root / kind)
        tokenizer(root / kind, 1 if kind == "roberta" else 0)
    draw = random.Random(0)
    rows = []
    for _ in range(60):
        words = draw.choices(WORDS[2:], k=draw.randint(2, 12))
        label = draw.choice(["good", "bad"])
        rows.append(f"{' '.join([label, *words])},{label}")
    (root / "reviews.csv").write_text("review,stars\n" + "\n".join([*rows, rows[0], rows[0]]))
    return root


Opens = Callable[..., Any]


@pytest.fixture
def opens(folder: Path) -> Opens:
    def made(file: str = "reviews.csv", **settings: Any) -> Any:
        how = {"text": "review", "label": "stars", "tokenizer": "bert", "length": 10, "batch": 8, **settings}
        return find("data", "csv")(file, **how).open(lambda text: folder / text)  # type: ignore[misc]

    return made


def built(folder: Path, kind: str, data: Any, **settings: Any) -> Network:
    request = ModelRequest(names_of(data), data.input_shape, lambda t: folder / t, inputs=inputs_of(data))
    network: Network = find("model", "huggingface")(kind, **settings).build(request)  # type: ignore[misc]
    return network


def test_texts_become_the_ids_of_the_tokenizer(opens: Opens, folder: Path) -> None:
    data = opens()
    assert (data.input_shape, data.inputs, data.labels.names) == ((10,), Inputs(len(WORDS) + 4, 0), ("bad", "good"))
    ids, labels = next(iter(data.batches("train", batch=4)))
    assert ids.dtype == labels.dtype == torch.int64 and ids.shape == (4, 10)
    known = transformers.AutoTokenizer.from_pretrained(folder / "bert")
    texts = [line.rsplit(",", 1)[0] for line in (folder / "reviews.csv").read_text().splitlines()[1:]]
    expected = known(texts, truncation=True, padding="max_length", max_length=10)["input_ids"]
    rows = {tuple(row) for split in data.texts.values() for row in split.ids.tolist()}
    assert rows == {tuple(row) for row in expected}
    longer = sum(len(known(text)["input_ids"]) > 10 for text in texts)
    assert f"{longer} of 62 texts have more than 10 tokens and are cut" in data.notes


def test_equal_texts_stay_together_and_settings_enter_the_fingerprint(opens: Opens) -> None:
    data = opens()
    rows = {split: {row.tobytes() for row in texts.ids} for split, texts in data.texts.items()}
    assert sum(map(len, rows.values())) == len(set().union(*rows.values()))
    assert min(data.size(split) for split in rows) > 0 and sum(data.size(split) for split in rows) == 62
    assert opens().fingerprint == data.fingerprint
    others = [
        opens(length=8),
        opens(batch=4),
        opens(seed=1),
        opens(tokenizer="roberta"),
        data.part(torch.arange(9).numpy()),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6
    first, again = ([batch.inputs for batch in data.batches("train", epoch=3)] for _ in range(2))
    assert all(map(torch.equal, first, again)) and not torch.equal(first[0], next(data.batches("train")).inputs)


def test_a_lone_tokenizer_file_is_read(opens: Opens) -> None:
    assert opens(tokenizer="bert/tokenizer.json").inputs == opens().inputs


def test_bad_texts_and_tokenizers_are_refused(opens: Opens, folder: Path) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "broken.json").write_text("{")
    (folder / "foreign.csv").write_text("review,stars\nxx yy,a\nzz,b\n")
    (folder / "gaps.csv").write_text("review,stars\ngood,a\n,b\nbad,b\n")
    for settings, code in (
        ({"tokenizer": "empty"}, "RCP0780"),
        ({"tokenizer": "nowhere"}, "RCP0780"),
        ({"tokenizer": "broken.json"}, "RCP0780"),
        ({"file": "foreign.csv"}, "RCP0781"),
        ({"file": "gaps.csv"}, "RCP0854"),
        ({"text": "reviews"}, "RCP0853"),
    ):
        with pytest.raises(Refusal) as refusal:
            opens(**settings)
        assert refusal.value.code == code and refusal.value.help


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('text="review"', "texts need a tokenizer"),
        ('tokenizer="bert"', "`tokenizer` is for texts"),
        ('text="review", tokenizer="bert", size=32', "`size` is for images"),
        ('text="review", tokenizer="bert", length=1', "length"),
    ],
)
def test_check_refuses_settings_that_contradict_each_other(settings: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(parse(f'data csv("reviews.csv", {settings})\n'))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_network_answers_as_transformers_does(folder: Path, opens: Opens, kind: str, tmp_path: Path) -> None:
    data = opens(tokenizer=kind)
    network = built(folder, kind, data)
    assert network.classes == ("bad", "good") and network.inputs == data.inputs
    ids = next(iter(data.batches("train", batch=12))).inputs
    original = transformers.AutoModelForSequenceClassification.from_pretrained(folder / kind).eval()
    padding = data.inputs.padding
    original.config.pad_token_id = padding
    with torch.no_grad():
        expected = original(input_ids=ids, attention_mask=(ids != padding).long()).logits
        assert torch.equal(network.module.eval()(ids), expected)
        shorter = ids[:1, : int((ids[0] != padding).sum())]
        alone = original(input_ids=shorter, attention_mask=torch.ones_like(shorter)).logits
        torch.testing.assert_close(network.module(ids[:1]), alone, rtol=1e-4, atol=1e-5)
    artifact.save(network, tmp_path)
    again = artifact.load(tmp_path)
    assert again.inputs == network.inputs and torch.equal(again.module.eval()(ids), expected)


def test_other_tokenizers_longer_texts_and_larger_vocabularies_are_refused(folder: Path, opens: Opens) -> None:
    data = opens()
    for changed, message in (
        (opens(tokenizer="roberta"), "fills up texts with the id 1, and `bert` leaves out the id 0"),
        (replace(data, inputs=Inputs(41, 0)), "the data has 41 ids, and `bert` has embeddings for 40"),
        (opens(length=33), "texts have 33 tokens, and `bert` has places for 32"),
    ):
        with pytest.raises(Refusal, match=message) as refusal:
            built(folder, "bert", changed)
        assert refusal.value.code == "RCP0782"


def test_without_data_the_folder_says_what_it_is(folder: Path) -> None:
    network = find("model", "huggingface")("bert").build(ModelRequest(resolve=lambda t: folder / t))  # type: ignore[misc]
    assert network.inputs == Inputs(40, 0) and network.input_shape == (32,)
    assert network.module(example_input(network)).shape == (2, 2)


def test_texts_of_a_data_set_are_those_of_a_table(opens: Opens, folder: Path, tmp_path: Path) -> None:
    """The same texts, as rows of the library `datasets`, are divided alike and become the same ids."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    lines = [line.rsplit(",", 1) for line in (folder / "reviews.csv").read_text().splitlines()[1:]]
    kinds = datasets.Features({"review": datasets.Value("string"), "stars": datasets.ClassLabel(names=["bad", "good"])})
    rows = {"review": [text for text, _ in lines], "stars": [label for _, label in lines]}

    def saved(name: str, **columns: list[Any]) -> Any:
        datasets.Dataset.from_dict({**rows, **columns}, features=kinds).save_to_disk(tmp_path / name)
        how = {"text": "review", "tokenizer": "bert", "length": 10, "batch": 8}
        where = {"bert": folder / "bert"}
        return find("data", "huggingface")(name, **how).open(lambda text: where.get(text, tmp_path / text))  # type: ignore[misc]

    data, table = saved("reviews"), opens()
    for split, texts in data.texts.items():
        assert (texts.ids == table.texts[split].ids).all() and (texts.labels == table.texts[split].labels).all()
    assert (data.fingerprint, data.notes[1:], data.classes) == (table.fingerprint, table.notes, table.classes)
    assert data.notes[0] == "`reviews`: label from `stars`"
    with pytest.raises(Refusal) as refusal:
        saved("gaps", review=[*rows["review"][:3], " ", *rows["review"][4:]])
    assert refusal.value.code == "RCP0854" and "`gaps`, train[3]: no `review`" in refusal.value.message
