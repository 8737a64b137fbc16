"""A small agent that learns one action in 0…1 for each state: deep deterministic policy gradients.

Source: Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR 2016; as in He et al., "AMC",
ECCV 2018, section 3.2: truncated normal noise, no discount, rewards less their moving average.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

#: how much of the moving average of rewards is the newest
NEWEST = 0.05


class Transition(NamedTuple):
    """One action: the state before and after it, the reward, and 1 where more follow, else 0."""

    state: Tensor
    action: float
    reward: float
    after: Tensor
    goes_on: float


@dataclass(frozen=True)
class Learning:
    """How the agent learns.

    Attributes:
        hidden: units of both layers of actor and critic.
        actor, critic: learning rates.
        batch: transitions of one update. `memory`: how many are remembered.
        follow: τ, the part of the way that the targets go at each update.
        discount: of what follows.
    """

    hidden: int = 300
    actor: float = 1e-4
    critic: float = 1e-3
    batch: int = 64
    memory: int = 2000
    follow: float = 0.01
    discount: float = 1.0


@dataclass
class Agent:
    """Actor, critic, their targets, and what they remember; everything is drawn from `seed`.

    Args:
        features: numbers of a state.
    """

    features: int
    seed: int
    how: Learning = Learning()
    remembered: list[Transition] = field(default_factory=list)
    usual: float | None = None  # the moving average of rewards

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.actor = nn.Sequential(*_layers(self.features, self.how.hidden), nn.Sigmoid())
            self.critic = nn.Sequential(*_layers(self.features + 1, self.how.hidden))
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.generator = torch.Generator().manual_seed(self.seed)
        self._actor = torch.optim.Adam(self.actor.parameters(), lr=self.how.actor)
        self._critic = torch.optim.Adam(self.critic.parameters(), lr=self.how.critic)

    @torch.no_grad()
    def action(self, state: Tensor, noise: float, high: float = 1.0) -> float:
        """What it does in a state: drawn around the actor's answer, within 0…high; without noise the answer itself."""
        mean = min(float(self.actor(state[None])), high)
        if noise <= 0:
            return mean
        return float(truncated_normal(self._uniform(), mean, noise, 0.0, high))

    def guess(self, high: float = 1.0) -> float:
        """Any action, each as likely as every other."""
        return float(self._uniform()) * high

    def remember(self, transitions: list[Transition]) -> None:
        """Those of an episode; the oldest are forgotten."""
        self.remembered = [*self.remembered, *transitions][-self.how.memory :]
        reward = transitions[-1].reward
        self.usual = reward if self.usual is None else self.usual + NEWEST * (reward - self.usual)

    def episode(self, states: Sequence[Tensor], actions: Sequence[float], reward: float, updates: int) -> None:
        """Remember an episode, whose reward is that of each of its actions, and learn from what is remembered.

        Args:
            states: before each action.
            actions: as many.
            reward: of the whole episode.
            updates: for each action.
        """
        last = len(actions) - 1
        self.remember(
            [
                Transition(states[at], action, reward, states[min(at + 1, last)], float(at < last))
                for at, action in enumerate(actions)
            ]
        )
        for _ in range(updates * len(actions)):
            self.learn()

    def learn(self) -> None:
        """One update of critic and actor, and of the targets that follow them."""
        count = min(self.how.batch, len(self.remembered))
        picks = torch.randperm(len(self.remembered), generator=self.generator)[:count].tolist()
        batch = [self.remembered[pick] for pick in picks]
        states, after = (torch.stack([one[place] for one in batch]) for place in (0, 3))
        actions, rewards, goes_on = (torch.tensor([[one[place]] for one in batch]) for place in (1, 2, 4))
        wanted = targets(
            rewards, goes_on, after, self.target_actor, self.target_critic, self.usual or 0.0, self.how.discount
        )
        loss = nn.functional.mse_loss(self.critic(torch.cat([states, actions], 1)), wanted)
        self._critic.zero_grad()
        loss.backward()
        self._critic.step()
        value = self.critic(torch.cat([states, self.actor(states)], 1)).mean()
        self._actor.zero_grad()
        (-value).backward()
        self._actor.step()
        follow(self.target_actor, self.actor, self.how.follow)
        follow(self.target_critic, self.critic, self.how.follow)

    def _uniform(self) -> Tensor:
        return torch.rand((), generator=self.generator, dtype=torch.float64)


def _layers(inputs: int, hidden: int) -> list[nn.Module]:
    sizes = (inputs, hidden, hidden, 1)
    made: list[nn.Module] = []
    for number, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        made += [nn.ReLU()] if number else []
        made.append(nn.Linear(before, after))
    return made


@torch.no_grad()
def targets(
    rewards: Tensor, goes_on: Tensor, after: Tensor, actor: nn.Module, critic: nn.Module, usual: float, discount: float
) -> Tensor:
    """B×1: r − usual + discount · Q′(s′, μ′(s′)), and r − usual where nothing follows (AMC, equation 4).

    Args:
        rewards, goes_on: B×1. `after`: B×features.
        actor, critic: the targets μ′ and Q′.
        usual: the moving average of rewards.
    """
    later: Tensor = critic(torch.cat([after, actor(after)], 1))
    return rewards - usual + discount * goes_on * later


@torch.no_grad()
def follow(target: nn.Module, leader: nn.Module, part: float) -> None:
    """θ′ ← part·θ + (1 − part)·θ′."""
    for slow, fast in zip(target.parameters(), leader.parameters(), strict=True):
        slow.lerp_(fast, part)


def truncated_normal(uniform: Tensor, mean: float, spread: float, low: float, high: float) -> Tensor:
    """Numbers in 0…1 that are equally likely → numbers of a normal distribution, given that they are in low…high."""
    ends = torch.tensor([(low - mean) / spread, (high - mean) / spread], dtype=torch.float64)
    below, above = torch.special.ndtr(ends)
    drawn: Tensor = mean + spread * torch.special.ndtri(below + uniform * (above - below))
    return drawn.clamp(low, high)
