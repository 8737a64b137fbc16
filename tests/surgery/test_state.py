"""A network says itself what it is made of: every field of it and of every restriction reaches digest and artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Inputs, Preprocessing, Restriction, Scheme
from recipelang.methods.models.artifact import Artifact
from recipelang.run.states import architecture
from recipelang.surgery import artifact
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.manifest import VERSION
from recipelang.surgery.network import Accelerated, Network, content
from recipelang.surgery.restricting import broken, hold, on_device, restrict
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.restrictions.shared import Shared
from recipelang.surgery.weights import digest

PLACE = "layer1.0.conv1.weight"
ROWS = Scheme(8, signed=True, symmetric=True, axis=0)


def keep(generator: int = 0) -> Tensor:
    return torch.rand(16, 16, 3, 3, generator=torch.Generator().manual_seed(generator)) < 0.5


#: kind → a restriction of it, and for every field another value
EXAMPLES: dict[str, tuple[Callable[[], Any], dict[str, Callable[[], Any]]]] = {
    "mask": (lambda: Mask("some", keep()), {"pattern": lambda: "2:4", "keep": lambda: keep(1)}),
    "grid": (
        lambda: Grid(torch.full((16,), 0.1), torch.zeros(16, dtype=torch.int32), ROWS),
        {
            "scale": lambda: torch.full((16,), 0.2),
            "zero": lambda: torch.ones(16, dtype=torch.int32),
            "scheme": lambda: replace(ROWS, bits=4),
            "trained": lambda: "lsq",
        },
    ),
    "dynamic": (Dynamic, {}),
    "codebook": (
        lambda: Codebook.of(torch.tensor([-0.1, 0, 0.1]).repeat(16, 1), axis=0),
        {
            "levels": lambda: torch.tensor([-0.2, 0.1]).repeat(16, 1),
            "axis": lambda: 1,
            "trained": lambda: "ttq",
            "edges": lambda: torch.tensor([-0.01, 0.01]).repeat(16, 1),
        },
    ),
    "shared": (
        lambda: Shared(groups(), 4),
        {"codes": lambda: groups(1), "count": lambda: 5, "gradient": lambda: "mean"},
    ),
}


def groups(generator: int = 0) -> Tensor:
    return torch.randint(-1, 4, (16, 16, 3, 3), generator=torch.Generator().manual_seed(generator)).to(torch.int16)


@pytest.fixture
def network(digits: Network) -> Network:
    smaller = apply_edits(digits, [RemoveLayer("layer1.2", ("layer1.2",))])
    settled = replace(
        smaller,
        preprocessing=Preprocessing((8, 8), (0.3,), (0.4,)),
        accelerated=Accelerated(("linear",), ("dense",), "latency"),
    )
    return restrict(settled, {PLACE: EXAMPLES["mask"][0]()})


def other_weights(network: Network) -> Network:
    changed = network.clone()
    with torch.no_grad():
        changed.module.linear.bias[0] += 1e-6  # type: ignore[union-attr, index]
    return changed


CHANGES: dict[str, Callable[[Network], Network]] = {
    "module": other_weights,
    "source": lambda n: replace(n, source={**n.source, "files": {"net.py": "0" * 64}}),
    "input_shape": lambda n: replace(n, input_shape=(1, 8, 16)),
    "edits": lambda n: apply_edits(n, [RemoveLayer("layer2.2", ("layer2.2",))]),
    "restrictions": lambda n: replace(n, restrictions={}),
    "classes": lambda n: replace(n, classes=("zero", *n.classes[1:])),
    "preprocessing": lambda n: replace(n, preprocessing=Preprocessing((8, 8), (0.3,), (0.5,))),
    "accelerated": lambda n: replace(n, accelerated=None),
    "encoded": lambda n: replace(n, encoded="huffman"),
    "inputs": lambda n: replace(n, inputs=Inputs(5)),
}
#: found again by whoever builds the network from the others
FOUND_AGAIN = {"habits"}


def same(one: Network, two: Network) -> bool:
    """Whether two networks are equal field by field, without asking them to describe themselves."""
    first, second = one.module.state_dict(), two.module.state_dict()
    weights = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    names = [f.name for f in fields(Network) if f.name not in {"module", "restrictions", *FOUND_AGAIN}]
    plain = all(getattr(one, name) == getattr(two, name) for name in names)
    return weights and plain and alike(one.restrictions, two.restrictions)


def alike(one: Any, two: Any) -> bool:
    if one.keys() != two.keys():
        return False
    pairs = [(a, b) for place in one for a, b in zip(one[place], two[place], strict=False)]
    return all(len(one[place]) == len(two[place]) for place in one) and all(
        type(a) is type(b) and all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)) for a, b in pairs
    )


def equal(one: Any, two: Any) -> bool:
    return torch.equal(one, two) if isinstance(one, Tensor) else bool(one == two)


def test_every_field_is_changed_here() -> None:
    assert {f.name for f in fields(Network)} == set(CHANGES) | FOUND_AGAIN
    assert set(EXAMPLES) == set(catalogue.names("restriction"))
    for example, changes in EXAMPLES.values():
        assert {f.name for f in fields(example())} == set(changes)


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_is_noticed(field: str, network: Network, tmp_path: Path) -> None:
    changed = CHANGES[field](network)
    assert content(network) == content(network.clone()) and content(changed) != content(network)
    assert (changed.described(), len(changed.tensors())) != (network.described(), 0)
    artifact.save(network, tmp_path / "one")
    with pytest.raises(Refusal):
        artifact.require_readable(changed, tmp_path / "one")
    if field not in ("source", "inputs"):  # that file is not there, and convolutions take no ids (tests/text)
        artifact.save(changed, tmp_path / "two")
        artifact.require_readable(changed, tmp_path / "two")
        assert same(artifact.load(tmp_path / "two"), changed) and not same(changed, network)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, (_, more) in EXAMPLES.items() for field in more])
def test_a_changed_field_of_a_restriction_is_noticed(kind: str, field: str, digits: Network, tmp_path: Path) -> None:
    example, changes = EXAMPLES[kind]
    one = restrict(digits, {PLACE: example()})
    other = restrict(digits, {PLACE: replace(example(), **{field: changes[field]()})})
    assert content(one.clone()) == content(one) != content(other)
    artifact.save(other, tmp_path)
    assert same(artifact.load(tmp_path), other) and not same(one, other)
    with pytest.raises(Refusal, match="is not read as it was written"):
        artifact.require_readable(replace(one, module=other.module), tmp_path)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_restriction_is_what_it_says(kind: str, digits: Network) -> None:
    """The protocol's promises, for every kind."""
    one: Restriction = EXAMPLES[kind][0]()
    weight = digits.module.get_parameter(PLACE)
    assert one.kind == kind == Path(catalogue.folder("restriction") / f"{kind}.py").stem and one.name
    assert json.loads(json.dumps(one.json())) == one.json()
    again = type(one).read(one.json(), one.tensors())
    assert alike({PLACE: (again,)}, {PLACE: (one,)})
    assert alike(on_device({PLACE: (one,)}, "cpu"), {PLACE: (one,)})
    applied = one.apply(weight)
    assert applied.shape == weight.shape and torch.equal(one.apply(applied), applied)
    applied.sum().backward()
    assert weight.grad is not None
    cut = one.carried(weight.shape, lambda tensor: tensor[4:])
    assert one.why_not(weight) == ""
    if kind == "dynamic":  # keeps no range: it fits everything, and the range of a part is another one
        assert cut == one and one.why_not(weight[:3]) == ""
    else:
        assert one.why_not(weight[:3]) != "" and torch.equal(cut.apply(applied[4:]), applied[4:])
    restricted = restrict(digits, {PLACE: one})
    assert not broken(restricted)
    if not one.computes:  # holding it is all that it does
        assert torch.equal(restricted.module.get_parameter(PLACE), applied)


