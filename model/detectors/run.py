"""Run: a training between two updates, which is everything that the next ones depend on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from model.detectors.base import FitConfig, TrainingError
from model.detectors.checkpoint import Checkpoint
from model.progress import Interrupted, Report

GRADIENT_NORM = 10.0
PATIENCE = 5  # updates in a row that may be skipped
REMEDY = "train again with another SEED, or look for damaged labels or pictures"


class Run:
    """A module, its optimizer and schedule, and the place in the data.

    Attributes:
        step, steps: updates done, skipped ones among them, of how many.
        left: (k,) int64, the images of the epoch that are still to come, in their order.
    """

    def __init__(self, module: Any, images: int, config: FitConfig) -> None:
        self.module, self.images, self.batch = module, images, config.batch
        self.epochs = config.passes(images)
        self.step, self.steps = 0, self.epochs * -(-images // config.batch)
        self.optimizer = optimizer_of(module, config.learning_rate)
        warm_up = 0.1 if self.steps > 10 else 0.05  # a warm-up of exactly one step makes torch divide by zero
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, config.learning_rate, total_steps=self.steps, pct_start=warm_up
        )
        self.left = torch.zeros(0, dtype=torch.int64)
        self.loss = torch.zeros((), device=next(module.parameters()).device)  # of the epoch, summed over `learned`
        self.learned = 0  # images of the epoch that an update learned from
        self.skipped = self.in_a_row = 0  # updates
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """What the training took, over all its parts."""
        return time.monotonic() - self.began

    def next_batch(self) -> list[int]:
        """Which images the next update sees; each epoch in an order of its own."""
        if not len(self.left):
            self.left = torch.randperm(self.images)
            self.loss, self.learned = torch.zeros_like(self.loss), 0
        batch, self.left = self.left[: self.batch], self.left[self.batch :]
        return batch.tolist()

    def update(self, loss: torch.Tensor, images: int) -> bool:
        """One step down the loss, () summed over a batch of `images`; whether it was taken: one broken batch must not
        cost the run."""
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), GRADIENT_NORM)
        taken = bool(torch.isfinite(norm + loss.detach()))
        if taken:
            self.optimizer.step()
            self.loss += loss.detach()
            self.learned += images
            self.in_a_row = 0
        else:
            self.skipped += 1
            self.in_a_row += 1
        self.optimizer.zero_grad(set_to_none=True)  # before the next batch is laid around them: 100 MB less fragments
        self.schedule.step()
        self.step += 1
        return taken

    def check_skipped(self, ids: Sequence[int]) -> None:
        """Raise TrainingError where there is no use in going on after a skipped update, which saw the images `ids`."""
        if not finite(self.module):  # batch statistics; they would not recover
            raise TrainingError(f"{self._at} the weights are no numbers any more: {REMEDY}")
        if self.in_a_row == min(PATIENCE, self.steps):
            raise TrainingError(
                f"{self._at} the loss was no number {self.in_a_row} times in a row: {REMEDY} among the images "
                f"{', '.join(map(str, sorted(ids)[:16]))}"
            )

    def check_weights(self) -> None:
        """Raise TrainingError where the trained weights are no numbers, or are none once they are saved."""
        if not finite(self.module, torch.half):
            raise TrainingError(f"{self._at} the weights are no numbers any more: {REMEDY}")

    def tell(self, report: Report, checkpoint: Checkpoint | None) -> None:
        """Report how far it is; where the report raises Interrupted, that is kept first."""
        figures: dict[str, float] = {}
        if self.learned:
            figures["loss"] = self.loss.item() / self.learned
        if self.skipped:
            figures["skipped"] = self.skipped
        try:
            report(self.step * self.epochs // self.steps, self.epochs, **figures)
        except Interrupted:
            if checkpoint:
                checkpoint.write(self.state())
            raise

    def state(self) -> dict[str, Any]:
        """All of it, and torch's random state: plain values and tensors."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "loss": self.loss,
            "seconds": self.seconds,
            **{name: getattr(self, name) for name in ("step", "left", "learned", "skipped", "in_a_row")},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, perhaps on another device."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and len(state["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        self.loss = state["loss"].to(self.loss.device)
        self.began = time.monotonic() - state["seconds"]
        for name in ("step", "left", "learned", "skipped", "in_a_row"):
            setattr(self, name, state[name])

    @property
    def _at(self) -> str:
        return f"the training ended at update {self.step} of {self.steps}, because"


def finite(module: torch.nn.Module, dtype: torch.dtype = torch.float32) -> bool:
    """Whether all weights and batch statistics are numbers, also as `dtype`."""
    return all(bool(torch.isfinite(v.to(dtype)).all()) for v in module.state_dict().values() if v.is_floating_point())


def optimizer_of(module: Any, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW over what may learn; only matrices and kernels decay, not biases and scales."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
        fused=True,
    )
