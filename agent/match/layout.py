"""What a match table holds: flat arrays, shared by the compiled code that builds, asks and saves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

THRESHOLDS = 10  # IoU .50:.05:.95
EVERY = (1 << THRESHOLDS) - 1
TIE_FIRST, TIE_NEXT = 1 << 15, 1 << 14  # in `true_bits`: this row opens, or continues, a tie within one image


class Layout(NamedTuple):
    """The arrays of a table of N images and C classes.

    A *marked* row is a detection that is a true positive, or ignored, at some IoU threshold. Marked rows are numbered
    by class, falling score, image and rank in the image. Every other detection is known by the marked row that follows
    it in its class: a query only has to count it.
    """

    image_ids: np.ndarray  # (N,) int64, ascending
    id_index: np.ndarray  # int32 hash table: where an id stands in `image_ids`
    row_start: np.ndarray  # (N + 1,) int64 into `rows`
    rows: np.ndarray  # uint32, per image ascending. A detection: its own number if marked, else that of the next marked
    # row. A ground truth that is not ignored: the number of marked rows plus its class.
    class_start: np.ndarray  # (C + 1,) int64: the marked rows of each class
    mark_image: np.ndarray  # uint32 a marked row: the position of its image
    true_bits: np.ndarray  # uint16 a marked row: bit t = true positive at threshold t; two bits more for ties
    ignored_bits: np.ndarray  # uint16 a marked row: bit t = ignored at threshold t
    ignored_start: np.ndarray  # (C + 1,) int64 into `ignored_rows`
    ignored_rows: np.ndarray  # int64: the marked rows with an ignored bit
    tie_first: np.ndarray  # uint32: the first marked row of each tie within one image and class
    tie_length: np.ndarray  # int32: all rows of the tie
    tie_start: np.ndarray  # int32 into `tie_place`
    tie_place: np.ndarray  # int32 a marked row of a tie: its position among all rows of the tie
