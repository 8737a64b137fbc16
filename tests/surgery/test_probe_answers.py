"""Networks that change their input, return several tensors, lack a head or have wrappers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating

Build = Callable[..., Network]

CHANGES = {
    "scales": "x = x.mul_(0.5).add_(0.5)",
    "clamps": "x.clamp_(0, 1)",
    "a view": "y = x.flatten(1); y += 1",
    "an activation in place": "x = F.relu(x, inplace=True)",
    "one pixel": "x[:, :, 0, 0] = 0",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_network_that_changes_its_input_works_on_a_copy(name: str, come_in: Build) -> None:
    network = come_in(f"{CHANGES[name]}\nreturn self.scores(x)")
    assert network.habits.changes_input and type(network.module).__name__ == "Net"
    assert list(network.module.state_dict()) == ["body.weight", "body.bias", "head.weight", "head.bias"]
    given = torch.randn(3, 1, 4, 4)
    for module in (network.module, network.clone().module, copy.deepcopy(network.module).train()):
        images = given.clone()
        answers = [module(images) for _ in range(2)]
        assert torch.equal(images, given) and torch.equal(*answers)


ANSWERS = {
    "a dictionary": ("{'features': f, 'logits': y}", ("logits",)),
    "a dictionary with a name of its own": ("{'mine': y}", ("mine",)),
    "a pair": ("(y, f)", (0,)),
    "a pair the other way": ("(f, y)", (1,)),
    "a list": ("[y]", (0,)),
    "a tuple of one": ("(y,)", (0,)),
    "a named tuple": ("Pair(f, y)", ("scores",)),
    "a dataclass": ("Answer(f, y)", ("logits",)),
    "an object": ("SimpleNamespace(logits=y, loss=None)", ("logits",)),
    "a dictionary in a tuple": ("({'logits': y}, f)", (0, "logits")),
    "maps beside the scores": ("(y, x)", (0,)),
}
KINDS = """
Pair = namedtuple("Pair", ["features", "scores"])

@dataclass
class Answer:
    features: torch.Tensor
    logits: torch.Tensor
"""


@pytest.mark.parametrize("name", ANSWERS)
def test_the_scores_are_found_in_what_it_answers(name: str, come_in: Build) -> None:
    form, path = ANSWERS[name]
    network = come_in(f"f = self.features(x)\ny = self.head(f)\nreturn {form}", before=KINDS)
    assert network.habits.answer == path
    images = torch.randn(3, 1, 4, 4)
    with evaluating(network.module):
        expected = network.module.head(F.relu(network.module.body(images.flatten(1))))
        assert torch.equal(network.module(images), expected)


AMBIGUOUS = {
    "two scores": "(y, 2 * y)",
    "scores under two names": "{'a': y, 'b': y}",
    "a map": "x",
    "nothing": "None",
    "a number for each image": "y[:, 0]",
    "text": "'cat'",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_answer_that_cannot_be_told_is_refused(name: str, come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in(f"y = self.scores(x)\nreturn {AMBIGUOUS[name]}")
    assert caught.value.code == "RCP0713" and "answer to 2 images of 1×4×4 is" in caught.value.message


def test_one_number_for_two_classes_is_refused_and_never_given_a_new_head(come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in(prepare="self.head = nn.Linear(8, 1)", classes=("cat", "dog"))
    assert caught.value.code == "RCP0713" and "one number" in caught.value.message


OWN = "def build():\n    return Net(7)"  # whatever the data says


def test_a_replaced_head_is_said(come_in: Build) -> None:
    network = come_in(after=OWN)
    assert network.habits.notes == (
        "the head `head` of 7 outputs is replaced with a new one of 3, which needs training",
    )
    assert network.module.head.out_features == 3


def test_heads_that_are_averaged_are_replaced_together(come_in: Build) -> None:
    forward = (
        "f = self.features(x)\na, b = self.head(f), self.second(f)\nreturn (a, b) if self.training else (a + b) / 2"
    )
    network = come_in(forward, "self.second = nn.Linear(8, 7)", after=OWN)
    assert (network.module.head.out_features, network.module.second.out_features) == (3, 3)
    assert network.habits.notes == (
        "the heads `second`, `head` of 7 outputs are replaced with new ones of 3, which need training",
        "2 outputs of training mode are trained, each with the same weight",
    )


def test_an_auxiliary_classifier_gets_the_classes_too(come_in: Build) -> None:
    forward = "y = self.scores(x)\nreturn (y, self.extra(x.flatten(1))) if self.training else y"
    network = come_in(forward, "self.extra = nn.Linear(16, 7)", after=OWN)
    assert (network.module.head.out_features, network.module.extra.out_features) == (3, 3)
    assert network.habits.notes[1] == "1 auxiliary output of training mode is trained with weight 0.3"


def test_a_head_whose_number_is_written_down_elsewhere_is_refused(come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in("return self.scores(x) + torch.zeros(7)", after=OWN)
    assert caught.value.code == "RCP0708" and "replacing the head `head`" in caught.value.message


WRAPPERS = {
    "DataParallel": ("nn.DataParallel(Net(classes))", "DataParallel"),
    "twice": ("nn.DataParallel(nn.DataParallel(Net(classes)))", "DataParallel"),
    "compiled": ("torch.compile(Net(classes))", "torch.compile"),
    "compiled in place": ("compiled(Net(classes))", "torch.compile"),
    "a moving average": ("torch.optim.swa_utils.AveragedModel(Net(classes))", "AveragedModel"),
    "DataParallel inside": ("within(Net(classes))", "DataParallel"),
}
HELPERS = """
def compiled(net):
    net.compile()
    return net

