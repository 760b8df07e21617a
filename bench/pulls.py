"""Fits against simulated truth: python bench/pulls.py [images].

For every fitted number, over so many images: the mean and the width of the pulls (fitted - true) /
error, which should be 0 and 1, and how often the truth lies within one error, which should be 68 %.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import distance_transform_edt

import skipstream as sk

N_PIXELS = 20_000


def charge(rate: float, noise: float, gain: float, offset: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return offset + gain * (random.poisson(rate, N_PIXELS) + random.normal(0, noise, N_PIXELS))


def fits(seed: int) -> Iterator[tuple[str, sk.FitResult, dict[str, float]]]:
    for rate, noise, gain, offset in (
        (0.1, 0.18, 1.35, 3),
        (0.5, 0.3, 5, -20),
        (2, 0.15, 500, 1e4),
    ):
        pixels = charge(rate, noise, gain, offset, seed)
        truth = {"gain": gain, "noise_electron": noise, "offset": offset, "dark_current": rate}
        case = f"{rate:g} e-/pixel, noise {noise:g} e-"
        yield f"fit_dark_current, {case}", sk.fit_dark_current(pixels), truth
        yield f"fit_calibration, {case}", sk.fit_calibration(pixels), truth
    random = np.random.default_rng(seed)
    samples = random.normal(0, 30, (2000, 200))
    truth = {"sigma_1": 30.0, "exponent": 0.5}
    yield "noise_vs_skips, white", sk.noise_vs_skips(samples, n_points=15), truth
    samples += 3 * random.normal(0, 1, (2000, 1))
    truth = {"sigma_1": 30.0, "floor": 3.0}
    yield "noise_vs_skips, floor 3", sk.noise_vs_skips(samples, n_points=15), truth
    source = random.normal(0, 3, (200, 200))
    hit = random.random(source.shape) < 0.01
    source[hit] += random.uniform(400, 5000, hit.sum())
    target = 0.002 * source + random.normal(0, 3, source.shape)
    found = sk.measure_crosstalk(source, target, low=400, high=5000, n_resamplings=300)
    yield "measure_crosstalk", found, {"coefficient": 0.002, "null": 0.0}
    difference = random.normal(0, 4, 20_000)
    found = sk.charge_loss(difference, np.zeros(20_000))
    truth = {"mean_difference": 0.0, "std_difference": 4.0, "core_sigma": 4.0, "coefficient": 0.0,
             "skewness": 0.0}  # fmt: skip
    yield "charge_loss, none lost", found, truth
    rows = np.arange(120)
    image = random.poisson(0.1 + 0.001 * rows[:, None], (120, 200)).astype(float)
    image += random.normal(0, 0.15, image.shape)
    found = sk.charge_per_axis(image, max_charge=100).line
    yield "charge_per_axis, 0.1 e- and 0.001 e-/row", found, {"constant": 0.1, "slope": 0.001}
    image = 12 * np.exp(-np.arange(300) / 8) + random.normal(0, 3, (200, 300))
    truth = {"amplitude": 12.0, "length": 8.0, "baseline": 0.0}
    yield "fit_column_transient, 4 sigma of a pixel", sk.fit_column_transient(image), truth
    bright = random.random((300, 400)) < 1e-4
    bright[150, 200] = True
    density = 0.004 + 0.06 * np.exp(-distance_transform_edt(~bright) / 12)
    image = np.where(bright, 5000.0, random.random(bright.shape) < density)
    truth = {"amplitude": 0.06, "length": 12.0, "background": 0.004}
    yield "measure_halo, 0.06 above 0.004", sk.measure_halo(image, threshold=100), truth
    electrons = random.poisson(0.03, N_PIXELS)
    found = sk.fit_gaussian(7 + 3 * random.normal(0, 1, N_PIXELS) + 20 * electrons)
    yield "fit_gaussian, 0.03 e-/pixel", found, {"mean": 7.0, "sigma": 3.0}
    for correlation in (0.3, 0.95):
        covariance = [[9, 6 * correlation], [6 * correlation, 4]]
        first, second = random.multivariate_normal([5, -2], covariance, N_PIXELS).T
        first += 30 * random.poisson(0.1, N_PIXELS)
        second += 20 * random.poisson(0.1, N_PIXELS)
        truth = {"sigma_first": 3.0, "sigma_second": 2.0, "correlation": correlation}
        found = sk.correlated_noise(first, second)
        yield f"correlated_noise, {correlation:g}", found, truth
    random = np.random.default_rng(seed)
    image = np.zeros((150, 400))
    hit = random.random(image.shape) < 0.01
    image[hit] = random.uniform(300, 3000, hit.sum())
    left = image * 2e-5 * (np.arange(400) + 1)
    image[:, 1:] += left[:, :-1]
    image += random.normal(0, 2, image.shape) - left
    truth = {"cti": 2e-5, "offset": 0.0}
    yield "measure_cti, 2e-5", sk.measure_cti(image, low=300, high=3000), truth


def main() -> None:
    n_images = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    pulls: dict[tuple[str, str], list[float]] = {}
    n_failed: dict[str, int] = {}
    for seed in range(n_images):
        for case, result, truth in fits(seed):
            n_failed[case] = n_failed.get(case, 0) + (result.status != "ok")
            for name in truth:
                if name in result.values and np.isfinite(result[name]):
                    pull = (result[name] - truth[name]) / result.errors[name]
                    pulls.setdefault((case, name), []).append(pull)
    print(f"| fit | number | mean | width | within 1 | failed of {n_images} |")
    print("|---|---|---|---|---|---|")
    for (case, name), values in pulls.items():
        inside = np.mean(np.abs(values) < 1)
        print(f"| {case} | {name} | {np.mean(values):+.2f} | {np.std(values):.2f} | {inside:.0%} | "
              f"{n_failed[case]} |")  # fmt: skip


if __name__ == "__main__":
    main()
