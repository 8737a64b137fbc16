"""Widths that are searched for in whole runs: budgets, guards, kills, plans and what the record says of each place."""

from __future__ import annotations

import itertools
from math import ceil
from typing import Any

import pytest

from recipelang.budgets.widths import WidthsBench
from recipelang.surgery import artifact

HEAD = "model digits_vgg\ndata digits\nmeasure top1, size\ntrain for 20 steps with sgd(lr=0.05)\n"
SEARCHES = {"sensitivity": "sensitivity(16)", "haq": "haq(episodes=6, warmup=2)"}


def bits_of(done: Any) -> dict[str, int]:
    network = artifact.load(done.folder / "main")
    return {place: one.scheme.bits for place, each in network.restrictions.items() for one in each}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_budget_holds_and_the_record_says_the_width_of_each_place(lab: Any, name: str) -> None:
    text = HEAD + f"quantize weights, activations until size < 22% with {SEARCHES[name]}\n"
    done = lab.run(text)
    assert done.metric("size") < 0.22 * done.metric("size", "healthy")
    bits, (step,) = bits_of(done), done.steps(verb="quantize")
    weights = {place: one for place, one in bits.items() if place.endswith("weight")}
    assert min(weights.values()) < 8
    assert {one for place, one in bits.items() if place not in weights} == {8}, "they win nothing of the budget"
    assert set(step["edits"]) == {f"`{place}` has {one} bits" for place, one in bits.items()}
    assert "bits on average" in step["note"] and any(plot["title"] == "Bits of each place" for plot in step["plots"])
    again = lab.run(text)
    assert again.made == 0 and again.weights() == done.weights()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_was_killed_continues_and_ends_with_the_same_bytes(
    lab: Any, apart: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = HEAD + f"quantize weights, activations until size < 22% with {SEARCHES[name]}\n"
    judged = {one: getattr(WidthsBench, one) for one in ("harm", "score")}
    calls = list[str]()

    def dying(one: str) -> Any:
        def ended(self: WidthsBench, *given: Any) -> Any:
            calls.append(one)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return judged[one](self, *given)

        return ended

    for one in judged:
        monkeypatch.setattr(WidthsBench, one, dying(one))
    with pytest.raises(KeyboardInterrupt):
        apart.run(text)
    before = len(calls)
    done = apart.run(text)
    monkeypatch.undo()
    whole = lab.run(text)
    assert done.weights() == whole.weights() and bits_of(done) == bits_of(whole)
    assert before == 4 and done.steps(verb="quantize")[0]["reached"] == whole.steps(verb="quantize")[0]["reached"]


def test_nothing_meets_the_budget(lab: Any) -> None:
    done = lab.run(HEAD + "quantize weights until size < 5% with haq(episodes=3, warmup=1)\n")
    error = done.variant()["error"]
    assert (done.code, error["code"]) == (3, "RCP0904")
    assert "with the narrowest widths" in error["message"] and "2 bits on average" in error["message"]
    assert "size 0." in error["message"]


def test_a_guard_that_the_widest_grids_break_is_out_of_reach(lab: Any) -> None:
    done = lab.run(HEAD + "quantize weights until size < 50% while top1 > 99.9%\n")
    error = done.variant()["error"]
    assert (done.code, error["code"]) == (3, "RCP0904")
    assert "violated by the widest grids already" in error["message"]


def test_a_guard_ends_the_search_before_it_is_violated(lab: Any) -> None:
    head = HEAD.replace("for 20 steps with sgd(lr=0.05)", "for 3 epochs with sgd(lr=0.1, momentum=0.9)")
    text = head + "quantize weights until size < 10% while top1 drop < 3%\n"
    done = lab.run(text, smoke=False)
    error = done.variant()["error"]
    assert (done.code, error["code"]) == (3, "RCP0904") and "before the guard is violated" in error["message"]
    alone = lab.run(head + "quantize weights while top1 drop < 3%\n", smoke=False)
    bits = bits_of(alone)
    assert min(bits.values()) < 8
    assert "the guard stopped it" in alone.steps(verb="quantize")[0]["note"]


def test_a_plan_says_how_far_it_can_go(lab: Any) -> None:
    text = lab.plan(HEAD + "quantize weights, activations until size < 20%\n").text()
    assert "2 to 8 bits each, as `sensitivity` finds" in text and "size can reach 0." in text
    far = lab.plan(HEAD + "quantize weights until size < 3%\n").text()
    assert "out of reach" in far


def test_on_a_tiny_network_it_is_the_best_of_all_assignments(lab: Any) -> None:
    """All 343 assignments by brute force: the least sum of harms whose file is small enough."""
    head = "model digits_lenet\ndata digits\nmeasure size\n"
    done = lab.run(head + "quantize weights until size < 17% with sensitivity(64)\n")
    whole, found = done.metric("size", "healthy"), bits_of(done)
    shapes = {"2.weight": (300, 64), "4.weight": (100, 300), "6.weight": (10, 100)}
    plot = next(p for p in done.steps(verb="quantize")[0]["plots"] if p["title"] == "Each place quantized alone")
    seen = {line["name"]: dict(zip(line["x"], line["y"], strict=True)) for line in plot["lines"]}
    harms = {
        place: {bits: max(h for b, h in each.items() if b >= bits) for bits in each} for place, each in seen.items()
    }

    def size(each: tuple[int, ...]) -> float:
        saved = (4 * o * i - ceil(o * i * bits / 8) - 5 * o for (o, i), bits in zip(shapes.values(), each, strict=True))
        return float(whole - sum(saved))

    def harm(each: tuple[int, ...]) -> float:
        return sum(harms[place][bits] for place, bits in zip(shapes, each, strict=True))

    best = min(harm(each) for each in itertools.product(range(2, 9), repeat=3) if size(each) < 0.17 * whole)
    taken = tuple(found[place] for place in shapes)
    assert size(taken) == done.metric("size") and harm(taken) == pytest.approx(best)


def test_ranges_that_are_computed_need_no_data_and_leave_convolutions_alone(lab: Any) -> None:
    done = lab.run("model digits_vgg\ndata digits\nmeasure size\nquantize weights, activations to 8 bits by dynamic\n")
    network = artifact.load(done.folder / "main")
    kinds = {place: one.kind for place, each in network.restrictions.items() for one in each}
    (weight,) = [place for place in kinds if place.endswith("weight")]
    assert sorted(kinds.values()) == ["dynamic", "grid"] and "convolution" in done.steps(verb="quantize")[0]["note"]
    assert f"`{weight}` has 8 bits" in done.steps(verb="quantize")[0]["edits"]
