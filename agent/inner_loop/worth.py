"""Whether measuring batches can tell one from another, worked out beforehand: measuring is half of a cycle's time."""

from __future__ import annotations

import math

SPREAD = 0.026
"""mAP by which batches of one project differ, as their gains were measured on three sets (docs/RESULTS.md)."""

ERROR, HELD_OUT = 0.04, 33
"""Standard error of such a gain where so many images were held out, over the same measurements. It falls with the root
of their number."""


def not_worth(held_out: int, error: float | None = None) -> str:
    """Why nothing is to be measured; empty where a measured gain is known better than batches differ.

    Args:
        held_out: images of the holdout.
        error: standard error of the last training's gain, by the bootstrap over this holdout; where it is not known,
            what was usual with as many images.

    >>> not_worth(200)
    ''
    """
    if error is None or not math.isfinite(error):
        error = ERROR * math.sqrt(HELD_OUT / held_out) if held_out else math.inf
    if error <= SPREAD:
        return ""
    known = (
        f"a gain would be known to ± {error:.3f} mAP, and batches" if held_out else "no gain could be known: batches"
    )
    needed = math.ceil(HELD_OUT * (ERROR / SPREAD) ** 2)
    return (
        f"nothing is measured for the order: with {held_out} images held out {known} differ by about {SPREAD}; "
        f"about {needed} of them, a fifth of what is labeled, can tell"
    )
