"""Learner: a detector that is trained update by update, with a moving average of its weights beside it.

`model.training` runs a whole training; this is for callers that decide what each update sees: the surrogates of the
agent, which mix labels with the teacher's own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import RTDETRDetectionModel

from model.training import GRADIENT_NORM, Sample, collate, optimizer_of
from model.yolo import YoloDetector, as_rows, infer


class Learner:
    """A student that learns and its teacher, the moving average of the student.

    With `frozen`, the layers before the head keep their weights and their batch statistics; updates are then cheaper,
    and cheaper still on `features` that were computed once.
    """

    def __init__(self, detector: YoloDetector, *, learning_rate: float, frozen: bool) -> None:
        self.size = detector.image_size
        self.names = detector.names
        self.device = detector.device
        self.frozen = frozen
        self.student: Any = copy.deepcopy(detector.module).to(self.device).train()
        self.student.args = get_cfg()
        self.student.criterion = None
        for parameter in self.student.parameters():
            parameter.requires_grad_(True)
        if frozen:
            for layer in self.student.model[:-1]:
                layer.requires_grad_(False).eval()
        # the boxes' distribution decodes by fixed weights, which are no weights to learn
        for name, parameter in self.student.named_parameters():
            if ".dfl." in name:
                parameter.requires_grad_(False)
        self.teacher: Any = copy.deepcopy(self.student).eval()
        self.teacher.end2end = False  # YOLO10 and 26: the head that scores every class
        self.optimizer = optimizer_of(self.student, learning_rate)
        self.peak = learning_rate

    @property
    def can_cache(self) -> bool:
        """Whether the head can learn from features alone. RT-DETR's draws queries from the labels."""
        return not isinstance(self.student, RTDETRDetectionModel)

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """What enters the head, a (B, C, H, W) tensor a level, for (B, 3, S, S) uint8 pictures; without gradients."""
        levels: list[torch.Tensor] = []
        hook = self.teacher.model[-1].register_forward_pre_hook(lambda _, inputs: levels.extend(inputs[0]))
        with torch.no_grad():
            self.teacher(self._input(pictures))
        hook.remove()
        return levels

    def loss(self, samples: Sequence[Sample], levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """The family's own loss, the mean over the samples; from their `features`, where given, through the head."""
        batch = self._batch(samples)
        preds = None if levels is None else self.student.model[-1](levels)
        return self.student.loss(batch, preds)[0].sum() / len(samples)

    def pseudo_labels(
        self, pictures: torch.Tensor, confidence: float, levels: list[torch.Tensor] | None = None
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The teacher's boxes of at least `confidence`: (n, 4) xyxy in the square's pixels and (n,) class ids each."""
        with torch.no_grad():
            raw = infer(self.teacher, self._input(pictures) if levels is None else levels, self.size)
        found = [as_rows(one, self.teacher, confidence)[0] for one in raw]
        return [(rows[:, :4].clamp(0, self.size), rows[:, 5].long()) for rows in found]

    def update(self, loss: torch.Tensor, rate: float, momentum: float) -> None:
        """One step down the loss at `rate` times the peak learning rate; then the teacher follows."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in self.student.parameters() if p.requires_grad], GRADIENT_NORM)
        if torch.isfinite(norm):  # one broken batch must not cost the run
            self.optimizer.step()
        average(self.teacher, self.student, momentum)

    def detector(self) -> YoloDetector:
        """The teacher as it stands, as a detector of its own."""
        module = copy.deepcopy(self.teacher)
        module.criterion = None
        return YoloDetector(module, self.size, str(self.device))

    def _input(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.to(self.device).float() / 255

    def _batch(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        return {key: value.to(self.device) for key, value in collate(samples, self.size).items()}


def average(teacher: torch.nn.Module, student: torch.nn.Module, momentum: float) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student, over weights and batch statistics (Tarvainen and
    Valpola, NeurIPS 2017); whole numbers, which count batches, are copied."""
    with torch.no_grad():
        for old, new in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - momentum)
            else:
                old.copy_(new)
