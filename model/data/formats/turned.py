"""Pictures that EXIF turns on their side, declared in the size that is stored: in which of the two are the boxes?

Exporters differ. Label Studio's COCO gives the stored size, and boxes as people drew them: on the displayed picture.
Tools that read pictures without looking at EXIF, as CVAT once did (cvat pull request 4529), give both as stored. Where
it is not known who wrote a file, its own boxes tell: only in one of the two do all of them lie inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

STORED, DISPLAYED = "stored", "displayed"
SLACK = 1.01  # times the side of a picture: beyond it is outside, and no rounding


def frame_of(pictures: Iterable[tuple[Sequence[Sequence[float]], tuple[int, int]]]) -> str | None:
    """STORED or DISPLAYED: where the boxes of all these pictures lie inside; None where they do in both, or in neither.

        >>> frame_of([([(10, 10, 90, 40)], (100, 50))])  # too wide for 50 x 100
        'stored'
        >>> frame_of([([(10, 10, 40, 90)], (100, 50))])
        'displayed'
        >>> frame_of([([(10, 10, 40, 40)], (100, 50))])

    Args:
        pictures: corners x1, y1, x2, y2 and the stored (width, height) of each.
    """
    stored = displayed = True
    for corners, (width, height) in pictures:
        for x1, y1, x2, y2 in corners:
            right, bottom = max(x1, x2), max(y1, y2)
            stored &= right <= width * SLACK and bottom <= height * SLACK
            displayed &= right <= height * SLACK and bottom <= width * SLACK
    if stored == displayed:
        return None
    return STORED if stored else DISPLAYED


def upright(corners: Sequence[Sequence[float]], size: tuple[int, int], turn: int) -> list[list[float]]:
    """Corners in a stored picture of `size` as those in the displayed one.

        >>> upright([(10, 20, 30, 25)], size=(100, 50), turn=6)  # a quarter clockwise: 50 x 100
        [[25, 10, 30, 30]]

    Args:
        turn: EXIF orientation, 5 to 8.
    """
    width, height = size
    if turn == 5:
        return [[y1, x1, y2, x2] for x1, y1, x2, y2 in corners]
    if turn == 6:
        return [[height - y2, x1, height - y1, x2] for x1, y1, x2, y2 in corners]
    if turn == 7:
        return [[height - y2, width - x2, height - y1, width - x1] for x1, y1, x2, y2 in corners]
    return [[y1, width - x2, y2, width - x1] for x1, y1, x2, y2 in corners]
