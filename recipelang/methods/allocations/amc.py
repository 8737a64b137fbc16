"""`amc(episodes=200)`: an agent learns by reinforcement how much of each group goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Figure, Queue, RemovalStep
from recipelang.lazy import torch
from recipelang.methods.allocations._agents import WORST, random_episodes, require_learning, score_as_share
from recipelang.methods.allocations._shown import course_plot, kept_plot

if TYPE_CHECKING:
    from recipelang.searching.agent import Agent
    from recipelang.searching.course import Course

#: the width of the noise after an episode, as a part of that before it
SHRINKS = 0.97
#: updates of the agent for each action, and its learning rates
UPDATES, ACTOR, CRITIC = 4, 1e-3, 1e-2


@method("allocation", "amc")
@dataclass(frozen=True)
class Amc:
    """An agent goes through the groups and says how much of each is removed; what comes out of it is its reward.

    What: an episode is one pass over the groups in the order of the network. The agent sees a group and what the ones
        before it have saved, answers with the share to be removed, and at the end the network without these parts is
        scored. It learns from all episodes so far (DDPG), and the best signature that it has met is the allocation.
    State: (t, n, c, h, w, stride, k, cost[t], saved, rest, last action), each scaled to 0…1: number, parts, inputs of
        the first layer that makes the group, its positions, stride, kernel; what removing the group saves of the cost,
        what those before it have saved, what those after it can save.
    Action: the share removed, held to the budget: at least as much as is needed if all later groups lose `most`.
        The nearest width that the group may have is taken.
    Reward: −error of the network; with `reward=flops` −error · log(FLOPs), which also pays for being smaller than the
        budget asks. The error is 1 − the task's score where that is a share, else its loss, on samples that neither
        ranking nor training uses, after BatchNorm's statistics were estimated again. No training follows a removal.
    Agent: actor and critic of two layers of `hidden` units; critic (r − b + Q′(s′, μ′(s′)) − Q(s, a))², r the reward of
        the whole episode, b its moving average; actor −Q(s, μ(s)); Adam, batches of 64 of the last 2,000 actions,
        targets follow by 0.01. The first episode removes one share of all groups; in the next `warmup` actions are
        random; then a normal distribution around the actor's, cut to what is allowed, whose width `noise` shrinks by
        3 % in every episode. Episodes are half as many as the paper's, so the agent learns four times from each action
        (there once), at ten times the rates (1e-2 and 1e-3; there 1e-3 and 1e-4), and is smaller (there 300).
    Needs: `until`; groups of several parts. One pass over the held-out samples for every new signature.
    When it misleads: an agent of few episodes is little better than the best of as many random signatures; the score
        before training is not the one after it.
    Source: He, Lin, Liu, Wang, Li, Han, "AMC: AutoML for model compression and acceleration on mobile devices", ECCV
        2018. There layers are repaired by least squares before they are scored; here by BatchNorm's statistics, and by
        the criterion where it corrects what stays (`by thinet`).
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    looks: ClassVar[int] = 40

    episodes: int = setting(200, type="integer", low=1, positional=True, help="Signatures that are tried.")
    warmup: int | None = setting(
        None, type="integer", low=0, help="Episodes of random actions at the start; by default a quarter of all."
    )
    reward: str = setting("error", type="word", choices=("error", "flops"), help="What an episode is paid for.")
    most: float = setting(
        0.8, type="number", low=0.01, high=1, help="The largest share that a group loses, unless the budget needs more."
    )
    noise: float = setting(0.5, type="number", low=0, help="The width of the noise after the warm-up.")
    hidden: int = setting(64, type="integer", low=1, help="Units of the agent's layers.")

    def __post_init__(self) -> None:
        require_learning(self.episodes, self.warmup)

    @property
    def _random(self) -> int:
        """The number of episodes of random actions."""
        return random_episodes(self.episodes, self.warmup)

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps of the signature with the highest reward that surely meets the budget."""
        from recipelang.searching.bilinear import everything
        from recipelang.searching.settling import settled, widest_first

        if bench.cost(everything(queues)) > 1:
            return bench.steps(everything(queues))
        course = self._course(queues, bench)
        tried: dict[tuple[int, ...], float] = {}
        rewards, agent = [], self._agent(bench)
        bench.progress.start("trying signatures", self.episodes)
        for episode in range(self.episodes):
            taken = self._episode(course, agent, episode)
            rewards.append(tried.setdefault(tuple(taken), self._rewarded(bench, taken)))
            self._learn(course, agent, taken, rewards[-1], episode)
            bench.progress.advance(1, f"reward {max(rewards):.4f}")
        bench.progress.stop()
        proposals = sorted(tried, key=lambda one: -tried[one])
        taken = settled(queues, bench, proposals, widest_first(queues, proposals[0]))
        best = [max(rewards[: number + 1]) for number in range(len(rewards))]
        curve = course_plot("What the agent earned", "episode", "reward", reward=rewards, best=best)
        bench.tell(
            figures=(Figure("tried", len(tried), noun="signature"), Figure("best reward", max(rewards))),
            plots=(curve, kept_plot(queues, taken)),
        )
        return bench.steps(taken)

    def _course(self, queues: Sequence[Queue], bench: Bench) -> Course:
        from recipelang.searching.bilinear import everything, kept_shares, quick
        from recipelang.searching.course import Course, sizes_of

        cost = quick(queues, bench, torch.Generator().manual_seed(bench.seed))
        most = [sum(1 - share <= self.most + 1e-9 for share in kept_shares(queue)) - 1 for queue in queues]
        if cost(most) > 1:
            most = everything(queues)
        return Course(queues, sizes_of(bench.whole, queues), cost, most)

    def _agent(self, bench: Bench) -> Agent:
        from recipelang.searching.agent import Agent, Learning
        from recipelang.searching.course import FEATURES

        return Agent(FEATURES, bench.seed, Learning(hidden=self.hidden, actor=ACTOR, critic=CRITIC))

    def _episode(self, course: Course, agent: Agent, episode: int) -> list[int]:
        """The numbers of steps that are taken, group after group."""
        taken: list[int] = []
        for at in range(len(course.queues)):
            high = course.removed(at, course.most[at])
            if episode == 0:
                wanted = course.even
            elif episode <= self._random:
                wanted = agent.guess(high)
            else:
                wanted = agent.action(course.state(taken), self.noise * SHRINKS ** (episode - self._random - 1), high)
            taken.append(course.clipped(taken, wanted))
        return taken

    def _learn(self, course: Course, agent: Agent, taken: Sequence[int], reward: float, episode: int) -> None:
        """Remember the episode, and learn from what is remembered."""
        states = [course.state(taken[:at]) for at in range(len(taken))]
        actions = [course.removed(at, count) for at, count in enumerate(taken)]
        agent.episode(states, actions, reward, UPDATES if episode >= self._random else 0)

    def _rewarded(self, bench: Bench, taken: Sequence[int]) -> float:
        """−error, or −error · log(FLOPs), of the network without these steps."""
        error, flops = bench.remember(f"signature {list(taken)}", lambda: self._judged(bench, taken))
        return -float(error) * (math.log(flops) if self.reward == "flops" else 1.0)

    def _judged(self, bench: Bench, taken: Sequence[int]) -> tuple[float, float]:
        """The error of the network without these steps, and its FLOPs where they are asked for."""
        from recipelang.measuring.flops import count
        from recipelang.surgery.deployed import deployed
        from recipelang.surgery.tracing import example

        network = bench.network(taken)
        found, flops = bench.score(network, recalibrated=True), 1.0
        if self.reward == "flops":
            module = deployed(network)
            flops = float(count(module, example(module, network.input_shape, 1, network.inputs)).flops)
        share = score_as_share(found, bench.task)
        return (min(found.loss, WORST) if share is None else 1 - share), flops
