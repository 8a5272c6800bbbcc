"""Exact numbers: from text over Arrow's decimals to int64 scaled by a power of ten, and back.

No binary float is in between, so `0.1` stays `0.1`.
"""

import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ntrader.engine.bars import Integers

# The engine takes prices and quantities up to 1.7 and 3.4 times this; beyond, it can abort the
# process.
_LARGEST = 10**13
# The engine takes numbers as float64 and multiplies them by 10**precision: two roundings, which
# together stay below a quarter of the last decimal up to here.
_EXACT_FLOAT = 2**50

# Arrow reads decimals wrongly, without an error, where digits or exponent exceed the type's width
# (measured with pyarrow 26: `1e30` as decimal128(38, 18) is 18960114910927365649.47). So texts are
# only given to a type that surely holds them. The wider one takes floats far from 1: `7.1e-06`.
_PLAIN = r"^[+-]?\d{0,19}(\.\d{0,18})?$"
_SCIENTIFIC = r"^[+-]?[\d.]{1,40}([eE][+-]?\d{1,2})?$"
_NARROW, _WIDE = pa.decimal128(38, 18), pa.decimal256(76, 40)
_OUT_OF_RANGE = 1e19


def parse(text: pa.Array) -> pa.Array:
    """Return decimals from strings such as `1.25`, `-3`, `.5` or `1e-7`.

    Raises:
        pyarrow.ArrowInvalid: one of them is not a number, or far from anything that is a price.
    """
    if pc.all(pc.match_substring_regex(text, _PLAIN)).as_py():
        return text.cast(_NARROW)
    floats = np.abs(text.cast(pa.float64()).to_numpy())
    scientific = pc.all(pc.match_substring_regex(text, _SCIENTIFIC)).as_py()
    if not scientific or (floats > _OUT_OF_RANGE).any():
        raise pa.ArrowInvalid("a number is out of range")
    return text.cast(_WIDE)


def is_number(text: str) -> bool:
    """Say whether the text is a finite number, in range or not."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None


def places(numbers: pa.Array, *, least: int, most: int) -> int:
    """Return how many decimals the numbers need, at least `least`, and `most` if more."""
    for precision in range(least, most):
        try:
            numbers.cast(_of_scale(numbers, precision))
        except pa.ArrowInvalid:
            continue
        return precision
    return most


def largest(precision: int) -> int:
    """Return the largest whole number that the engine gets exactly with `precision` decimals."""
    return min(_LARGEST, _EXACT_FLOAT // int(10**precision))


def fitting(highest: Decimal, precision: int) -> int:
    """Return `precision`, or as many decimals less as the highest number needs to be held."""
    while precision > 0 and highest > largest(precision):
        precision -= 1
    return precision


def too_large(numbers: pa.Array, precision: int) -> Integers:
    """Return the indices of the numbers that cannot be held with `precision` decimals."""
    mask = pc.greater(pc.abs(numbers), pa.scalar(largest(precision)).cast(pa.decimal128(20, 0)))
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def scale(numbers: pa.Array, precision: int) -> tuple[Integers, int]:
    """Return the numbers times 10**`precision`, rounded half to even, and how many were rounded."""
    rounded = pc.round(numbers, precision, round_mode="half_to_even")
    changed: int = pc.sum(pc.not_equal(rounded, numbers)).as_py() or 0
    # Rescaled in the width that it has: the narrow one might not hold all of its digits.
    narrow = rounded.cast(_of_scale(rounded, precision)).cast(pa.decimal128(38, precision))
    return to_int64(narrow), changed


def from_int64(values: Integers, precision: int) -> pa.Array:
    """Return int64 scaled by 10**`precision` as decimal128."""
    words = np.stack((values, values >> 63), axis=1).astype("<i8")
    return pa.Array.from_buffers(
        pa.decimal128(38, precision), len(values), [None, pa.py_buffer(words)]
    )


def to_int64(numbers: pa.Array) -> Integers:
    """Return decimal128 without nulls as int64 scaled by the power of ten of its type.

    Raises:
        ValueError: a number does not fit.
    """
    words = np.frombuffer(numbers.buffers()[1], dtype="<i8")
    words = words[2 * numbers.offset : 2 * (numbers.offset + len(numbers))]
    low, high = words[::2], words[1::2]
    if (high != low >> 63).any():
        raise ValueError("a number does not fit into 64 bits")
    return low.astype(np.int64)


def _of_scale(numbers: pa.Array, precision: int) -> pa.DataType:
    kind = pa.decimal256 if pa.types.is_decimal256(numbers.type) else pa.decimal128
    return kind(numbers.type.precision, precision)
