"""bfloat16 for the YOLO family, where a CPU computes in it."""

from __future__ import annotations

from typing import Any

import torch


def computes_in_bfloat16() -> bool:
    """Whether this CPU has instructions for it; others would emulate it, which is slower than float32."""
    return any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))


def autocast() -> torch.autocast:
    """What the YOLO family learns under: bfloat16 on one thread of a CPU that computes in it, which is faster
    (`python -m bench.precision`, docs/MEASURED.md). Weights, and what a loss computes of a network's outputs, stay
    float32.

    With more threads it stays off: theirs wait for each other in a loop inside oneDNN's kernel, which no setting ends,
    and beside another busy process a training then took several times as long (docs/MEASURED.md).
    """
    alone = torch.get_num_threads() == 1
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=alone and computes_in_bfloat16())


def float32(outputs: Any) -> Any:
    """Tensors in float32, in whatever lists and dictionaries they are."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {key: float32(value) for key, value in outputs.items()}
    return [float32(value) for value in outputs]