def within(net):
    net.body = nn.DataParallel(net.body)
    return net

"""


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_taken_off(name: str, come_in: Build) -> None:
    code, wrapper = WRAPPERS[name]
    network = come_in(after=f"{HELPERS}def build(classes=3):\n    return {code}")
    assert network.habits.notes == (f"`{wrapper}` is removed",)
    assert list(network.module.state_dict()) == ["body.weight", "body.bias", "head.weight", "head.bias"]
    assert type(network.module).__name__ == "Net" and network.module._compiled_call_impl is None


def test_batchnorm_between_processes_becomes_batchnorm(come_in: Build) -> None:
    lines = "self.stem = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1))\nself.norm = nn.BatchNorm1d(8)"
    forward = "return self.head(self.norm(self.features(self.stem(x))))"
    after = "def build(classes=3):\n    return nn.SyncBatchNorm.convert_sync_batchnorm(Net(classes))"
    network = come_in(forward, lines, after=after)
    assert type(network.module.stem[1]) is nn.BatchNorm2d and type(network.module.norm) is nn.BatchNorm1d
    plain = come_in(forward, lines)
    assert plain.module.state_dict().keys() == network.module.state_dict().keys()
    plain.module.load_state_dict(network.module.state_dict())
    images = torch.randn(4, 1, 4, 4)
    assert torch.equal(plain.module.train()(images), network.module.train()(images))
    assert nn.SyncBatchNorm not in map(type, network.module.modules())


KINDS_OF_MODULES = {
    "traced to a graph": "torch.fx.symbolic_trace(Net(classes))",
    "a forward of its own": "forwarded(Net(classes))",
}
FORWARDED = "def forwarded(net):\n    net.forward = net.other\n    return net\n\n"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "a part"])
@pytest.mark.parametrize("how", ["script(net)", "trace(net.eval(), torch.zeros(2, 1, 4, 4))"])
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_refused_by_its_name(how: str, whole: bool, come_in: Build) -> None:
    net = "net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))"
    answer = f"torch.jit.{how}" if whole else f"nn.Sequential(torch.jit.{how}, nn.ReLU())"
    with pytest.raises(Refusal, match="TorchScript") as caught:
        come_in("return self.scores(x)", after=f"def build(classes=3):\n    {net}\n    return {answer}")
    assert caught.value.code == "RCP0712"


def test_complex_parameters_are_refused_at_the_line_of_the_model(come_in: Build) -> None:
    prepare = "self.filter = nn.Parameter(torch.ones(8, dtype=torch.complex64))"
    with pytest.raises(Refusal, match="complex parameters, as `filter`") as caught:
        come_in("return self.head((self.features(x) * self.filter).real)", prepare)
    assert caught.value.code == "RCP0712" and "view_as_complex" in caught.value.help


def test_probabilities_are_told(come_in: Build) -> None:
    for last, told in (("softmax(1)", True), ("log_softmax(1)", False), ("sigmoid()", False), ("relu()", False)):
        notes = come_in(f"return self.scores(x).{last}").habits.notes
        assert any("it answers with probabilities" in note for note in notes) is told


@pytest.mark.parametrize("name", KINDS_OF_MODULES)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_modules_that_cannot_be_given_copies_are_refused_where_they_write(name: str, come_in: Build) -> None:
    after = f"{FORWARDED}def build(classes=3):\n    return {KINDS_OF_MODULES[name]}"
    other = "def other(self, x):\n    return Net.forward(self, x)"
    try:
        network = come_in("return self.scores(x.mul_(0.5))", before="import torch.fx", methods=other, after=after)
    except Refusal as refusal:
        assert refusal.code in ("RCP0713", "RCP0722") and "x = x.clone()" in refusal.help
        return
    images = torch.rand(3, 1, 4, 4)
    given = images.clone()
    with evaluating(network.clone().module):
        network.module(images)
    assert torch.equal(images, given)


def test_attributes_of_any_name_are_the_networks_own(come_in: Build) -> None:
    forward = "return self.scores(x.mul_(0.5)) * self.habits * self.answer"
    network = come_in(forward, "self.habits = nn.Parameter(torch.ones(3))\nself.answer = 1")
    assert network.habits.changes_input and isinstance(network.module.habits, nn.Parameter)
    assert network.module(torch.rand(3, 1, 4, 4)).shape == (3, 3)
