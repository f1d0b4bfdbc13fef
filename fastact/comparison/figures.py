"""What is known of the errors of one function: :class:`Figures`, and :func:`judge`, which finds them for some inputs.

Figures name the results that they are about by a digest of their bits. Results with the same digest have the same
errors: they need not be judged again.
"""

import dataclasses
import hashlib
import math
import zlib
from typing import Any, Self

import numpy as np

import fastact
from fastact import _isa
from fastact.comparison import ulp
from fastact.comparison.work import ALL_DTYPES, Array, named_dtype

BLOCK = 2**14  # inputs whose float64 temporaries fit the cache, and cause no page faults
PATTERNS_PER_PART = 2**20  # of one process


@dataclasses.dataclass
class Figures:
    """The errors of one function, mode and dtype (of rows also of one kind of logits), over the results so far."""

    function: str
    mode: str
    dtype: str
    logits: str = ""
    variant: str = ""  # one of `ulp.VARIANTS`, or the defaults
    isa: str = _isa.CHOSEN
    by: str = ""  # what computed the results: versions and the processor
    results: int = 0
    digest: str = ""  # of the bits of all results
    correctly_rounded: int = 0
    sum_ulp: float = 0.0
    max_ulp: float = -1.0
    worst: float = math.nan  # the worst input; of rows, the worst result
    worst_length: int = 1  # of the row of that result

    def __iadd__(self, other: "Figures") -> Self:
        self.results += other.results
        self.digest = _hash(bytes.fromhex(self.digest + other.digest))
        self.correctly_rounded += other.correctly_rounded
        self.sum_ulp += other.sum_ulp
        if other.max_ulp > self.max_ulp:
            self.max_ulp, self.worst, self.worst_length = other.max_ulp, other.worst, other.worst_length
        return self

    @property
    def task(self) -> tuple[str, str, str, str, str]:
        """What the figures are about, on every instruction set."""
        return self.function, self.mode, self.dtype, self.logits, self.variant

    @property
    def order(self) -> tuple[int, int, int]:
        """The place in a table; ValueError if this version does not have the function, variant, mode or logits."""
        within = ulp.LOGITS.index(self.logits) if self.logits else ulp.MODES.index(self.mode)
        return ulp.FUNCTIONS.index(self.function), ulp.variants(self.function).index(self.variant), within

    @property
    def mean_ulp(self) -> float:
        return self.sum_ulp / self.results

    @property
    def share(self) -> str:
        """Of correctly rounded results, truncated: 100 % means all of them."""
        return f"{10**5 * self.correctly_rounded // self.results / 1000:.3f} %"

    def as_json(self) -> dict[str, Any]:
        """A record without infinities and NaN, which JSON does not have."""
        record = {**dataclasses.asdict(self), "mean_ulp": self.mean_ulp, "worst_hex": self.worst.hex()}
        return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Figures":
        """The figures of a record; KeyError, TypeError or ValueError if it is not one of this version."""
        fields = {field.name: record[field.name] for field in dataclasses.fields(cls)}
        figures = cls(**fields | {"max_ulp": float(record["max_ulp"]), "worst": float(record["worst"])})
        for field in dataclasses.fields(cls):
            expected = type(field.default) if field.default is not dataclasses.MISSING else str
            if not isinstance(getattr(figures, field.name), (int, float) if expected is float else expected):
                raise TypeError(field.name)
        _ = figures.order
        if figures.dtype not in ALL_DTYPES or not figures.results > 0:
            raise ValueError(figures)
        return figures


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def digest_of(results: Array) -> str:
    """A digest of the bits of all results; the sign and the payload of a NaN depend on the processor, and do not count.

    It is a checksum of 32 bits, which takes a third of the time of a hash. 2^32 results have 2^18 of them, and those
    are hashed.
    """
    unordered = np.isnan(results)
    if unordered.any():
        results = results.copy()
        results[unordered] = np.nan
    return f"{zlib.crc32(results.view(np.uint8).data):08x}"


def judge(function: str, mode: str, judging: bool, x: Array, variant: str = "") -> Figures:
    """Compare the results for inputs, or for rows of logits, with the reference; if not `judging`, only digest them."""
    activation, parameters = fastact.get(function), ulp.numbers(variant)
    with fastact.threads(1):
        computed = (activation if mode == "value" else getattr(activation, mode))(x, **parameters)
    figures = Figures(function, mode, x.dtype.name, results=x.size, digest=digest_of(computed))
    if not judging:
        return figures
    find = ulp.errors_of_float64 if x.dtype == np.float64 else ulp.errors
    errors = find(function, mode, x, computed, parameters=parameters)
    worst = np.unravel_index(errors.argmax(), errors.shape)
    rowwise = function in ulp.ROWWISE
    return dataclasses.replace(
        figures,
        correctly_rounded=int(np.count_nonzero(errors <= 0.5)),  # 0.5 is a tie, which 16-bit results often are
        sum_ulp=float(errors.sum()),
        max_ulp=float(errors[worst]),
        worst=float(computed[worst] if rowwise else x[worst]),
        worst_length=x.shape[-1] if rowwise else 1,
    )


def judge_patterns(dtype: str, stride: int, function: str, mode: str, judging: bool, first: int) -> Figures:
    """Judge one part of the inputs of a dtype, by their bit patterns."""
    figures = Figures(function, mode, dtype)
    part = ulp.patterns(dtype, stride)[first : first + PATTERNS_PER_PART]
    unsigned = np.uint32 if dtype == "float32" else np.uint16
    for start in range(0, len(part), BLOCK):
        block = part[start : start + BLOCK]
        bits = np.arange(block.start, block.stop, block.step).astype(unsigned)
        figures += judge(function, mode, judging, bits.view(named_dtype(dtype)))
    return figures
