"""The agent against the formulas of DDPG written out, scipy's truncated normal, and a problem with a known answer."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recipelang.searching.agent import NEWEST, Agent, Learning, Transition, follow, targets, truncated_normal

SMALL = Learning(hidden=16, batch=8, memory=30)


def transition(number: int, reward: float = 1.0, goes_on: float = 1.0) -> Transition:
    draw = torch.rand(2, 3, generator=torch.Generator().manual_seed(number))
    return Transition(draw[0], number % 10 / 10, reward, draw[1], goes_on)


def test_targets_are_the_reward_less_the_usual_one_and_what_follows() -> None:
    agent = Agent(3, 0, SMALL)
    after, rewards = torch.rand(4, 3), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    goes_on = torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    found = targets(rewards, goes_on, after, agent.target_actor, agent.target_critic, 0.5, 0.9)
    for row in range(4):
        action = agent.target_actor(after[row])
        later = float(agent.target_critic(torch.cat([after[row], action])).detach())
        expected = float(rewards[row]) - 0.5 + (0.9 * later if goes_on[row] else 0.0)
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)
    assert not found.requires_grad


def test_targets_follow_by_a_part_of_the_way() -> None:
    slow, fast = nn.Linear(2, 2), nn.Linear(2, 2)
    before = copy.deepcopy(slow)
    follow(slow, fast, 0.25)
    for now, was, leader in zip(slow.parameters(), before.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(now, 0.25 * leader + 0.75 * was)


@given(st.floats(0.001, 0.999), st.floats(-0.5, 1.5), st.floats(0.05, 2), st.floats(0, 0.4), st.floats(0.05, 1))
def test_noise_is_the_truncated_normal_of_scipy(
    uniform: float, mean: float, spread: float, low: float, wide: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    high = low + wide
    expected = stats.truncnorm.ppf(uniform, (low - mean) / spread, (high - mean) / spread, mean, spread)
    found = float(truncated_normal(torch.tensor(uniform).double(), mean, spread, low, high))
    assert low <= found <= high
    if abs(mean - min(max(mean, low), high)) < 4 * spread:  # further out both end in rounding
        assert found == pytest.approx(expected, abs=1e-6)


def test_an_update_is_one_step_of_adam_on_the_two_losses() -> None:
    agent = Agent(3, 1, SMALL)
    agent.remember([transition(number, reward=2.0) for number in range(8)])
    actor, critic = copy.deepcopy(agent.actor), copy.deepcopy(agent.critic)
    old_actor, old_critic = copy.deepcopy(agent.target_actor), copy.deepcopy(agent.target_critic)
    states = torch.stack([one.state for one in agent.remembered])
    after = torch.stack([one.after for one in agent.remembered])
    actions = torch.tensor([[one.action] for one in agent.remembered])
    agent.learn()

    optimizer = torch.optim.Adam(critic.parameters(), lr=SMALL.critic)
    later = old_critic(torch.cat([after, old_actor(after)], 1)).detach()
    ((critic(torch.cat([states, actions], 1)) - (2.0 - 2.0 + later)) ** 2).mean().backward()
    optimizer.step()
    for found, expected in zip(agent.critic.parameters(), critic.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    optimizer = torch.optim.Adam(actor.parameters(), lr=SMALL.actor)
    (-critic(torch.cat([states, actor(states)], 1)).mean()).backward()
    optimizer.step()
    for found, expected in zip(agent.actor.parameters(), actor.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    for found, was, leader in zip(
        agent.target_actor.parameters(), old_actor.parameters(), agent.actor.parameters(), strict=True
    ):
        assert torch.allclose(found, SMALL.follow * leader + (1 - SMALL.follow) * was, atol=1e-6)


def test_it_remembers_the_newest_and_the_usual_reward() -> None:
    agent = Agent(3, 0, SMALL)
    agent.remember([transition(number, reward=1.0) for number in range(20)])
    agent.remember([transition(number, reward=3.0) for number in range(20)])
    assert len(agent.remembered) == 30 and agent.remembered[-1].reward == 3.0
    assert agent.usual == pytest.approx(1.0 + NEWEST * 2.0)


def test_equal_seeds_give_equal_bytes_and_leave_other_draws_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (Agent(3, seed, SMALL) for seed in (4, 4, 5))
    assert torch.equal(torch.rand(3), expected)
    acted = []
    for agent in (first, second, other):
        agent.remember([transition(number) for number in range(10)])
        for _ in range(3):
            agent.learn()
        acted.append([agent.action(torch.ones(3), 0.3), agent.guess(0.8), agent.action(torch.ones(3), 0)])
    assert acted[0] == acted[1] != acted[2]


def test_actions_stay_within_their_bounds() -> None:
    agent = Agent(3, 0, SMALL)
    states = torch.rand(50, 3)
    assert all(0 <= agent.action(state, 0.5, 0.3) <= 0.3 for state in states)
    assert all(0 <= agent.guess(0.3) <= 0.3 for _ in range(50))


def test_it_learns_the_best_action_of_a_problem_of_one_step() -> None:
    """The reward is −(a − 0.7)²: with noise around it, the actor ends near 0.7."""
    agent = Agent(1, 0, Learning(hidden=32, actor=1e-3, critic=1e-2, batch=32))
    state = torch.ones(1)
    for _ in range(100):
        action = agent.action(state, 0.4)
        agent.remember([Transition(state, action, -((action - 0.7) ** 2), state, 0.0)])
        for _ in range(4):
            agent.learn()
    assert agent.action(state, 0) == pytest.approx(0.7, abs=0.1)
