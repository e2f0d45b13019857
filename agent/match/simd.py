"""The precision envelope of several thresholds at once.

It is written as LLVM vectors because numba does not vectorise a running maximum by itself: as plain
numba the same loop took three times as long. LLVM splits the vectors to whatever the processor has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import gep_inbounds
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

EPS = float(np.spacing(1.0))  # pycocotools: precision = tp / (tp + fp + spacing(1))
STRIDE = 16  # ranks a row of the matrix that `envelope` reads: ten thresholds, padded to one cache line
NO_RANK = -1  # gives a negative precision, which no envelope takes


def _envelope(first: int, lanes: int) -> Callable:
    """A numba function (ranks, n, crossed, total) -> None for the thresholds `first` to `first + lanes - 1`.

    `ranks` is int32; row j (of STRIDE) holds per threshold the rank of true positive j + 1 among all detections; its
    precision is (j + 1) / (rank + EPS). The envelope is the maximum over j, j + 1, ..., n - 1. `total[t]` (float64)
    becomes the sum over j of envelope * crossed[j], with `crossed` (float64) the recall thresholds reached at j.
    """
    real, whole, index = ir.DoubleType(), ir.IntType(32), ir.IntType(64)
    reals, wholes = ir.VectorType(real, lanes), ir.VectorType(whole, lanes)

    @intrinsic
    def envelope(_typing: Any, ranks: Any, _n: Any, crossed: Any, total: Any) -> tuple[Any, Callable]:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at = [make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2, 3)]
            one, zero, zeros = ir.Constant(index, 1), ir.Constant(index, 0), ir.Constant(reals, [0.0] * lanes)

            def spread(value: Any) -> Any:
                single = builder.insert_element(ir.Constant(reals, ir.Undefined), value, ir.Constant(whole, 0))
                return builder.shuffle_vector(single, single, ir.Constant(wholes, [0] * lanes))

            entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">", args[1], zero), loop, done)
            builder.position_at_end(loop)
            left, highest, summed = builder.phi(index), builder.phi(reals), builder.phi(reals)
            j = builder.sub(left, one)
            offset = builder.add(builder.mul(j, ir.Constant(index, STRIDE)), ir.Constant(index, first))
            row = builder.bitcast(gep_inbounds(builder, at[0], offset), wholes.as_pointer())
            rank = builder.sitofp(builder.load(row, align=4), reals)
            hits = spread(builder.sitofp(left, real))
            precision = builder.fdiv(hits, builder.fadd(rank, ir.Constant(reals, [EPS] * lanes)))
            higher = builder.select(builder.fcmp_ordered(">", precision, highest), precision, highest)
            weight = spread(builder.load(gep_inbounds(builder, at[1], j)))
            more = builder.fadd(summed, builder.fmul(higher, weight))
            for phi, start, following in ((left, args[1], j), (highest, zeros, higher), (summed, zeros, more)):
                phi.add_incoming(start, entry)
                phi.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed(">", j, zero), loop, done)
            builder.position_at_end(done)
            result = builder.phi(reals)
            result.add_incoming(zeros, entry)
            result.add_incoming(more, loop)
            target = builder.bitcast(gep_inbounds(builder, at[2], ir.Constant(index, first)), reals.as_pointer())
            builder.store(result, target, align=8)
            return context.get_dummy_value()

        return types.void(ranks, types.int64, crossed, total), generate

    return envelope


envelope_50_to_65 = _envelope(0, 4)
envelope_70_to_85 = _envelope(4, 4)
envelope_90_to_95 = _envelope(8, 2)
