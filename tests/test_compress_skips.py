"""compress_skips on arrays: certified values, NumPy's, and the extremes of every type."""

from __future__ import annotations

import math
import re
from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import skipstream as sk

NIST = ["Lew", "Lottery", "Mavro", "Michelso", "NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4",
        "PiDigits"]  # fmt: skip
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def read_nist(path: Path) -> tuple[list[Decimal], Decimal, Decimal]:
    """Read the samples, and the certified mean and standard deviation (ddof 1)."""
    text = path.read_text()
    certified = [
        Decimal(re.search(pattern + r"\s*(-?[\d.]+)", text)[1])
        for pattern in (r"(?:ybar:|\nmean +=)", r"(?:\bs:|\nstandardDeviation +=)")
    ]
    data = re.split(r"\n(?:#? *Data: Y *\n-+|# Data\n#\n#+)\n", text)[-1]
    return [Decimal(line) for line in data.split()], certified[0], certified[1]


def exactly(data: list[Decimal]) -> tuple[Decimal, Decimal]:
    """Mean and standard deviation (ddof 1) to 50 digits."""
    getcontext().prec = 50
    mean = sum(data) / len(data)
    return mean, (sum((x - mean) ** 2 for x in data) / (len(data) - 1)).sqrt()


def correct_digits(value: float, certified: Decimal) -> float:
    error = abs(Decimal(value) - certified)
    if error == 0:
        return 17.0
    return -float((error / abs(certified) if certified else error).log10())


@pytest.mark.parametrize("name", NIST)
def test_integers_with_a_scale_hold_fifteen_certified_digits(name: str, shared_data: Path) -> None:
    data, certified_mean, certified_std = read_nist(shared_data / "nist_strd" / f"{name}.txt")
    mean, std = exactly(data)
    # The certificates are rounded to the digits that they print.
    assert round(mean, -certified_mean.as_tuple().exponent) == certified_mean
    assert abs(std - certified_std) <= Decimal(10) ** certified_std.as_tuple().exponent
    n_decimals = max(-sample.as_tuple().exponent for sample in data)
    stored = np.array([int(sample.scaleb(n_decimals)) for sample in data])
    result = sk.compress_skips(stored, ("mean", "std"), ddof=1, scale=float(f"1e-{n_decimals}"))
    assert correct_digits(float(result["mean"]), mean) >= 15
    assert correct_digits(float(result["std"]), std) >= 15


@pytest.mark.parametrize("name", NIST)
def test_float64_samples_hold_what_float64_can(name: str, shared_data: Path) -> None:
    data, _, _ = read_nist(shared_data / "nist_strd" / f"{name}.txt")
    getcontext().prec = 50
    stored = np.array([float(sample) for sample in data])
    exact = [Decimal(float(sample)) for sample in stored]
    mean = sum(exact) / len(exact)
    std = (sum((x - mean) ** 2 for x in exact) / (len(exact) - 1)).sqrt()
    result = sk.compress_skips(stored, ("mean", "std"), ddof=1)
    assert correct_digits(float(result["mean"]), mean) >= 15
    # The rounding of single differences, n of them, stays below a few units of the last place.
    assert correct_digits(float(result["std"]), std) >= 14


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("order", "<>")
def test_extremes_of_the_integer_types_are_exact(dtype: str, order: str) -> None:
    limits = np.iinfo(dtype)
    samples = np.array([[limits.min, limits.max, limits.max], [limits.max] * 3], dtype)
    samples = samples.astype(samples.dtype.newbyteorder(order))
    result = sk.compress_skips(samples, ("mean", "median", "min", "max", "sum", "var"))
    exact = [[int(x) for x in row] for row in samples]
    for row, pixel in enumerate(exact):
        n = len(pixel)
        assert result["sum"][row] == float(sum(pixel))
        assert result["mean"][row] == sum(pixel) / n  # int / int is correctly rounded
        assert result["median"][row] == float(sorted(pixel)[1])
        assert result["min"][row] == float(min(pixel))
        assert result["max"][row] == float(max(pixel))
        assert result["var"][row] == (n * sum(x * x for x in pixel) - sum(pixel) ** 2) / n**2
    assert (result["mask"] == sk.MaskBit.SATURATED).all()


