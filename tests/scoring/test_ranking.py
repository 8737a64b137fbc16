"""The order in which parts go: within a group by score, all groups together, widths as they may be."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang.errors import Refusal
from recipelang.kinds import Group
from recipelang.scoring.ranking import rank


class Given:
    """A unit and a criterion in one: scores as they are given."""

    one, name, needs, unit = "filter", "filters", (), "filter"
    many: ClassVar[bool] = True

    def __init__(self, scores: dict[str, Any]) -> None:
        self.scores = {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}

    def score(self, evidence: Any) -> Any:
        return self.scores

    def aggregate(self, criterion: Any, scores: Any, evidence: Any, groups: Any) -> Any:
        return scores


def ranking(scores: dict[str, Any], *groups: Group) -> Any:
    method: Any = Given(scores)
    return rank(method, method, None, groups)  # type: ignore[arg-type]


def test_groups_are_ranked_together_and_the_last_part_of_each_stays() -> None:
    found = ranking({"a": [3.0, 1.0, 5.0], "b": [2.0, 4.0]}, Group("a", 3, least=1), Group("b", 2, least=1))
    assert [(step.group, step.parts) for step in found.steps] == [("a", (1,)), ("b", (0,)), ("a", (0,))]
    assert found.means == {"a": 3.0, "b": 3.0}


def test_a_width_that_is_no_multiple_first_becomes_one() -> None:
    found = ranking({"a": [float(k) for k in range(10)]}, Group("a", 10, step=4, least=1))
    assert [step.parts for step in found.steps] == [(0, 1), (2, 3, 4, 5)]  # 8 stay, then 4, and never none


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.1, 0.2, 0.30000000000000004, 1.0]), min_size=1, max_size=17), st.integers(1, 5)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_laws_of_a_ranking(drawn: list[tuple[list[float], int]]) -> None:
    groups = [Group(str(k), len(values), step, least=1) for k, (values, step) in enumerate(drawn)]
    scores = {str(k): values for k, (values, _) in enumerate(drawn)}
    found = ranking(scores, *groups)
    assert [step.score for step in found.steps] == sorted(step.score for step in found.steps)
    for group in groups:
        left, gone = group.size, list[int]()
        for step in (step for step in found.steps if step.group == group.name):
            left, gone = left - len(step.parts), [*gone, *step.parts]
            assert left % group.step == 0 and left >= 1
            assert max(scores[group.name][k] for k in gone) <= min(
                scores[group.name][k] for k in range(group.size) if k not in gone
            )
        assert len(gone) == len(set(gone)) == group.most
        assert not gone or len(next(step for step in found.steps if step.group == group.name).parts) == group.first


def test_a_group_without_a_score_is_left_and_a_network_without_any_is_refused() -> None:
    groups = Group("a", 2, least=1), Group("b", 2, least=1)
    assert ranking({"b": [1.0, 2.0]}, *groups).unscored == ("a",)
    with pytest.raises(Refusal, match="no filter of this network") as refusal:
        ranking({}, *groups)
    assert refusal.value.code == "RCP1007"


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(Refusal, match="`a` is inf") as refusal:
        ranking({"a": [1.0, float("inf")]}, Group("a", 2, least=1))
    assert refusal.value.code == "RCP1006"
