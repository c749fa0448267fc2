"""Dynamic time warping, exact and fast: no band, no approximation, and the FRDist of the REACT challenge on top of it.

A kernel call computes 16 pairs, one per SIMD lane: the recurrence of DTW cannot be vectorised along a row, but across
pairs. The three parts of FRDist (action units, valence and arousal, expressions) share the pass. Frames and the cost
of a cell are float32, as in the official evaluation; path sums are float64. Single-threaded: callers use processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.ir
import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, VA

ir: Any = llvmlite.ir  # its decorated methods have no signatures that a type checker can follow

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

LANES = 16
"""Pairs in one kernel call: a 512-bit register of float32, two of 256 bits, four of 128."""
_PARTS = ((AU.start, AU.stop), (VA.start, VA.stop), (EXPRESSIONS.start, EXPRESSIONS.stop))
_WEIGHTS = np.array([1 / 15, 1.0, 1 / 8])
"""Weights of the parts in FRDist, from the official code: 1, not 1/2, for valence and arousal."""

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(*, reorder: bool = False) -> Callable[[_F], _F]:
    """`numba.njit` without the GIL, cached on disk where a cache folder is writable.

    reorder: allow sums to be reordered (deterministically on one machine), so that they can be vectorised.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract"} if reorder else False}

    def decorate(function: _F) -> _F:
        try:
            return cast(_F, numba.njit(cache=True, **options)(function))
        except RuntimeError:  # neither the package folder nor the user's cache is writable
            return cast(_F, numba.njit(**options)(function))

    return decorate


