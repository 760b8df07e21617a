"""Noise against skips and charge loss, against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

import skipstream as sk
from skipstream.skips import (
    _correlation_of_mads,
    planes_by_skips,
    skips_to_show,
    statistics_of_skips,
)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "i4", "u4", "i8", ">f4", "f8"])
def test_growing_means_and_lone_samples(dtype: str) -> None:
    random = np.random.default_rng(1)
    samples = random.integers(0, 200, (7, 9, 50)).astype(dtype)
    names = ["median", "mean(1)", "mean(50)", "mean(7)", "mean", "sample(0)", "sample(-1)",
             "sample(13)", "mean(8)"]  # fmt: skip
    planes = sk.compress_skips(samples, names)
    values = samples.astype(float)
    for n in (1, 7, 8, 50):
        assert np.allclose(planes[f"mean({n})"], values[..., :n].sum(-1) / n, rtol=1e-15, atol=0)
    # Floating samples: another order of summation, of 50 terms.
    rounding = 0 if np.dtype(dtype).kind in "iu" else 1e-14
    assert np.allclose(planes["mean(50)"], planes["mean"], rtol=rounding, atol=0)
    assert np.array_equal(planes["median"], np.median(values, axis=-1))
    for s in (0, -1, 13):
        assert np.array_equal(planes[f"sample({s})"], values[..., s])


def test_growing_means_leave_out_what_is_missing() -> None:
    samples = np.array([[[1.0, np.nan, 3.0, 5.0], [np.nan] * 4]])
    planes = sk.compress_skips(samples, ["mean(2)", "mean(3)", "sample(1)"])
    assert np.array_equal(planes["mean(2)"], [[1.0, np.nan]], equal_nan=True)
    assert np.array_equal(planes["mean(3)"], [[2.0, np.nan]], equal_nan=True)
    assert np.isnan(planes["sample(1)"]).all()
    whole = sk.compress_skips(np.array([[9, 7, -1, 5]]), ["mean(3)"], blank=-1, scale=2.0, zero=1.0)
    assert whole["mean(3)"] == [2.0 * 8 + 1]


@pytest.mark.parametrize(
    ("name", "told"),
    [("mean(0)", "first n samples"), ("mean(9)", "8 samples in use"), ("sample(10)", "10 samples"),
     ("sample(-11)", "10 samples"), ("sample", "sample(s)"), ("mean(x)", "mean(n)"),
     ("mean(2", "mean(n)"), ("median(3)", "takes no argument")],
)  # fmt: skip
def test_a_sample_that_is_not_there(name: str, told: str) -> None:
    with pytest.raises(sk.ConfigError, match=told.replace("(", r"\(").replace(")", r"\)")):
        sk.compress_skips(np.zeros((2, 10)), [name], begin_skip=2)


def test_growing_means_count_the_samples_in_use() -> None:
    samples = np.arange(20.0).reshape(1, 20)
    planes = sk.compress_skips(samples, ["mean(2)", "sample(0)"], begin_skip=5, end_skip=10)
    assert planes["mean(2)"] == [5.5]
    assert planes["sample(0)"] == [0.0]


def test_numbers_are_spaced_evenly() -> None:
    assert skips_to_show(1) == [1]
    assert skips_to_show(500, 4) == [1, 8, 63, 500]
    assert len(skips_to_show(500)) > 20


def samples_with(floor: float, seed: int, n: int = 4000, n_skips: int = 400) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(0, 30.0, (n, n_skips)) + random.normal(0, 1, (n, 1)) * floor


@pytest.mark.parametrize("robust", [True, False])
def test_noise_falls_as_it_should(robust: bool) -> None:
    pulls: dict[str, list[float]] = {"sigma_1": [], "exponent": []}
    for seed in range(40):
        result = sk.noise_vs_skips(samples_with(0.0, seed, 1000, 100), robust=robust, n_points=12)
        pulls["sigma_1"].append((result["sigma_1"] - 30) / result.errors["sigma_1"])
        pulls["exponent"].append((result["exponent"] - 0.5) / result.errors["exponent"])
        assert result["floor"] < 4 * result.errors["floor"] + 1
    for name, values in pulls.items():
        assert abs(np.mean(values)) < 5 / np.sqrt(40), name
        assert 0.5 < np.std(values) < 1.5, name


def test_mads_are_correlated_by_what_is_within_both() -> None:
    stats = pytest.importorskip("scipy.stats")
    q = stats.norm.ppf(0.75)
    shared = np.array([0.0, 0.05, 0.5, 0.8, 0.9, 1.0])
    expected = []
    for part in shared[1:-1]:
        both = stats.multivariate_normal([0, 0], [[1, np.sqrt(part)], [np.sqrt(part), 1]])
        inside = both.cdf([q, q], lower_limit=[-q, -q])
        expected.append(4 * inside - 1)  # of whether each is within the half around its median
    assert _correlation_of_mads(shared) == pytest.approx([0, *expected, 1], abs=1e-4)


def test_a_floor_is_found() -> None:
    result = sk.noise_vs_skips(samples_with(2.0, 1))
    assert abs(result["floor"] - 2) < 4 * result.errors["floor"]
    assert result["exponent"] < 0.5 - 5 * result.errors["exponent"]
    in_electrons = sk.noise_vs_skips(samples_with(2.0, 1), gain=10.0)
    assert in_electrons["sigma_1"] == pytest.approx(result["sigma_1"] / 10)
    assert in_electrons.units["floor"] == "electron"


def test_one_pass_gives_noise_and_charge_loss(tmp_path) -> None:
    from skipstream.simulate import simulate

    path = tmp_path / "raw.fits"
    simulate(path, n_rows=40, n_cols=100, n_skips=64, seed=3)
    config = sk.load_config(
        {"input": {"begin_col": -20},
         "stage": [{"kind": "compress_skips", "statistics": statistics_of_skips(64)}]}
    )  # fmt: skip
    (result,) = sk.run(config, [path])
    noise = sk.noise_vs_skips(planes_by_skips(result.planes), mask=result.mask)
    assert noise.status == "ok"
    # Rows of the simulation have baselines of their own: a floor.
    assert 0.3 < noise["exponent"] < 0.55
    loss = sk.charge_loss(result.planes["sample(0)"], result.planes["sample(-1)"])
    assert abs(loss["core"]) < 5 * loss.errors["core"]


def test_lost_charge_is_seen() -> None:
    random = np.random.default_rng(5)
    reference = random.normal(0, 3, 50_000)
    sample = reference + random.normal(0, 3, 50_000)
    quiet = sk.charge_loss(sample, reference)
    assert abs(quiet["coefficient"]) < 4 * quiet.errors["coefficient"]
    assert abs(quiet["skewness"]) < 4 * quiet.errors["skewness"]
    sample[:500] += 15
    lossy = sk.charge_loss(sample, reference)
    assert lossy["coefficient"] > 0.5
    assert lossy["skewness"] > 10 * lossy.errors["skewness"]
    pulls = []
    for seed in range(60):
        d = np.random.default_rng(seed).normal(0, 1, 20_000)
        result = sk.charge_loss(d, np.zeros_like(d))
        pulls.append(result["coefficient"] / result.errors["coefficient"])
    assert abs(np.mean(pulls)) < 5 / np.sqrt(60)
    assert 0.6 < np.std(pulls) < 1.4


def test_edges() -> None:
    assert "3 numbers" in sk.noise_vs_skips(np.ones((50, 2))).reason
    assert "do not differ" in sk.noise_vs_skips(np.ones((50, 20))).reason
    assert "10 pixels" in sk.noise_vs_skips(np.ones((5, 20))).reason
    masked = sk.noise_vs_skips(samples_with(0, 1, 50, 10), mask=np.ones(50))
    assert masked.status == "failed"
    with pytest.raises(sk.ConfigError, match="gain"):
        sk.noise_vs_skips(np.ones((50, 20)), gain=0.0)
    with pytest.raises(sk.ConfigError, match="mask"):
        sk.noise_vs_skips(samples_with(0, 1, 50, 10), mask=np.ones(49))
    with pytest.raises(sk.ConfigError, match="one shape"):
        sk.noise_vs_skips({1: np.ones(20), 2: np.ones(20), 3: np.ones(21)})
    assert sk.noise_vs_skips({}).status == "failed"
    assert sk.noise_vs_skips({n: np.ones(0) for n in (1, 2, 3)}).status == "failed"
    assert "the same" in sk.charge_loss(np.ones(50), np.ones(50)).reason
    assert "10 pixels" in sk.charge_loss(np.ones(5), np.zeros(5)).reason
    with pytest.raises(sk.ConfigError, match="shape"):
        sk.charge_loss(np.ones(5), np.ones(6))
    with pytest.raises(sk.ConfigError, match=r"charge_loss\.mask"):
        sk.charge_loss(np.ones((5, 6)), np.ones((5, 6)), mask=np.zeros(6))


def test_points_draw() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    ax = sk.noise_vs_skips(samples_with(2.0, 1, 500, 100)).plot()
    assert ax.get_xscale() == "log"
    result = sk.charge_loss(samples_with(0, 2)[:, 0], samples_with(0, 3)[:, 0])
    assert result.plot().get_title() == "charge loss"
