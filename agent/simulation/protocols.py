"""Protocols of the literature: the sizes that published curves were measured at.

Pool, start and batches are those of MI-AOD (Yuan et al., CVPR 2021) and CDAL (Agarwal et al., ECCV 2020), which later
papers keep. The trainer is ours (AdamW, one cycle): absolute mAP cannot be compared with theirs, a strategy's gain over
random can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Base = Literal["start", "newest", "serving"]
"""What a training starts from: the simulation's weights, so that two models differ by their labels alone; the model
before, whatever it reached; the model that serves, and a worse one does not, as in the product."""


@dataclass(frozen=True)
class Protocol:
    """What a named protocol fixes; each can be given otherwise by its own option.

    Attributes:
        detector: see `model.detectors.open.open_detector`.
        pool: images that the full pool holds; another pool is told of, not refused.
        initial, batch, cycles: as in `SimulationConfig`.
        epochs: passes over the labeled images.
        image_size: side of the square in pixels.
        train_batch: images an update.
        data: what `--data` may be where ultralytics can download it.
    """

    detector: str
    pool: int
    initial: int
    batch: int
    cycles: int
    epochs: int
    image_size: int
    train_batch: int
    data: str


PROTOCOLS = {
    # 5 % to start, 2.5 % a cycle, to 20 %
    "voc-retinanet": Protocol("torchvision:retinanet", 16_551, 827, 413, 6, 26, 608, 16, "VOC.yaml"),
    # 1,000 to start, 1,000 a cycle, to 10,000
    "voc-ssd": Protocol("torchvision:ssd", 16_551, 1000, 1000, 9, 116, 320, 32, "VOC.yaml"),
    # 2 % to start, 2 % a cycle, to 10 %
    "coco-retinanet": Protocol("torchvision:retinanet", 118_287, 2366, 2366, 4, 26, 608, 16, "coco.yaml"),
}
