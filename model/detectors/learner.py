"""Learner: a detector that is trained update by update, with a moving average of its weights beside it.

`model.detectors.training` runs a whole training; this is for callers that decide what each update sees: the surrogates
of the agent, which mix labels with the teacher's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.detectors.network import NetworkDetector
from model.detectors.run import GRADIENT_NORM, optimizer_of
from model.detectors.training import Sample


class Learner:
    """A student that learns and its teacher, the moving average of the student."""

    def __init__(self, detector: NetworkDetector, *, learning_rate: float) -> None:
        self.size = detector.image_size
        self.student = detector.student()
        self.teacher = detector.teacher()
        self.peak = learning_rate * detector.pace
        self.optimizer = optimizer_of(self.student.module, self.peak)

    def loss(self, samples: Sequence[Sample]) -> torch.Tensor:
        """The family's own loss, the mean over the samples."""
        return self.student.loss(samples) / len(samples)

    def pseudo_labels(self, pictures: torch.Tensor, confidence: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The teacher's boxes of at least `confidence`: (n, 4) xyxy in the square's pixels and (n,) class ids each."""
        with torch.no_grad():
            boxes = self.teacher.boxes(self.teacher.levels(pictures), confidence)
        return [(one.xyxy.clamp(0, self.size), one.class_ids) for one in boxes]

    def update(self, loss: torch.Tensor, rate: float, momentum: float) -> None:
        """One step down the loss at `rate` times the peak learning rate; then the teacher follows."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * rate
        loss.backward()
        weights = [p for p in self.student.module.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(weights, GRADIENT_NORM)
        if torch.isfinite(norm):  # one broken batch must not cost the run
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # as `Run.update` does
        average(self.teacher.module, self.student.module, momentum)

    def detector(self) -> NetworkDetector:
        """The teacher as it stands, as a detector of its own."""
        return self.teacher.copy()


def average(teacher: torch.nn.Module, student: torch.nn.Module, momentum: float) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student, over weights and batch statistics (Tarvainen and
    Valpola, NeurIPS 2017); whole numbers, which count batches, are copied."""
    with torch.no_grad():
        for old, new in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - momentum)
            else:
                old.copy_(new)
