"""`haq(episodes=200)`: an agent learns by reinforcement how many bits each place gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Figure, WidthBench, Widths
from recipelang.methods.allocations._agents import WORST, random_episodes, require_learning, score_as_share
from recipelang.methods.allocations._shown import course_plot

if TYPE_CHECKING:
    from recipelang.searching.agent import Agent
    from recipelang.searching.widths import WidthCourse

#: λ of the reward
SCALE = 0.1
#: updates of the agent for each action, and its learning rates
UPDATES, ACTOR, CRITIC = 2, 1e-3, 1e-2


@method("widths", "haq")
@dataclass(frozen=True)
class Haq:
    """An agent goes through the places and says how many bits each has; what comes out of it is its reward.

    What: an episode is one pass over the places whose width changes the budget's figures. The agent sees a place and
        answers with an action; widths above the budget are lowered place after place, the network is quantized and
        scored. It learns from all episodes so far (DDPG), and the best assignment that it has met is taken.
    State: (k, inputs, outputs, kernel, stride, positions, elements, depthwise, weight or activation, last action), each
        scaled to 0…1.
    Action: a in 0…1 stands for round(low − ½ + a · (high − low + 1)) bits, from the fewest to the most that a place may
        have. Where the budget is exceeded, places become narrower by one step each, in order, until it holds.
    Reward: 0.1 · (score of the quantized network − score of the network before), of the task's score where that is a
        share, else the negative difference of the losses, on samples that calibration does not see. No training
        follows.
    Agent: actor and critic of two layers of `hidden` units; critic (r − b + Q′(s′, μ′(s′)) − Q(s, a))², r the reward of
        the whole episode, b its moving average; actor −Q(s, μ(s)); Adam, batches of 64 of the last 2,000 actions. The
        first episode has one width for all, in the next `warmup` actions are random; then a normal distribution
        around the actor's, cut to 0…1, whose width `noise` shrinks by 1 % in every episode. The paper has 600 episodes,
        layers of 400 and 300 units, and rates of 1e-4 and 1e-3; this agent learns faster from fewer.
    Needs: `until`; one pass over the held-out samples for every new assignment.
    When it misleads: an agent of few episodes is little better than the best of as many random assignments; the score
        before training is not the one after it. A runtime whose integers all have 8 bits is no faster with fewer, so a
        budget of its latency gives the agent nothing to decide, and the record says so.
    Source: Wang, Liu, Lin, Lin, Han, "HAQ: hardware-aware automated quantization with mixed precision", CVPR 2019.
        There the network is trained for one epoch before it is scored.
    """

    looks: ClassVar[int] = 20
    budget: ClassVar[bool] = True

    episodes: int = setting(200, type="integer", low=1, positional=True, help="Assignments that are tried.")
    warmup: int | None = setting(
        None, type="integer", low=0, help="Episodes of random actions at the start; by default a quarter of all."
    )
    noise: float = setting(0.5, type="number", low=0, help="The width of the noise after the warm-up.")
    hidden: int = setting(64, type="integer", low=1, help="Units of the agent's layers.")

    def __post_init__(self) -> None:
        require_learning(self.episodes, self.warmup)

    @property
    def _random(self) -> int:
        return random_episodes(self.episodes, self.warmup)

    def course(self, bench: WidthBench) -> Sequence[Widths]:
        """From the widest, past the assignment with the highest reward, to the narrowest."""
        from recipelang.searching.agent import Agent, Learning
        from recipelang.searching.widths import FEATURES, WidthCourse, priced, way

        prices = [bench.prices(number) for number in range(len(bench.choices))]
        open = priced(prices)
        widest = [choice.bits[-1] for choice in bench.choices]
        narrowest = [one.bits[0] if n in open else one.bits[-1] for n, one in enumerate(bench.choices)]
        if not open or bench.price(narrowest) > 1 or bench.price(widest) <= 1:
            return way(bench.choices, open, widest)  # nothing to decide
        course = WidthCourse(bench.choices, open)
        agent = Agent(FEATURES, bench.seed, Learning(hidden=self.hidden, actor=ACTOR, critic=CRITIC))
        before = bench.remember("before", partial(self._judged, bench, [0] * len(bench.choices)))
        tried: dict[tuple[int, ...], float] = {}
        rewards: list[float] = []
        bench.progress.start("trying widths", self.episodes)
        for episode in range(self.episodes):
            actions, widths = self._episode(course, agent, episode, bench)
            key = tuple(widths)
            if key not in tried:
                found = bench.remember(f"widths {list(key)}", partial(self._judged, bench, key))
                tried[key] = SCALE * (float(found) - float(before))
            rewards.append(tried[key])
            self._learn(course, agent, actions, rewards[-1], episode)
            bench.progress.advance(1, f"reward {max(rewards):.4f}")
        bench.progress.stop()
        chosen = max(tried, key=lambda one: tried[one])
        best = [max(rewards[: number + 1]) for number in range(len(rewards))]
        bench.tell(
            figures=(Figure("tried", len(tried), noun="assignment"), Figure("best reward", max(rewards))),
            plots=(course_plot("What the agent earned", "episode", "reward", reward=rewards, best=best),),
        )
        return way(bench.choices, open, chosen)

    def _episode(
        self, course: WidthCourse, agent: Agent, episode: int, bench: WidthBench
    ) -> tuple[list[float], list[int]]:
        """The actions, place after place, and the widths that they come to within the budget."""
        from recipelang.searching.widths import lowered

        if episode == 0:
            actions = [self._even(course, bench)] * len(course.open)
        else:
            actions = []
            for at in range(len(course.open)):
                last = actions[-1] if actions else 0.0
                noise = self.noise * 0.99 ** (episode - self._random - 1)
                random = episode <= self._random
                actions.append(agent.guess() if random else agent.action(course.state(at, last), noise))
        return actions, lowered(course.widths(actions), course.choices, course.open, bench.price)

    def _even(self, course: WidthCourse, bench: WidthBench) -> float:
        """The largest action, in hundredths, that meets the budget at all places; 0 where none does."""
        for hundredth in range(100, -1, -1):
            if bench.price(course.widths([hundredth / 100] * len(course.open))) <= 1:
                return hundredth / 100
        return 0.0

    def _learn(self, course: WidthCourse, agent: Agent, actions: Sequence[float], reward: float, episode: int) -> None:
        """Remember the episode, and learn from what is remembered."""
        states = [course.state(at, actions[at - 1] if at else 0.0) for at in range(len(actions))]
        agent.episode(states, actions, reward, UPDATES if episode >= self._random else 0)

    def _judged(self, bench: WidthBench, widths: Widths) -> float:
        """The task's score where that is a share, else the negative loss."""
        found = bench.score(widths)
        share = score_as_share(found, bench.task)
        return -min(found.loss, WORST) if share is None else share
