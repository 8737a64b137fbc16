"""The twenty recipes of the specification: some are accepted, the others are refused for words of the future."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import steps_of
from recipelang.syntax.parse import parse

EXAMPLES = Path(__file__).parent.parent / "cases" / "examples"
NOT_YET = {
    "c_thesis_5_1": {"with"},
    "d_random_draws": {"with"},
    "e_mis_table6": {"imagenet", "with"},
    "f_iterative_filters": {"vgg19_bn", "cifar100"},
    "h_joint_masks": {"vgg16_bn"},
    "i_two_four_kernels": {"imagenet", "with", "cutlass"},
    "j_int8_kl": {"imagenet", "fold"},
    "l_ftwt_budget": {"vgg16_bn", "gate"},
    "m_self_vit": {"cifar100", "cut", "with"},
    "n_query_efficient": {"imagenet", "queries", "time", "with"},
    "o_deep_compression": {"imagenet"},
    "p_low_rank": {"imagenet", "factorize"},
    "r_sweep_27": {"with"},
    "s_deploy": {"card"},
    "t_super_resolution": {"div2k", "set5", "set14", "psnr", "l1", "ssim", "with"},
}


def text_of(name: str) -> str:
    return (EXAMPLES / f"{name}.rcp").read_text(encoding="utf-8")


def test_every_example_is_named_here() -> None:
    accepted = {"a_oneliner", "b_first_day", "g_agp_while_training", "k_qat_lsq", "q_two_budgets_fallback"}
    assert {path.stem for path in EXAMPLES.glob("*.rcp")} == {*NOT_YET, *accepted}


def test_the_one_liner_is_a_whole_recipe() -> None:
    plan = check(parse(text_of("a_oneliner"), "a_oneliner.rcp"))
    assert plan.name == "a_oneliner" and not plan.warnings
    assert [n.operation.verb for n in plan.nodes] == [  # type: ignore[union-attr]
        *("data", "model", "train", "prune", "finetune", "sparsify", "distill")
    ]


def test_deep_compression_on_images_that_are_here() -> None:
    text = text_of("o_deep_compression").replace("imagenet(", 'folder("photos", ')
    plan = check(parse(text, "o_deep_compression.rcp"))
    linear, convolutions = (n.operation for n in plan.nodes if n.operation.verb == "share")  # type: ignore[union-attr]
    assert (linear.bits, convolutions.bits, linear.sharing.name) == (5, 8, "kmeans")
    assert [n.operation.verb for n in plan.nodes][-4:-1] == ["finetune", "encode", "expect"]  # type: ignore[union-attr]


def test_masks_that_follow_a_schedule_while_training() -> None:
    plan = check(parse(text_of("g_agp_while_training"), "g_agp_while_training.rcp"))
    sparsify = plan.nodes[3].operation  # type: ignore[union-attr]
    assert str(sparsify.pattern) == "80% sparse" and sparsify.training.duration.count == 60
    assert sparsify.training.course.target == 0.8 and sparsify.training.course.schedule.start == 0.05


@pytest.mark.parametrize("name", ["k_qat_lsq", "q_two_budgets_fallback"])
def test_quantization_is_read_as_it_is_written(name: str) -> None:
    plan = check(parse(text_of(name), f"{name}.rcp"), read=lambda path: text_of(path.removesuffix(".rcp")))
    quantized = [step.operation for step in steps_of(plan.nodes) if step.operation.verb == "quantize"]
    assert quantized and not any(warning.code == "RCP1409" for warning in plan.warnings)


@pytest.mark.parametrize("name", NOT_YET)
def test_the_others_are_refused_for_the_right_words(name: str) -> None:
    text = text_of(name)
    with pytest.raises(RecipeError) as caught:
        check(parse(text, f"{name}.rcp"), read=lambda path: text_of(path.removesuffix(".rcp")))
    own = [d for d in caught.value.diagnostics if d.path == f"{name}.rcp" and d.span]
    assert {text[d.span.start : d.span.end] for d in own if d.span} == NOT_YET[name]
