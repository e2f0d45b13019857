"""What a simulation compares, and what it holds equal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

from agent import strategies
from agent.costs import LabelingCosts
from agent.cycle import CycleConfig
from agent.inner_loop.planning import PlanConfig
from agent.simulation.ablations import ABLATIONS
from agent.simulation.protocols import Base
from agent.strategies.mgral import Mgral, MgralConfig
from model.data.dataset import Dataset
from model.detectors.base import FitConfig


class SimulationError(ValueError):
    """A simulation that cannot be run as asked; the message says what would do."""


@dataclass(frozen=True)
class SimulationConfig:
    """One trainer, one start, one budget; only the selector differs.

    Attributes:
        strategies: names of strategies, or of ABLATIONS.
        initial: images labeled at the start, drawn at random by the seed.
        batch: images revealed a cycle.
        cycles: batches revealed; each curve has one point more.
        seeds: of the initial images, the order of training and its augmentation: the same for all strategies.
        weights: what trainings start from, see `model.detectors.open.open_detector`.
        fit: how every training is run, but for its seed.
        first_steps: weight updates of the first training, which all strategies share; 0: as of every other.
        base: what trainings but the first start from.
        plan: how much mgral may measure.
        seconds: that mgral's inner loop may take a cycle; 0: as in the product, by what training took.
        costs: what labeling is taken to cost, for the curves by minutes and for `mgral-minutes`.
    """

    strategies: tuple[str, ...]
    initial: int
    batch: int
    cycles: int
    seeds: tuple[int, ...] = (0, 1, 2)
    weights: str = "starter"
    fit: FitConfig = field(default_factory=FitConfig)
    first_steps: int = 0
    base: Base = "start"
    plan: PlanConfig = field(default_factory=PlanConfig)
    seconds: float = 0.0
    costs: LabelingCosts = field(default_factory=LabelingCosts)

    def __post_init__(self) -> None:
        for name in ("initial", "batch", "cycles"):
            if getattr(self, name) < 1:
                raise SimulationError(f"{name} {getattr(self, name)}: give at least 1")
        for name in ("strategies", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise SimulationError(f"{name} {','.join(map(str, values)) or '(none)'}: give each once, at least one")
        if self.base not in get_args(Base):
            raise SimulationError(f"base {self.base!r}: give one of {', '.join(get_args(Base))}")
        names = [*strategies.names(), *ABLATIONS]
        for name in self.strategies:
            if name not in names:
                raise SimulationError(f"strategy {name!r} is not known; there are {', '.join(names)}")

    def of_run(self, strategy: str, seed: int) -> CycleConfig:
        """How the cycles of one strategy under one seed are run."""
        training = replace(self.plan.training, seed=seed, batch=self.fit.batch)
        plan, agent, name = replace(self.plan, training=training), MgralConfig(), strategy
        if strategy in ABLATIONS:
            name = Mgral.name
            from agent.policy.reinforce import ReinforceConfig  # torch takes seconds to import

            if strategy == "mgral-surrogates":
                plan = replace(plan, surrogates=max(2, plan.hindsight // 2))
            elif strategy == "mgral-no-hindsight":
                plan = replace(plan, hindsight=0)
            elif strategy == "mgral-no-lstm":
                agent = MgralConfig(reinforce=ReinforceConfig(recurrent=False))
            elif strategy == "mgral-no-newness":
                agent = MgralConfig(newness=False)
            elif strategy == "mgral-no-doubt":
                agent = MgralConfig(doubt=False)
            elif strategy == "mgral-minutes":
                agent = MgralConfig(costs=self.costs)
            elif strategy == "mgral-greedy":
                agent = MgralConfig(chooser="greedy")
            else:
                agent = MgralConfig(never_worse=False)
        return CycleConfig(replace(self.fit, seed=seed), name, self.batch, seed, plan, self.seconds, agent)

    def check(self, pool: Dataset, evaluation: Dataset) -> None:
        """Raise SimulationError where a data set is too small for what is asked, or cannot be scored."""
        images = self.initial + self.batch * self.cycles
        if images > len(pool):
            raise SimulationError(
                f"{self.initial} images and {self.cycles} batches of {self.batch} are {images}, but the pool holds "
                f"{len(pool)}: give fewer cycles or smaller batches"
            )
        if not evaluation.boxes:
            raise SimulationError(
                f"the {len(evaluation)} evaluation images hold no box: give images of another split than 'train' boxes"
            )

    def trainer(self) -> dict[str, Any]:
        """What all runs must have in common to be compared; plain values for JSON."""
        names = ("initial", "batch", "weights", "fit", "first_steps", "base")
        return {name: value for name, value in asdict(self).items() if name in names}

    def selector(self, strategy: str) -> dict[str, Any]:
        """What makes a strategy choose as it does, beside its name; plain values for JSON."""
        config = self.of_run(strategy, 0)
        if config.strategy != Mgral.name:
            return {}
        return {"plan": asdict(config.plan), "seconds": config.seconds, "agent": asdict(config.agent)}
