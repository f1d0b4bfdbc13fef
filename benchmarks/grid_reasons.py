"""Why a peer leads: the reasons that the page of benchmarks/grid.py gives, each for the cells that it explains.

A reason is a sentence and a condition on a cell. A cell has the first reason whose condition holds. The errors of peers
are those of peer_errors.json, which peer_errors.py measures in float32, and those of fastact its promises.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from grid_results import Result
from peer_errors import MOST, NEAR, named

from fastact.comparison import ulp
from fastact.comparison.work import named_dtype

EXPLAINED = 1.1  # times the fastest peer: a slower cell is given a reason
LEVEL_TWO = 2**20  # bytes: an array of that size does not stay in the second level of the cache
IN_CACHE = 16384  # elements

Cells = Mapping[tuple[object, ...], Result]


class Reason(NamedTuple):
    """A sentence, and which of the cells that are behind it explains."""

    text: str
    explains: Callable[[Result, Cells], bool]


def _key(result: Result, size: int | None = None) -> tuple[object, ...]:
    work = result.work if size is None else result.work._replace(shape=(size,))
    return result.isa, result.threads, result.form, work


def _level_but_for(*peers: str) -> Callable[[Result, Cells], bool]:
    """Whether fastact is level with every library but these."""

    def explains(result: Result, cells: Cells) -> bool:
        others = [time for name, time in result.nanoseconds.items() if name not in ("fastact", *peers)]
        return result.nanoseconds["fastact"] <= EXPLAINED * min(others, default=math.inf)

    return explains


def _of(
    calls: str | Iterable[str] = (),
    peers: str | Iterable[str] = (),
    dtypes: Iterable[str] = (),
    *,
    isa: str = "",
    rows: bool | None = None,
    columns: bool | None = None,
) -> Callable[[Result, Cells], bool]:
    """Whether a cell is of one of these, each of which stands for all if it is empty; a call without its arguments."""
    calls, peers = ({one} if isinstance(one, str) else set(one) for one in (calls, peers))

    def explains(result: Result, cells: Cells) -> bool:
        work = result.work
        return (
            (not calls or work.call.partition("(")[0] in calls)
            and (not peers or result.fastest_peer in peers)
            and (not dtypes or work.dtype in dtypes)
            and isa in ("", result.isa)
            and rows in (None, work.is_rowwise)
            and columns in (None, work.axis != -1)
        )

    return explains


def _comes_from_memory(result: Result, cells: Cells) -> bool:
    """Whether fastact is level with the same peers in the cache, and the arrays do not fit it."""
    size = result.work.size * np.dtype(named_dtype(result.work.dtype)).itemsize
    in_cache = cells.get(_key(result, IN_CACHE))
    return size >= LEVEL_TWO and in_cache is not None and (in_cache.ratio or 0) <= EXPLAINED


def _promised(mode: str, *functions: str) -> str:
    """The largest error that fastact promises of these functions, in ulp."""
    return f"{max(ulp.promised(name, mode, 'float32') for name in functions):g}"


PEERS_ON_AVX_512 = "ONNX Runtime", "SciPy"
SIXTEEN = ("bfloat16",)

REASONS = (
    Reason(
        "Numba's `fastmath` is another contract: no NaN, no infinity, no order of operations. Without it Numba is not "
        "ahead, nor is any other library.",
        _level_but_for("Numba fastmath"),
    ),
    Reason(
        "The other library computes the textbook formula, which cancels for negative x: down to "
        f"-{MOST}, squareplus and dish are off by {named('NumPy', 'squareplus')} and {named('NumPy', 'dish')} ulp, "
        f"their derivatives by {named('NumPy', 'squareplus', 'derivative')} and "
        f"{named('NumPy', 'dish', 'derivative')}, and by more below. fastact has at most "
        f"{_promised('value', 'squareplus', 'dish')}, and {_promised('derivative', 'squareplus', 'dish')} in the "
        "derivatives.",
        _of(("dish", "dish.backward", "squareplus", "squareplus.backward")),
    ),
    Reason(
        f"PyTorch computes 1 + erf: its left tail is lost, {named('PyTorch', 'gelu', points='near')} ulp for "
        f"|x| <= {NEAR} and everything below -6. fastact has at most {_promised('value', 'gelu')}.",
        _of(("gelu", "geglu", "geglu.backward"), "PyTorch"),
    ),
    Reason(
        "The derivatives of PyTorch and JAX are less accurate: "
        f"silu is off by {named('PyTorch', 'silu', 'derivative')} ulp in both, "
        f"mish by {named('PyTorch', 'mish', 'derivative')} and {named('JAX', 'mish', 'derivative')}; for "
        f"|x| <= {NEAR} gelu by {named('PyTorch', 'gelu', 'derivative', 'near')} and "
        f"{named('JAX', 'gelu', 'derivative', 'near')}, gelu_tanh by "
        f"{named('PyTorch', 'gelu_tanh', 'derivative', 'near')} and "
        f"{named('JAX', 'gelu_tanh', 'derivative', 'near')}, and their tails are lost. fastact has at most "
        f"{_promised('derivative', 'silu', 'mish', 'gelu', 'gelu_tanh')}.",
        _of(("gelu.backward", "silu.backward", "gelu_tanh.backward", "geglu_tanh.backward", "swiglu.backward",
             "mish.backward"), ("PyTorch", "JAX")),
    ),
    Reason(
        f"ONNX Runtime's sigmoid, gelu and gelu_tanh are off by {named('ONNX Runtime', 'sigmoid', points='near')}, "
        f"{named('ONNX Runtime', 'gelu', points='near')} and {named('ONNX Runtime', 'gelu_tanh', points='near')} ulp "
        f"for |x| <= {NEAR}, and wrong in the tails; silu, swiglu and gelu_quick are made of its sigmoid. fastact has "
        f"at most {_promised('value', 'sigmoid', 'silu', 'gelu', 'gelu_tanh', 'gelu_quick')}.",
        _of(("sigmoid", "silu", "gelu", "gelu_tanh", "gelu_quick", "swiglu", "glu", "geglu", "geglu_tanh"),
            "ONNX Runtime"),
    ),
    Reason(
        f"The tail of JAX's gelu_tanh is lost: {named('JAX', 'gelu_tanh', points='near')} ulp for |x| <= {NEAR}. Its "
        f"gelu is off by {named('JAX', 'gelu', points='near')} ulp there. fastact has at most "
        f"{_promised('value', 'gelu', 'gelu_tanh')}.",
        _of(("gelu", "gelu_tanh", "geglu", "geglu_tanh"), "JAX"),
    ),
    Reason(
        "ONNX Runtime and SciPy have AVX-512 in a column of AVX2: they take what the processor has and cannot be held "
        "to less, as PyTorch's tanh cannot.",
        lambda result, cells: result.isa == "v3" and _level_but_for(*PEERS_ON_AVX_512, "PyTorch")(result, cells)
        and (result.fastest_peer in PEERS_ON_AVX_512 or result.work.call == "tanh(x)"),
    ),
    Reason(
        "PyTorch keeps e^-|x| of the forward pass, an array more; fastact computes it again.",
        _of("log_sigmoid.backward", "PyTorch"),
    ),
    Reason(
        f"The plain quotient is off by {named('NumPy', 'softsign', 'derivative')} ulp, beyond the promise of "
        f"{_promised('derivative', 'softsign')}: fastact corrects the rounding of 1 + |x|.",
        _of("softsign.backward"),
    ),
    Reason(
        f"JAX's erf is off by {named('JAX', 'erf')} ulp, fastact's by at most {_promised('value', 'erf')}.",
        _of("erf", "JAX"),
    ),
    Reason(
        f"x - tanh(x) cancels: NumPy's is off by {named('NumPy', 'tanh_shrink')} ulp, fastact's by at most "
        f"{_promised('value', 'tanh_shrink')}.",
        _of(("tanh_shrink", "tanh_shrink.backward")),
    ),
    Reason(
        "hardmax counts the maxima of a row: only the first stays 1, and a NaN makes the row NaN.",
        _of("hardmax"),
    ),
    Reason(
        "The search for the threshold takes one row at a time; NumPy's expression sorts all short rows at once.",
        _of(("sparsemax", "entmax15", "entmax"), "NumPy"),
    ),
    Reason(
        "16-bit rows are converted to floats in memory of the thread, where the steps follow one another; PyTorch "
        "reads the 16-bit numbers once for each step.",
        _of((), "PyTorch", SIXTEEN, rows=True),
    ),
    Reason(
        "16-bit arrays are converted in blocks on the stack, by one loop for all formulas: a load and a store more "
        "than in registers, which shows beside one or two operations.",
        _of((), (), SIXTEEN, rows=False),
    ),
    Reason(
        "The exponential of the rounded difference x - m: the other libraries lose |x - m| ulp, "
        f"{named('JAX', 'log_softmax')} to {named('PyTorch', 'log_softmax')} in rows of standard deviation 3; fastact "
        f"reduces x itself and has at most {_promised('value', 'softmax', 'log_softmax', 'softmin')}.",
        _of(("softmax", "log_softmax", "softmin"), (), ("float32",)),
    ),
    Reason(
        "The sums of float64 rows are carried in two parts, so that their error does not grow with the length.",
        _of((), (), ("float64",), rows=True),
    ),
    Reason(
        "In the cache, 16,384 elements, fastact is level or ahead; these arrays are larger than its second level, and "
        "both calls move the same bytes.",
        _comes_from_memory,
    ),
    Reason(
        "Columns are added in the fixed tree of the rows, strip by strip, and read again for the result.",
        _of(rows=True, columns=True),
    ),
)


def by_reason(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The cells that ask for a reason, by their reasons, the largest group first; those without one have ""."""
    cells = {_key(result): result for result in results}
    found: dict[str, list[Result]] = {}
    for result in results:
        if (result.ratio or 0) > EXPLAINED:
            reason = next((one.text for one in REASONS if one.explains(result, cells)), "")
            found.setdefault(reason, []).append(result)
    return dict(sorted(found.items(), key=lambda group: (group[0] == "", -len(group[1]))))
