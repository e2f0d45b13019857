"""Recomputed: layers of the YOLO family that keep two thirds of what a training otherwise keeps of them.

Such a layer is act(bn(conv(x))). For the backward pass PyTorch keeps what enters each of the three. What enters the
activation need not be kept: it is computed again from what enters the normalization, by the same kernel, so that a
training gives the same weights to the last bit. See "checkpointing" in Rota Bulò et al., "In-Place Activated BatchNorm
for Memory-Optimized Training of DNNs", CVPR 2018. It takes no longer, because the activation works in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import silu
from ultralytics.nn.modules.conv import Conv, DWConv


class RecomputedConv(Conv):
    """See the module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `Conv.forward`."""
        x, norm = self.conv(x), self.bn
        if not norm.training or norm.num_batches_tracked is None:
            return self.act(norm(x))
        norm.num_batches_tracked.add_(1)
        return _NormAndSiLU.apply(
            x, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps
        )


class RecomputedDWConv(RecomputedConv, DWConv):
    """The same with a group for each channel."""


CLASSES: dict[type, type] = {Conv: RecomputedConv, DWConv: RecomputedDWConv}
PLAIN = {recomputed: plain for plain, recomputed in CLASSES.items()}


def recompute(module: torch.nn.Module) -> None:
    """Let all layers of a module do so that can: that have a SiLU behind a normalization by the batch."""
    for layer in module.modules():
        if type(layer) in CLASSES and type(layer.act) is torch.nn.SiLU and type(layer.bn) is torch.nn.BatchNorm2d:
            layer.__class__ = CLASSES[type(layer)]


def as_published(module: torch.nn.Module) -> None:
    """Make all of them ultralytics' own layers again, as which they are saved."""
    for layer in module.modules():
        if type(layer) in PLAIN:
            layer.__class__ = PLAIN[type(layer)]


class _NormAndSiLU(torch.autograd.Function):
    """silu(batch_norm(x)) over the batch, for (B, C, H, W) float x, with the running statistics updated in place."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running_mean: torch.Tensor,
        running_var: torch.Tensor,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        y, mean, scale = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.eps = eps
        return silu(y, inplace=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        y, _, _ = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, ctx.eps)
        torch.ops.aten.silu_backward.grad_input(gradient, y, grad_input=y)
        gradients = torch.ops.aten.native_batch_norm_backward(
            y, x, weight, None, None, mean, scale, True, ctx.eps, [True, True, True]
        )
        return *gradients, None, None, None, None
