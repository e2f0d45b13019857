"""Core-set: k-centre greedy, each pick the image farthest from everything labeled or picked so far."""

from __future__ import annotations

import numpy as np

from agent.pool.distances import squared_distances
from agent.pool.pool import Pool
from agent.strategies.base import Arrangement, Strategy, register
from agent.strategies.explain import Sentences, distance


@register
class CoreSet(Strategy):
    """k-centre greedy of Sener and Savarese (ICLR 2018, algorithm 1), at most twice the optimal covering radius.

    The score is the distance to the nearest labeled or already chosen image at the time of the pick; after the batch,
    the distance that is left. With nothing labeled the first pick is the image nearest to the pool's mean, and takes
    the second one's score. O(n * budget * D) time, O(n) memory beside the encodings.
    """

    name = "coreset"

    def arrange(
        self,
        pool: Pool,
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
    ) -> Arrangement:
        x, anchored = pool.standardised, len(pool.labeled_encodings) > 0
        nearest = np.square(pool.column("novelty"))  # to the labeled images, or to the mean where there are none
        rows: list[int] = []
        squares: list[float] = []  # of distances, each just before its choice
        for turn in range(budget):
            first = turn == 0 and not anchored
            row = int(nearest.argmin() if first else nearest.argmax())
            rows.append(row)
            squares.append(float(nearest[row]))
            to_row = squared_distances(x, x[row])
            nearest = to_row if first else np.minimum(nearest, to_row)
            nearest[row] = -1.0  # below any distance: duplicates of it at 0 still come, it does not
        away = np.sqrt(squares)
        if budget and not anchored:
            squares[0] = max(float(nearest.max()), 0.0) if budget == 1 else squares[1]
        rest = np.setdiff1d(np.arange(len(pool)), rows)
        rest = rest[np.lexsort((pool.ids[rest], -nearest[rest]))]

        def reason(place: int) -> str:
            if place >= budget:
                return distance(pool, float(np.sqrt(nearest[rest[place - budget]])), budget)
            if place == 0 and not anchored:
                return f"choice 1: {distance(pool, away[0], 0)}, the smallest one, as nothing is labeled yet"
            return f"choice {place + 1}: {distance(pool, away[place], place)}, the largest one"

        order = np.concatenate([rows, rest]).astype(np.int64)
        return Arrangement(order, np.sqrt([*squares, *nearest[rest]]), Sentences(len(pool), reason))