@pytest.mark.parametrize("dtype", ["i2", ">u2", "i4", ">i8", "f4", ">f8"])
@pytest.mark.parametrize("n_skips", [1, 2, 3, 16, 17, 100, 501])
def test_order_statistics_are_those_of_numpy(dtype: str, n_skips: int) -> None:
    samples = np.random.default_rng(n_skips).normal(1000, 30, (40, n_skips)).astype(dtype)
    names = ("median", "quantile(0.25)", "min", "max", "ptp", "first", "last", "mad")
    result = sk.compress_skips(samples, names)
    values = samples.astype(np.float64)
    median = np.median(values, axis=-1)
    assert np.array_equal(result["median"], median)
    assert np.array_equal(result["min"], values.min(axis=-1))
    assert np.array_equal(result["max"], values.max(axis=-1))
    assert np.array_equal(result["ptp"], np.ptp(values, axis=-1))
    assert np.array_equal(result["first"], values[:, 0])
    assert np.array_equal(result["last"], values[:, -1])
    assert np.array_equal(result["mad"], np.median(np.abs(values - median[:, None]), axis=-1))
    # The interpolation rounds once or twice, NumPy's maybe in another order.
    np.testing.assert_allclose(
        result["quantile(0.25)"], np.quantile(values, 0.25, axis=-1), rtol=4e-16
    )


def test_missing_samples_are_left_out_and_counted() -> None:
    samples = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [4.0, 5.0, 9.0]], "f4")
    result = sk.compress_skips(samples, ("mean", "median", "count", "first"))
    assert result["mean"][0] == 2.0
    assert result["count"].tolist() == [2.0, 0.0, 3.0]
    assert np.isnan(result["mean"][1])
    assert np.isnan(result["median"][1])
    assert result["median"][2] == 5.0
    assert result["mask"].tolist() == [
        sk.MaskBit.MISSKIPS, sk.MaskBit.NODATA, 0
    ]  # fmt: skip


def test_blank_integers_are_missing() -> None:
    samples = np.array([[-1, 10, 20], [-1, -1, -1]], ">i2")
    result = sk.compress_skips(samples, ("mean", "count"), blank=-1)
    assert result["mean"][0] == 15.0
    assert np.isnan(result["mean"][1])
    assert result["count"].tolist() == [2.0, 0.0]


def test_ranges_of_skips_are_pythons() -> None:
    samples = np.arange(20.0).reshape(2, 10)
    for begin, end in ((0, 3), (3, None), (-4, -1), (2, 8)):
        result = sk.compress_skips(samples, ("mean",), begin_skip=begin, end_skip=end)
        assert result["mean"].tolist() == samples[:, begin:end].mean(axis=-1).tolist()


@pytest.mark.parametrize(("begin", "end"), [(10, None), (5, 5), (0, 11), (-11, None)])
def test_impossible_ranges_of_skips_are_refused(begin: int, end: int | None) -> None:
    with pytest.raises(sk.ConfigError, match="skip"):
        sk.compress_skips(np.zeros((2, 10)), begin_skip=begin, end_skip=end)


def test_a_numpy_reducer_runs_by_name() -> None:
    samples = np.random.default_rng(1).normal(size=(3, 4, 9))
    with pytest.warns(sk.SlowStatisticWarning, match="nanprod"):
        result = sk.compress_skips(samples, ("mean", "nanprod"))
    assert np.array_equal(result["nanprod"], np.nanprod(samples, axis=-1))


def test_an_unknown_statistic_names_the_nearest() -> None:
    with pytest.raises(sk.ConfigError, match=r'"meadian"; did you mean "median"\?'):
        sk.compress_skips(np.zeros((2, 3)), ("meadian",))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (1, 1), (0, 4)])
def test_any_number_of_axes_is_reduced_along_the_last(shape: tuple[int, ...]) -> None:
    samples: NDArray[np.float32] = np.ones(shape, np.float32)
    result = sk.compress_skips(samples, ("sum",))
    assert result["sum"].shape == shape[:-1]
    assert (result["sum"] == shape[-1]).all()


def test_a_missing_axis_of_skips_is_an_error() -> None:
    with pytest.raises(sk.ConfigError, match="at least one skip"):
        sk.compress_skips(np.zeros((3, 0)))


def test_rms_of_large_offsets_is_exact() -> None:
    samples = np.array([[32767, 32766, 32765]], "i2")
    result = sk.compress_skips(samples, ("rms",), zero=32768.0)
    exact = sum((int(x) + 32768) ** 2 for x in samples[0]) / 3
    assert result["rms"][0] == math.sqrt(exact)