def test_two_kinds_of_one_place_and_a_second_of_a_kind(digits: Network) -> None:
    network = digits.restricted({PLACE: Mask("a", keep())}).restricted({PLACE: Mask("b", keep(1))})
    assert [one.name for one in network.restrictions[PLACE]] == ["b"] and network.masks[PLACE].pattern == "b"


def test_hold_brings_back_what_training_moved(network: Network) -> None:
    with torch.no_grad():
        network.module.get_parameter(PLACE).fill_(1)
    assert broken(network) == (PLACE,)
    hold(network.module, network.restrictions)
    assert not broken(network)


def test_speed_is_decided_by_the_architecture_alone(network: Network) -> None:
    assert architecture(other_weights(network)) == architecture(network)
    dense = replace(network, accelerated=None)
    assert architecture(replace(dense, restrictions={})) == architecture(dense), "zeros are multiplied like any number"
    assert architecture(replace(network, restrictions={})) != architecture(network)
    for field in ("input_shape", "edits", "accelerated"):
        assert architecture(CHANGES[field](network)) != architecture(network)


# formats --------------------------------------------------------------------------------------


def as_version_1(folder: Path) -> None:
    """Turn a saved network into what version 1 wrote for it."""
    surgery = json.loads((folder / "surgery.json").read_text())
    masks = {name: one["pattern"] for name, (one,) in surgery.pop("restrictions").items()}
    (folder / "surgery.json").write_text(json.dumps({**surgery, "format": "recipelang.model/1", "masks": masks}))
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "format": "recipelang.model/1"}))
    tensors = load_file(folder / "restrictions.safetensors")
    save_file({name.removesuffix("@mask.keep"): mask for name, mask in tensors.items()}, folder / "masks.safetensors")
    (folder / "restrictions.safetensors").unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_a_network_of_version_1_is_read(packed: bool, digits: Network, tmp_path: Path) -> None:
    weight = digits.module.get_parameter(PLACE)
    mask = catalogue.find("pattern", "nm")().mask(weight.detach().abs())  # type: ignore[misc]
    network = restrict(digits, {PLACE: Mask("2:4", mask)})
    artifact.save(network, tmp_path, packed=packed)
    as_version_1(tmp_path)
    assert same(artifact.load(tmp_path), network)
    assert sorted(artifact.files_in(tmp_path)) == sorted(path.name for path in tmp_path.iterdir())
    assert {path.name for path in Artifact(str(tmp_path)).files(Path)} >= {path.name for path in tmp_path.iterdir()}
    artifact.require_readable(network, tmp_path)