def dtw(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """DTW distance of (T, D) and (U, D): the root of the least sum of squared Euclidean distances along a path.

    Any T, U >= 1; steps (1, 0), (0, 1), (1, 1) (Sakoe and Chiba 1978, as tslearn); float64 throughout.
    Raises ValueError for other shapes.
    """
    x, y = np.ascontiguousarray(a, np.float64), np.ascontiguousarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(f"dtw compares (T, D) with (U, D), T and U at least 1, not {x.shape} with {y.shape}")
    return float(np.sqrt(_path_cost(x, y)))


def frdist_matrix(predictions: npt.ArrayLike, listeners: npt.ArrayLike) -> Floats64:
    """(P, K) FRDist of every prediction to every listener: dtw(AU)/15 + dtw(VA) + dtw(expressions)/8.

    predictions: (P, T, 25); listeners: (K, U, 25); T and U may differ. Raises ValueError for other shapes.
    """
    p, k = _attributes(predictions, "predictions"), _attributes(listeners, "listeners")
    full = len(k) // LANES * LANES
    out = np.empty((len(p), len(k)))
    out[:, :full] = _all_pairs(p, k[:full])
    rest = k[full:]
    # DTW is symmetric, bit by bit: swap the roles where that leaves fewer lanes empty.
    swap = -(-len(p) // LANES) * len(rest) < len(p)
    out[:, full:] = _all_pairs(rest, p).T if swap else _all_pairs(p, rest)
    return out


def _attributes(array: npt.ArrayLike, what: str) -> Floats32:
    x = np.ascontiguousarray(array, np.float32)
    if x.ndim != 3 or x.shape[2] != ATTRIBUTES or 0 in x.shape:
        raise ValueError(f"{what} of FRDist are (count, frames, {ATTRIBUTES}), none of them 0, not {x.shape}")
    return x


def _all_pairs(columns: Floats32, lanes: Floats32) -> Floats64:
    rows = np.empty((columns.shape[1] + 1, 3, LANES))
    out = np.empty((len(columns), len(lanes)))
    for s in range(0, len(lanes), LANES):
        packed = _pack(lanes[s : s + LANES])
        width = min(LANES, len(lanes) - s)
        for i, column in enumerate(columns):
            costs = _pack_costs(packed, column, rows)
            out[i, s : s + width] = (_WEIGHTS @ np.sqrt(costs))[:width]
    return out


def _pack(series: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n, T, D), n <= 16, as (T, D, 16): a lane each; the last series fills the remaining lanes."""
    lanes = np.minimum(np.arange(LANES), len(series) - 1)
    return np.ascontiguousarray(series[lanes].transpose(1, 2, 0))


@compiled()
def _path_cost(a: Floats64, b: Floats64) -> float:
    row = np.full(len(b) + 1, np.inf)
    row[0] = 0.0
    for i in range(len(a)):
        diagonal, row[0] = row[0], np.inf
        if i == 0:
            diagonal = 0.0
        for j in range(len(b)):
            cost = 0.0
            for d in range(a.shape[1]):
                gap = a[i, d] - b[j, d]
                cost += gap * gap
            up = row[j + 1]
            row[j + 1] = min(up, diagonal, row[j]) + cost
            diagonal = up
    return row[-1]


def _row_step_typed(_context: Any, series: types.Array, column: types.Array, rows: types.Array) -> Any:
    """One row of the recurrence, all lanes and parts: rows[j + 1] = cost(j) + min(rows[j + 1], old rows[j], rows[j]).

    series: (25, 16) float32, one frame of each lane. column: (U, 25) float32, the sequence that all lanes share.
    rows: (U + 1, 3, 16) float64, in place. Emits LLVM vectors, because numba does not vectorise the plain loops: the
    frame's values and both neighbouring cells stay in registers. Four times as fast as the loops.
    """
    signature = types.void(series, column, rows)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        i64, i32, f32 = ir.IntType(64), ir.IntType(32), ir.FloatType()
        narrow, wide = ir.VectorType(f32, LANES), ir.VectorType(ir.DoubleType(), LANES)
        arrays = [cgutils.create_struct_proxy(t)(context, builder, a) for t, a in zip(sig.args, args, strict=True)]
        frame, columns, cells = (a.data for a in arrays)
        length = builder.extract_value(arrays[1].shape, 0)

        def at(pointer: Any, offset: Any) -> Any:
            return builder.gep(pointer, [i64(offset) if isinstance(offset, int) else offset])

        def vector(pointer: Any, kind: Any) -> Any:
            return builder.bitcast(pointer, kind.as_pointer())

        def smaller(x: Any, y: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", x, y), x, y)

        def to_all_lanes(value: Any) -> Any:
            single = builder.insert_element(ir.Constant(narrow, ir.Undefined), value, i32(0))
            return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(i32, LANES), [0] * LANES))

        values = [builder.load(vector(at(frame, d * LANES), narrow), align=4) for d in range(ATTRIBUTES)]
        corners = [builder.load(vector(at(cells, part * LANES), wide), align=8) for part in range(3)]
        before = builder.block
        loop, done = builder.append_basic_block("cells"), builder.append_basic_block("row_done")
        builder.branch(loop)

        builder.position_at_end(loop)
        j = builder.phi(i64)
        left, diagonal = [builder.phi(wide) for _ in range(3)], [builder.phi(wide) for _ in range(3)]
        after_j = builder.add(j, i64(1))
        shared = at(columns, builder.mul(j, i64(ATTRIBUTES)))
        cell = at(cells, builder.mul(after_j, i64(3 * LANES)))
        j.add_incoming(i64(0), before)
        j.add_incoming(after_j, loop)
        for part, (begin, end) in enumerate(_PARTS):
            sums: list[Any] = []
            for d in range(begin, end):
                gap = builder.fsub(values[d], to_all_lanes(builder.load(at(shared, d), align=4)))
                square = builder.fmul(gap, gap, flags=("contract",))
                if len(sums) < 2:  # two sums, so that consecutive multiply-adds are independent
                    sums.append(square)
                else:
                    sums[d % 2] = builder.fadd(sums[d % 2], square, flags=("contract",))
            cost = builder.fadd(*sums)
            place = vector(at(cell, part * LANES), wide)
            up = builder.load(place, align=8)
            best = smaller(smaller(up, diagonal[part]), left[part])
            here = builder.fadd(best, builder.fpext(cost, wide))
            builder.store(here, place, align=8)
            left[part].add_incoming(ir.Constant(wide, [float("inf")] * LANES), before)
            left[part].add_incoming(here, loop)
            diagonal[part].add_incoming(corners[part], before)
            diagonal[part].add_incoming(up, loop)
        builder.cbranch(builder.icmp_signed("<", after_j, length), loop, done)

        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


_row_step: Callable[[Floats32, Floats32, Floats64], None] = cast(Any, intrinsic(_row_step_typed))


@compiled()
def _pack_costs(pack: Floats32, column: Floats32, rows: Floats64) -> Floats64:
    """(3, 16) least path sums of each part and lane.

    pack: (T, 25, 16); column: (U, 25); rows: (U + 1, 3, 16), scratch.
    """
    rows[:] = np.inf
    rows[0] = 0.0
    for i in range(len(pack)):
        _row_step(pack[i], column, rows)
        rows[0] = np.inf
    return rows[-1].copy()