@pytest.mark.parametrize("name", ["model.json", "surgery.json"])
def test_a_later_format_is_refused_by_name(name: str, network: Network, tmp_path: Path) -> None:
    artifact.save(network, tmp_path)
    told = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**told, "format": f"recipelang.model/{VERSION + 1}"}))
    later = f"written by a later version .*model/{VERSION + 1}.* up to .*model/{VERSION}"
    with pytest.raises(Refusal, match=later) as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP0745"


@pytest.mark.parametrize("kind", ["lattice", "../mask", "", "__init__"])
def test_an_unknown_kind_is_refused_by_name(kind: str, network: Network, tmp_path: Path) -> None:
    artifact.save(network, tmp_path)
    told = json.loads((tmp_path / "surgery.json").read_text())
    told["restrictions"][PLACE][0]["kind"] = kind
    (tmp_path / "surgery.json").write_text(json.dumps(told))
    with pytest.raises(Refusal, match=f"a restriction of the kind `{kind}` at `{PLACE}`") as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP0746"


def test_the_digest_of_a_tensor_does_not_depend_on_the_stride_of_a_dimension_of_one_element() -> None:
    strided = torch.arange(18.0)[::9][:1]
    assert strided.is_contiguous() and strided.stride() == (9,)
    assert digest({"scale": strided}) == digest({"scale": strided.clone(memory_format=torch.contiguous_format)})
