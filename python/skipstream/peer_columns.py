"""Tables of clusters and pixels under the names, units and conventions of other programs.

``clustersRec`` and ``info`` are those of WADERS (pysimdamicm): an entry per image, columns and rows
counted from 1, keV. ``hitSumm`` and ``calPixTree`` are those of SENSEI's skExtract: an entry per
cluster and per pixel, counted from 0, electrons.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .config import Config
from .layout import ImageLayout
from .tables import Table, Tree, needed

__all__ = ["HITSUMM_MASK", "PEERS", "ImageFacts", "PeerPlanes", "image_facts"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Distance of what is not there: as skExtract begins.
FAR = 1e7
_CLUSTER_RADIUS = 100

#: Bits of skExtract's mask, by ours. A pixel without a value must not pass as a good one.
HITSUMM_MASK = {
    "BLEED": 4,
    "HALO": 8,
    "CROSSTALK": 16,
    "NOISYROW": 32,
    "BADROW": 32,
    "EDGE": 64,
    "SERIALHIT": 128,
    "CLUSTER": 256,
    "HOTPIXEL": 512,
    "NODATA": 512,
    "NOPEDESTAL": 512,
    "BADCOL": 1024,
    "CROWDED": 2048,
    "SATURATED": 16384,
}
_HAS_NEIGHBOUR, _HAS_CHARGE = 1, 2
_NO_DEFECT = ("MISSKIPS", "CLUSTER", "HALO")


@dataclass(frozen=True)
class ImageFacts:
    """What the tables of one image are made of.

    Attributes
    ----------
    image
        Its layout.
    words
        Header keywords and values, as text.
    n_file
        Number at the end of the input's name; -1: it has none.
    clusters, pixels
        Tables of `find_clusters`, with the pixels of every cluster, in electrons.
    energy_per_electron
        eV.
    noise, seed
        Of an empty pixel, and charge from which a pixel is a seed, in electrons; NaN: not known.
    planes
        ``mean`` and ``subtracted`` in ADU, ``charge`` in electrons, each ``(n_rows, n_cols)``.
    mask
        ``(n_rows, n_cols)``, after the last stage.
    distances
        Parameters of the stages mask_halo and mask_bleeding, of those that are there.
    found
        Numbers that stages and measures found, with their errors.
    """

    image: ImageLayout
    words: Mapping[str, str]
    n_file: int
    clusters: NDArray[np.void]
    pixels: NDArray[np.void]
    energy_per_electron: float
    noise: float
    seed: float
    planes: Mapping[str, Floats]
    mask: NDArray[np.uint32]
    distances: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    found: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def whole(self, *keywords: str) -> int | None:
        """First of the keywords that holds a whole number."""
        for keyword in keywords:
            try:
                return int(float(self.words[keyword]))
            except (KeyError, ValueError, OverflowError):
                continue
        return None

    @property
    def run_id(self) -> int:
        """RUNID of the header, else the number of the file."""
        known = self.whole("RUNID")
        return self.n_file if known is None else known

    def time(self, *keywords: str) -> float:
        """Seconds since 1970 of the first keyword that holds a time, taken as UTC; NaN: none."""
        for keyword in keywords:
            text = self.words.get(keyword, "").strip()
            for parse in (
                datetime.datetime.fromisoformat,
                lambda t: datetime.datetime.strptime(t, "%a %b %d %H:%M:%S %Y"),
            ):
                try:
                    when = parse(text)
                except ValueError:
                    continue
                utc = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
                return utc.timestamp()
        return math.nan


class PeerPlanes:
    """Planes of an image that its tables are made of, which the core fills as its rows come."""

    def __init__(self, config: Config, columns: Iterable[str], image: ImageLayout) -> None:
        self._shape = (image.n_rows, image.n_cols)
        self._stages = {"charge": config.stage_number("find_clusters")}
        self._last = len(config.stages) - 1
        kinds = [stage["kind"] for stage in config.stages]
        if "waders" in columns:
            for kind, name in (("compress_skips", "mean"), ("subtract_pedestal", "subtracted")):
                if kind in kinds:
                    self._stages[name] = config.stage_number(kind)
        self.planes: dict[str, Floats] = {}
        self.mask = np.empty((0, 0), np.uint32)

    @property
    def n_bytes(self) -> int:
        """Memory of what is kept."""
        return (8 * len(self._stages) + 4 * 4) * self._shape[0] * self._shape[1]

    def keep(self, pipeline: _core.Pipeline) -> None:
        """Make room, before the first row."""
        for name, stage in self._stages.items():
            names = [plane["name"] for plane in pipeline.planes_after(stage)]
            self.planes[name] = np.empty(self._shape)
            number = names.index(name) if name in names else 0
            mask = np.empty(self._shape, np.uint32)
            pipeline.keep_planes(stage, [(number, self.planes[name])], mask)
        # Flags may be set behind find_clusters.
        self.mask = np.empty(self._shape, np.uint32)
        pipeline.keep_planes(self._last, [], self.mask)


def image_facts(
    config: Config,
    stem: str,
    words: Mapping[str, str],
    image: ImageLayout,
    tables: Mapping[str, Table],
    kept: PeerPlanes,
    findings: Sequence[Mapping[str, Any]],
    measures: Mapping[str, Any],
) -> ImageFacts:
    """Gather what a run knows of an image."""
    number = re.search(r"(\d{1,9})\D*$", stem, re.ASCII)
    stages = {stage["kind"]: stage for stage in config.stages}
    finder = stages["find_clusters"]
    numbers = {finding["name"]: finding["value"] for finding in findings}
    noise = numbers.get("noise", math.nan)
    seed = _quantity(finder["seed"], image)
    found = {name: (value, 0.0) for name, value in numbers.items() if name != "noise"}
    for measure in config.measures:
        result = measures.get(measure.name)
        if measure.kind == "fit_dark_current" and result is not None and result.status == "ok":
            found |= {name: (result[name], result.errors[name]) for name in result}
    return ImageFacts(
        image,
        words,
        int(number[1]) if number else -1,
        tables["clusters"].to_numpy(),
        tables["cluster_pixels"].to_numpy(),
        finder["energy_per_electron"],
        noise,
        seed * noise if finder["threshold_unit"] == "sigma" else seed,
        kept.planes,
        kept.mask,
        {kind: stages[kind] for kind in ("mask_halo", "mask_bleeding") if kind in stages},
        found,
    )


def _quantity(value: Any, image: ImageLayout) -> float:
    """A number, a header keyword of one, or one for each amplifier."""
    if isinstance(value, Mapping):
        value = value.get(image.amplifier, math.nan)
    return float(image.header.get(value, math.nan) if isinstance(value, str) else value)


@dataclass(frozen=True)
class _Pixels:
    """The pixels of all clusters of an image, those of each side by side."""

    x: Integers
    y: Integers
    charge: Floats
    begin: Integers
    lengths: Integers

    @property
    def of(self) -> Integers:
        """Number of each pixel's cluster."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        return self._reduced(np.add, values)

    def least(self, values: NDArray[Any]) -> NDArray[Any]:
        return self._reduced(np.minimum, values)

    def most(self, values: NDArray[Any]) -> NDArray[Any]:
        return self._reduced(np.maximum, values)

    def _reduced(self, function: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        if not len(self.begin):
            return np.empty(0, values.dtype)
        return np.asarray(function.reduceat(values, self.begin))


def _pixels_of(facts: ImageFacts) -> _Pixels:
    ids, pixels = facts.clusters["cluster_id"], facts.pixels
    begin = np.searchsorted(pixels["cluster_id"], ids, "left")
    lengths = np.searchsorted(pixels["cluster_id"], ids, "right") - begin
    if not np.array_equal(lengths, facts.clusters["n_pixels"]):
        raise _core.ConfigError(
            "output.columns: clusters have lost pixels; raise max_pixels of find_clusters"
        )
    return _Pixels(pixels["x"], pixels["y"], pixels["charge"], begin, lengths)


def _rows(columns: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.void]:
    kinds = [(name, values.dtype.str) for name, values in columns.items()]
    rows = np.empty(n, dtype=kinds)
    for name, values in columns.items():
        rows[name] = values
    return rows


def _described(docs: Mapping[str, tuple[str, str]], names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": n, "unit": docs[n][0], "doc": docs[n][1]} for n in names]


# --- WADERS -------------------------------------------------------------------------------------

WADERS_DOCS: dict[str, tuple[str, str]] = {
    "RUNID": ("", "RUNID of the header, else the number of the file"),
    "nfile": ("", "number at the end of the file's name, else -1"),
    "ccd": ("", "number of the HDU"),
    "cluster_id": ("", "1, 2, ... in the order of their first pixels"),
    "Npix": ("pixel", "pixels"),
    "Energy": ("keV", "sum of its pixels"),
    "Energy_AVG": ("adu", "sum of its pixels of the averaged image"),
    "Energy_PS": ("adu", "sum of its pixels with the pedestal subtracted"),
    "Qmax": ("keV", "largest pixel"),
    "readout_start": ("s", "since 1970, UTC"),
    "readout_end": ("s", "since 1970, UTC"),
    "sigma_seed_eV": ("eV", "noise of a pixel"),
    "qmin_cluster_seed": ("keV", "a pixel above it is a seed"),
    "has_seed": ("", "1: a pixel is a seed"),
    "hotreg": ("", "1: a pixel is in a bad row or column"),
    "excluded": ("", "1: hotreg, or no seed"),
    "seed_nsig_min": ("", "smallest pixel / noise"),
    "seed_nsig_max": ("", "largest pixel / noise"),
    "seed_nsig_delta": ("", "seed_nsig_max - seed_nsig_min"),
    "dist_mask_min": ("pixel", "smallest distance to a pixel of a defect; -1: there is none"),
    "dist_mask_max": ("pixel", "largest distance to a pixel of a defect; -1: there is none"),
    "closest_cls_dist": ("pixel", "to the nearest other cluster with a seed; -1: there is none"),
    "closest_cls_dist_X": ("pixel", "along x"),
    "closest_cls_dist_Y": ("pixel", "along y"),
    "closest_cls_id": ("", "its cluster_id"),
    "STD_XY": ("pixel", "root of the sum of the variances of x and y, not weighted"),
    "wSTD_XY": ("pixel", "root of the mean of the variances of x and y, weighted with energy"),
    **{
        name + axis: (unit, f"{doc}{', counted from 1' if counted else ''}")
        for axis in "XY"
        for name, unit, doc, counted in (
            ("Qmax", "pixel", "place of the largest pixel", True),
            ("D", "pixel", "max - min + 1", False),
            ("min", "pixel", "smallest", True),
            ("max", "pixel", "largest", True),
            ("mean", "pixel", "mean of the pixels, not weighted", True),
            ("RMS", "pixel2", "mean of the squares, not their root", True),
            ("Pos", "pixel", "mean weighted with energy", True),
            ("STD_", "pixel", "standard deviation, not weighted", False),
            ("wSTD_", "pixel", "standard deviation weighted with energy", False),
            ("dwSTD_", "pixel", "wSTD / sqrt(Npix)", False),
            ("fPos", "pixel", "mean of a Gaussian fitted to the projection", True),
            ("fSTD_", "pixel", "sigma of a Gaussian fitted to the projection", False),
        )
    },
}  # fmt: skip


def _moments(found: dict[str, NDArray[Any]], axis: str, at: Integers, p: _Pixels) -> None:
    n, energy = p.lengths, p.total(p.charge)
    least, most = p.least(at), p.most(at)
    mean = p.total(at) / n
    # About the smallest: squares of large coordinates would cancel.
    off = (at - np.repeat(least, n)).astype(float)
    inner = p.total(off) / n
    centre = p.total(off * p.charge) / energy
    var = p.total((off - np.repeat(inner, n)) ** 2) / n
    wvar = p.total(p.charge * (off - np.repeat(centre, n)) ** 2) / energy
    wstd = np.sqrt(np.maximum(wvar, 0))
    found |= {
        f"D{axis}": (most - least + 1).astype(float),
        f"min{axis}": least.astype(float),
        f"max{axis}": most.astype(float),
        f"mean{axis}": mean,
        f"RMS{axis}": p.total(at.astype(float) ** 2) / n,
        f"Pos{axis}": least + centre,
        f"STD_{axis}": np.sqrt(var),
        f"wSTD_{axis}": wstd,
        f"dwSTD_{axis}": wstd / np.sqrt(n),
    }


def _projections(
    found: dict[str, NDArray[Any]], axis: str, at: Integers, p: _Pixels
) -> tuple[Integers, dict[str, Floats]]:
    """Energy along an axis over the largest pixel, with an empty bin at both ends, and its fit."""
    least = found[f"min{axis}"].astype(np.int64)
    lengths = found[f"D{axis}"].astype(np.int64) + 2
    begin = np.cumsum(lengths) - lengths
    values = np.zeros(int(lengths.sum()))
    share = p.charge / np.repeat(p.most(p.charge), p.lengths)
    np.add.at(values, np.repeat(begin - least + 1, p.lengths) + at, share)
    # As the peer does: the edges, from 1.5 pixels before to 1.5 pixels after, over the bins.
    step = np.repeat(lengths / (lengths - 1), lengths)
    edges = np.repeat(least - 1.5, lengths) + step * (
        np.arange(len(values)) - np.repeat(begin, lengths)
    )
    place, sigma = found[f"Pos{axis}"].copy(), found[f"wSTD_{axis}"].copy()
    for width in np.unique(lengths):
        some = np.flatnonzero(lengths == width)
        bins = values[begin[some, None] + np.arange(width)]
        mean, spread = _gaussian_likelihood(bins)
        mean += least[some] - 1
        good = np.isfinite(spread)
        good &= (mean >= found[f"min{axis}"][some]) & (mean <= found[f"max{axis}"][some])
        place[some[good]], sigma[some[good]] = mean[good], spread[good]
    found[f"fPos{axis}"], found[f"fSTD_{axis}"] = place, sigma
    along = {"X": "cols", "Y": "rows"}[axis]
    return lengths, {f"projection{axis}": values, f"projection{axis}_{along}": edges}


def _gaussian_likelihood(bins: Floats) -> tuple[Floats, Floats]:
    """Mean, in bins, and sigma of Gaussians of the greatest Poisson likelihood; NaN: none.

    Parameters
    ----------
    bins
        ``(n, n_bins)``, counts or weights.

    Notes
    -----
    The logarithm of a Gaussian is a parabola, so the likelihood has one maximum, or none: where all
    is in one bin, or in two side by side.
    """
    n, n_bins = bins.shape
    filled = np.count_nonzero(bins > 0, axis=1) >= 3
    mean, sigma = np.full(n, math.nan), np.full(n, math.nan)
    y = np.maximum(bins[filled], 0)
    if not len(y):
        return mean, sigma
    x = np.arange(n_bins) - (n_bins - 1) / 2
    total = y.sum(axis=1)
    centre = y @ x / total
    var = np.maximum((y * (x - centre[:, None]) ** 2).sum(axis=1) / total, 0.1)
    design = np.stack([np.ones(n_bins), x, x**2], axis=1)
    values = np.stack(
        [
            np.log(total / np.sqrt(2 * np.pi * var)) - centre**2 / (2 * var),
            centre / var,
            -1 / (2 * var),
        ],
        axis=1,
    )
    done = np.zeros(len(y), bool)
    for _ in range(100):
        expected = np.exp(np.clip(values @ design.T, -50, 50))
        slope = (y - expected) @ design
        matrix = np.einsum("ki,nk,kj->nij", design, expected, design)
        matrix[:, range(3), range(3)] *= 1 + 1e-12  # never quite singular
        step = np.linalg.solve(matrix, slope[..., None])[..., 0]
        size = np.abs(step @ design.T).max(axis=1)
        values += step * np.minimum(1, 2 / np.maximum(size, 1e-300))[:, None]
        done = size < 1e-10
        if done.all():
            break
    bend = values[:, 2]
    good = done & (bend < 0)
    bend = np.where(good, bend, -1.0)
    mean[filled] = np.where(good, -values[:, 1] / (2 * bend) + (n_bins - 1) / 2, math.nan)
    sigma[filled] = np.where(good, np.sqrt(-1 / (2 * bend)), math.nan)
    return mean, sigma


def _closest(found: dict[str, NDArray[Any]]) -> None:
    n = len(found["Npix"])
    names = ("closest_cls_dist", "closest_cls_dist_X", "closest_cls_dist_Y", "closest_cls_id")
    found |= {name: np.full(n, -1.0) for name in names}
    with_seed = np.flatnonzero(found["has_seed"])
    if len(with_seed) < 2:
        return
    spatial = needed("scipy.spatial", "output.columns", "fits")
    places = np.stack([found["PosX"][with_seed], found["PosY"][with_seed]], axis=1)
    distance, nearest = spatial.cKDTree(places).query(places, k=2)
    # Of two at the same place either may come first.
    other = np.where(nearest[:, 0] == np.arange(len(places)), 1, 0)
    picked = nearest[np.arange(len(places)), other]
    apart = np.abs(places[picked] - places)
    found["closest_cls_dist"][with_seed] = distance[np.arange(len(places)), other]
    found["closest_cls_dist_X"][with_seed] = apart[:, 0]
    found["closest_cls_dist_Y"][with_seed] = apart[:, 1]
    found["closest_cls_id"][with_seed] = with_seed[picked] + 1.0


def _bits(mask: NDArray[np.uint32], names: Iterable[str]) -> NDArray[np.bool_]:
    wanted = set(names)
    bits = np.uint32(sum(bit for bit, name, _ in _core.mask_names() if name in wanted))
    return np.asarray((mask & bits) != 0)


def _distances_to_defects(found: dict[str, NDArray[Any]], facts: ImageFacts, p: _Pixels) -> None:
    every = [name for _, name, _ in _core.mask_names() if name not in _NO_DEFECT]
    defects = _bits(facts.mask, every)
    names = ("dist_mask_min", "dist_mask_max")
    if not defects.any() or not len(p.begin):
        found |= {name: np.full(len(p.begin), -1.0) for name in names}
        return
    image = needed("scipy.ndimage", "output.columns", "fits")
    nearest = image.distance_transform_edt(~defects)
    # The farthest is at an end of a row.
    rows = np.flatnonzero(defects.any(axis=1))
    first = defects[rows].argmax(axis=1)
    last = defects.shape[1] - 1 - defects[rows, ::-1].argmax(axis=1)
    farthest = np.zeros(len(p.x))
    for row, begin, end in zip(rows, first, last, strict=True):
        across = np.maximum(np.abs(p.x - begin), np.abs(p.x - end)).astype(float)
        np.maximum(farthest, np.hypot(across, p.y - row), out=farthest)
    found |= {names[0]: p.least(nearest[p.y, p.x]), names[1]: p.most(farthest)}


@dataclass(frozen=True)
class _WadersImage:
    """One image of clustersRec: columns, and lists (counter to lengths and columns)."""

    columns: dict[str, NDArray[Any]]
    nested: dict[str, tuple[Integers, dict[str, NDArray[Any]]]]
    facts: ImageFacts


def _waders_image(facts: ImageFacts) -> _WadersImage:
    p = _pixels_of(facts)
    n = len(p.begin)
    kev = facts.energy_per_electron / 1000
    energy = p.charge * kev
    x, y = p.x + 1, p.y + 1
    noise = facts.noise * kev
    found: dict[str, NDArray[Any]] = {
        "RUNID": np.full(n, facts.run_id, np.int32),
        "nfile": np.full(n, facts.n_file, np.int32),
        "ccd": np.full(n, facts.image.hdu.index, np.int32),
        "cluster_id": np.arange(1, n + 1, dtype=np.int32),
        "Npix": p.lengths.astype(np.int32),
        "Energy": p.total(energy),
        "Qmax": p.most(energy),
        "QmaxX": facts.clusters["peak_x"] + 1.0,
        "QmaxY": facts.clusters["peak_y"] + 1.0,
        "has_seed": facts.clusters["has_seed"].astype(np.int32),
        "sigma_seed_eV": np.full(n, facts.noise * facts.energy_per_electron),
        "qmin_cluster_seed": np.full(n, facts.seed * kev),
        "readout_start": np.full(n, facts.time("DATEINI", "RDSTRT", "DATESTART", "DATE-OBS")),
        "readout_end": np.full(n, facts.time("DATEEND", "RDEND")),
    }
    lists: dict[str, NDArray[Any]] = {
        "pixels_x": x.astype(np.int32),
        "pixels_y": y.astype(np.int32),
        "pixels_z": np.zeros(len(x)),
        "pixels_E": energy,
        "seed_nsig_pixels": energy / noise,
    }
    for stage, short in (("mean", "AVG"), ("subtracted", "PS")):
        plane = facts.planes.get(stage)
        lists[f"pixels_E_{short}"] = np.full(len(x), math.nan) if plane is None else plane[p.y, p.x]
        found[f"Energy_{short}"] = p.total(lists[f"pixels_E_{short}"])
    found["seed_nsig_min"] = p.least(lists["seed_nsig_pixels"])
    found["seed_nsig_max"] = p.most(lists["seed_nsig_pixels"])
    found["seed_nsig_delta"] = found["seed_nsig_max"] - found["seed_nsig_min"]
    _moments(found, "X", x, p)
    _moments(found, "Y", y, p)
    found["STD_XY"] = np.hypot(found["STD_X"], found["STD_Y"])
    found["wSTD_XY"] = np.sqrt((found["wSTD_X"] ** 2 + found["wSTD_Y"] ** 2) / 2)
    hot = p.most(_bits(facts.mask, ("BADROW", "BADCOL"))[p.y, p.x].astype(np.int32))
    found["hotreg"] = hot
    found["excluded"] = np.where(found["has_seed"] != 0, hot, 1).astype(np.int32)
    _distances_to_defects(found, facts, p)
    _closest(found)
    nested = {
        "Npixels": (p.lengths, lists),
        "NprojectionX": _projections(found, "X", x, p),
        "NprojectionY": _projections(found, "Y", y, p),
    }
    columns = {name: found[name] for name in WADERS_DOCS}
    slim = replace(facts, planes={}, mask=np.empty((0, 0), np.uint32))
    return _WadersImage(columns, nested, slim)


def _waders_trees(images: Sequence[_WadersImage]) -> list[Tree]:
    """``clustersRec``, whose entries in ROOT files are images, and ``info``."""
    columns = {name: np.concatenate([i.columns[name] for i in images]) for name in WADERS_DOCS}
    nested = {
        counter: (
            np.concatenate([i.nested[counter][0] for i in images]),
            {name: np.concatenate([i.nested[counter][1][name] for i in images]) for name in lists},
        )
        for counter, (_, lists) in images[0].nested.items()
    }
    entries = np.array([len(i.columns["Npix"]) for i in images])
    rows = _rows(columns, int(entries.sum()))
    clusters = Table(rows, _described(WADERS_DOCS, columns))
    facts = [i.facts for i in images]
    heads = {"RUNID": np.array([f.run_id for f in facts], np.int32)}
    return [
        Tree("clustersRec", clusters, nested, ("Nclusters", entries, heads)),
        Tree("info", _info(facts)),
    ]


_INFO = {"dark_current": "dc", "gain": "gain", "offset": "mu0", "noise": "sig"}


def _info(images: Sequence[ImageFacts]) -> Table:
    columns: dict[str, list[float]] = {}
    docs: dict[str, tuple[str, str]] = {}

    def put(number: int, name: str, value: float, unit: str, doc: str) -> None:
        columns.setdefault(name, [math.nan] * len(images))[number] = value
        docs[name] = (unit, doc)

    for number, facts in enumerate(images):
        exposure, read = (
            next((facts.image.header[k] * s for k, s in keys if k in facts.image.header), 0.0)
            for keys in (
                (("EXPOSURE", 1.0), ("EXPTIME", 1.0), ("MEXP", 1e-3)),
                (("READOUT_SEC", 1.0), ("MREAD", 1e-3)),
            )
        )
        put(number, "RUNID", facts.run_id, *WADERS_DOCS["RUNID"])
        put(number, "nfile", facts.n_file, *WADERS_DOCS["nfile"])
        put(number, "idccd", facts.image.hdu.index, *WADERS_DOCS["ccd"])
        put(number, "total_exposure", exposure + read, "s", "exposure and readout of the header")
        start = facts.time("DATEINI", "RDSTRT", "DATESTART", "DATE-OBS")
        put(number, "readout_start", start, *WADERS_DOCS["readout_start"])
        put(number, "readout_end", facts.time("DATEEND", "RDEND"), *WADERS_DOCS["readout_end"])
        amplifier = re.sub(r"\W", "_", facts.image.amplifier, flags=re.ASCII)
        for finding, word in (("pedestal_mean", "mu"), ("pedestal_sigma", "sigma")):
            value = facts.found.get(finding, (math.nan, math.nan))[0]
            put(number, f"{amplifier}_pedestal_{word}_row_mean_ADU", value, "adu", "over rows")
        for quantity, word in _INFO.items():
            value, error = facts.found.get(quantity, (0.0, 0.0))
            name = f"{amplifier}_{word}".lower()
            put(number, name, value, "", f"{quantity} of the fit of the dark current; 0: none")
            put(number, f"{name}_err", error, "", "standard deviation")
    whole = ("RUNID", "nfile", "idccd")
    arrays = {
        name: np.array(values, np.int32 if name in whole else float)
        for name, values in columns.items()
    }
    return Table(_rows(arrays, len(images)), _described(docs, arrays))


# --- SENSEI -------------------------------------------------------------------------------------

_HIT_DOCS: dict[str, tuple[str, str]] = {
    "runID": ("", "RUNID of the header, else the number of the file"),
    "LTANAME": ("", "LTANAME of the header; -1: it is no number"),
    "ohdu": ("", "OHDU of the header, else the number of the HDU, counted from 1"),
    "expoStart": ("s", "DATE - UTSHUT of the header; -1: not there"),
    "nSat": ("pixel", "0, as skExtract writes"),
    "flag": ("", "bits of skExtract's mask that a pixel has"),
    "xMin": ("pixel", "first column, counted from 0"),
    "xMax": ("pixel", "last column"),
    "yMin": ("pixel", "first row, counted from 0"),
    "yMax": ("pixel", "last row"),
    "distance": ("pixel", "smallest of its pixels"),
    "bleedX": ("pixel", "smallest of its pixels"),
    "bleedY": ("pixel", "smallest of its pixels"),
    "clusterDist": ("pixel", "smallest of its pixels"),
    "e": ("electron", "sum of the pixels, each rounded"),
    "n": ("pixel", "pixels"),
    "xBary": ("pixel", "mean column weighted with charge, counted from 0"),
    "yBary": ("pixel", "mean row weighted with charge, counted from 0"),
    "xVar": ("pixel2", "variance of the columns weighted with charge"),
    "yVar": ("pixel2", "variance of the rows weighted with charge"),
    "eRaw": ("electron", "sum of the pixels above 0"),
    "xy1Var": ("pixel2", "variance along alpha, weighted with charge"),
    "xy2Var": ("pixel2", "variance across alpha, weighted with charge"),
    "alpha": ("deg", "atan(yVar / xVar)"),
    "R": ("pixel4", "variance of xVar, yVar and the two at 45 degrees"),
    "xy1Width": ("pixel", "mean distance of the pixels along alpha"),
    "xy2Width": ("pixel", "mean distance of the pixels across alpha"),
    "xCen": ("pixel", "middle of xMin and xMax"),
    "yCen": ("pixel", "middle of yMin and yMax"),
    "nSavedPix": ("pixel", "pixels that are listed"),
}

_PIXEL_DOCS: dict[str, tuple[str, str]] = {
    "x": ("pixel", "column, counted from 0"),
    "y": ("pixel", "row, counted from 0"),
    "ePix": ("electron", "charge"),
    "mask": ("", "bits of skExtract's mask"),
    "distance": ("pixel", "to the nearest bright pixel of mask_halo; radius + 1: farther"),
    "azimuth": ("rad", "atan2(|dy|, |dx|) to it; 0: farther"),
    "bleedX": ("pixel", "columns since a bright pixel of mask_bleeding; columns + 1: farther"),
    "bleedY": ("pixel", "rows since a bright pixel of mask_bleeding; rows + 1: farther"),
    "clusterDist": ("pixel", "to the nearest pixel of another cluster; 101: farther than 100"),
    "ohdu": _HIT_DOCS["ohdu"],
    "RUNID": _HIT_DOCS["runID"],
    "LTANAME": _HIT_DOCS["LTANAME"],
}


def _rounded(charge: Floats) -> Floats:
    """Electrons: floor(q - 0.5) + 1 from 0.5 on, else 0."""
    return np.where(charge >= 0.5, np.floor(charge - 0.5) + 1, 0)


def _sensei_mask(facts: ImageFacts) -> NDArray[np.int32]:
    mask = np.zeros(facts.mask.shape, np.int32)
    for bit, name, _ in _core.mask_names():
        if name in HITSUMM_MASK:
            mask[(facts.mask & np.uint32(bit)) != 0] |= HITSUMM_MASK[name]
    full = np.nan_to_num(facts.planes["charge"], nan=0.0) >= 0.5
    mask[full] |= _HAS_CHARGE
    padded = np.pad(full, 1)
    n_rows, n_cols = full.shape
    for down in range(3):
        for right in range(3):
            if (down, right) != (1, 1):
                beside = padded[down : down + n_rows, right : right + n_cols]
                mask[beside] |= _HAS_NEIGHBOUR
    return mask


def _halo(facts: ImageFacts) -> tuple[Floats, Floats]:
    """Distance to the nearest bright pixel, and its azimuth."""
    shape = facts.mask.shape
    stage = facts.distances.get("mask_halo")
    if stage is None:
        return np.full(shape, FAR), np.zeros(shape)
    charge, threshold = facts.planes["charge"], stage["threshold"]
    if threshold is None:
        bright = np.zeros(shape, bool)
        bright[facts.pixels["y"], facts.pixels["x"]] = True
    else:
        bright = np.nan_to_num(charge, nan=-np.inf) >= threshold
    far = stage["radius"] + 1.0
    if not bright.any():
        return np.full(shape, far), np.zeros(shape)
    image = needed("scipy.ndimage", "output.columns", "fits")
    distance, (rows, cols) = image.distance_transform_edt(~bright, return_indices=True)
    down = np.abs(rows - np.arange(shape[0])[:, None])
    azimuth = np.arctan2(down, np.abs(cols - np.arange(shape[1])))
    near = distance < stage["radius"]
    return np.where(near, distance, far), np.where(near, azimuth, 0.0)


def _bleed(facts: ImageFacts, axis: int) -> Floats:
    """Pixels since the last bright one before it along an axis."""
    stage = facts.distances.get("mask_bleeding")
    if stage is None:
        return np.full(facts.mask.shape, FAR)
    bright = np.nan_to_num(facts.planes["charge"], nan=-np.inf) >= stage["threshold"]
    far = stage["rows" if axis == 0 else "columns"] + 1.0
    lines = np.moveaxis(bright, axis, 1)
    number = np.arange(lines.shape[1])
    last = np.maximum.accumulate(np.where(lines, number, -(2**31)), axis=1)
    before = np.full(lines.shape, -(2**31))
    before[:, 1:] = last[:, :-1]
    since = (number - before).astype(float)
    return np.moveaxis(np.where(since < far, since, far), 1, axis)


def _to_clusters(facts: ImageFacts, p: _Pixels) -> Floats:
    """Distance of every pixel to the nearest pixel of a cluster that is not its own."""
    shape, far = facts.mask.shape, _CLUSTER_RADIUS + 1.0
    if not len(p.x):
        return np.full(shape, far)
    image = needed("scipy.ndimage", "output.columns", "fits")
    spatial = needed("scipy.spatial", "output.columns", "fits")
    taken = np.zeros(shape, bool)
    taken[p.y, p.x] = True
    distance: Floats = image.distance_transform_edt(~taken)
    own = p.of
    places = np.stack([p.x, p.y], axis=1).astype(float)
    tree = spatial.cKDTree(places)
    for n in np.unique(p.lengths):
        some = np.flatnonzero(np.repeat(p.lengths == n, p.lengths))
        if n <= 64:
            # Among n + 1 pixels one is not of a cluster of n.
            k = min(int(n) + 1, len(places))
            apart, which = tree.query(places[some], k=[*range(1, k + 1)])
            apart[own[which] == own[some][:, None]] = np.inf
            distance[p.y[some], p.x[some]] = apart.min(axis=1)
            continue
        for cluster in np.flatnonzero(p.lengths == n):
            at = slice(p.begin[cluster], p.begin[cluster] + p.lengths[cluster])
            top, left = (max(0, int(c[at].min()) - _CLUSTER_RADIUS) for c in (p.y, p.x))
            end_y, end_x = (int(c[at].max()) + _CLUSTER_RADIUS + 1 for c in (p.y, p.x))
            others = taken[top:end_y, left:end_x].copy()
            others[p.y[at] - top, p.x[at] - left] = False
            apart = (
                image.distance_transform_edt(~others)[p.y[at] - top, p.x[at] - left]
                if others.any()
                else np.inf
            )
            distance[p.y[at], p.x[at]] = apart
    return np.where(distance <= _CLUSTER_RADIUS, distance, far)


def _hits(
    facts: ImageFacts, p: _Pixels, maps: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    n = len(p.begin)
    q = np.maximum(p.charge, 0)
    weight = p.total(q)
    first_x, first_y = p.least(p.x), p.least(p.y)
    dx, dy = (c - np.repeat(f, p.lengths) for c, f in ((p.x, first_x), (p.y, first_y)))
    centre_x, centre_y = p.total(dx * q) / weight, p.total(dy * q) / weight
    dx, dy = dx - np.repeat(centre_x, p.lengths), dy - np.repeat(centre_y, p.lengths)
    var_x, var_y, cov = (p.total(s * q) / weight for s in (dx * dx, dy * dy, dx * dy))
    alpha = np.arctan2(var_y, var_x)
    cos, sin = np.cos(alpha), np.sin(alpha)
    along, across = (
        np.repeat(cos, p.lengths) * dx + np.repeat(sin, p.lengths) * dy,
        np.repeat(cos, p.lengths) * dy - np.repeat(sin, p.lengths) * dx,
    )
    positive = p.charge > 0
    at_45 = np.stack([(var_x + var_y) / 2 + cov, (var_x + var_y) / 2 - cov, var_x, var_y])
    x_max, y_max = p.most(p.x), p.most(p.y)
    begin, end = facts.time("UTSHUT"), facts.time("DATE")
    exposure = end - begin if math.isfinite(end - begin) else -1
    flag = np.zeros(n, np.int32)
    np.bitwise_or.at(flag, p.of, maps["mask"][p.y, p.x])
    names = ("distance", "bleedX", "bleedY", "clusterDist")
    found: dict[str, NDArray[Any]] = {
        "runID": np.full(n, facts.run_id),
        "LTANAME": np.full(n, _lta_name(facts)),
        "ohdu": np.full(n, _ohdu(facts)),
        "expoStart": np.full(n, int(exposure)),
        "nSat": np.zeros(n, int),
        "flag": flag,
        "xMin": first_x,
        "xMax": x_max,
        "yMin": first_y,
        "yMax": y_max,
        **{name: p.least(maps[name][p.y, p.x]) for name in names},
        "e": p.total(_rounded(p.charge)),
        "n": p.lengths.astype(float),
        "xBary": first_x + centre_x,
        "yBary": first_y + centre_y,
        "xVar": var_x,
        "yVar": var_y,
        "eRaw": weight,
        "xy1Var": p.total(along**2 * q) / weight,
        "xy2Var": p.total(across**2 * q) / weight,
        "alpha": np.degrees(alpha),
        "R": ((at_45 - at_45.mean(axis=0)) ** 2).mean(axis=0),
        "xy1Width": p.total(np.abs(along) * positive) / p.lengths,
        "xy2Width": p.total(np.abs(across) * positive) / p.lengths,
        "xCen": (first_x + x_max) / 2,
        "yCen": (first_y + y_max) / 2,
        "nSavedPix": p.lengths,
    }
    lists = {
        "xPix": p.x.astype(np.int32),
        "yPix": p.y.astype(np.int32),
        "ePix": p.charge.astype(np.float32),
    }
    return {name: _as_branch(found[name]) for name in _HIT_DOCS}, lists


def _as_branch(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)


def _ohdu(facts: ImageFacts) -> int:
    known = facts.whole("OHDU")
    return facts.image.hdu.index + 1 if known is None else known


def _lta_name(facts: ImageFacts) -> int:
    known = facts.whole("LTANAME")
    return -1 if known is None else known


def _maps(facts: ImageFacts, p: _Pixels) -> dict[str, NDArray[Any]]:
    distance, azimuth = _halo(facts)
    return {
        "mask": _sensei_mask(facts),
        "distance": distance,
        "azimuth": azimuth,
        "bleedX": _bleed(facts, 1),
        "bleedY": _bleed(facts, 0),
        "clusterDist": _to_clusters(facts, p),
    }


@dataclass(frozen=True)
class _HitImage:
    """One image of hitSumm and calPixTree."""

    columns: dict[str, NDArray[Any]]
    pixels: dict[str, NDArray[Any]]
    cells: NDArray[np.void]


def _hit_image(facts: ImageFacts) -> _HitImage:
    p = _pixels_of(facts)
    maps = _maps(facts, p)
    return _HitImage(*_hits(facts, p, maps), _cells(facts, maps))


def _hit_trees(images: Sequence[_HitImage]) -> list[Tree]:
    """``hitSumm`` with an entry per cluster, and ``calPixTree`` with one per pixel."""
    columns = {name: np.concatenate([i.columns[name] for i in images]) for name in _HIT_DOCS}
    pixels = {name: np.concatenate([i.pixels[name] for i in images]) for name in images[0].pixels}
    lengths = columns["nSavedPix"].astype(np.int64)
    hits = Table(_rows(columns, len(lengths)), _described(_HIT_DOCS, columns))
    cells = Table(np.concatenate([i.cells for i in images]), _described(_PIXEL_DOCS, _PIXEL_DOCS))
    return [Tree("hitSumm", hits, {"nSavedPix": (lengths, pixels)}), Tree("calPixTree", cells)]


def _cells(facts: ImageFacts, maps: Mapping[str, NDArray[Any]]) -> NDArray[np.void]:
    n_rows, n_cols = facts.mask.shape
    y, x = np.divmod(np.arange(n_rows * n_cols), n_cols)
    n = len(x)
    flat = {name: values.ravel() for name, values in maps.items()}
    columns = {
        "x": _as_branch(x),
        "y": _as_branch(y),
        "ePix": facts.planes["charge"].ravel(),
        "mask": flat["mask"],
        "distance": _as_branch(flat["distance"]),
        "azimuth": _as_branch(flat["azimuth"]),
        "bleedX": flat["bleedX"].astype(np.int32),
        "bleedY": flat["bleedY"].astype(np.int32),
        "clusterDist": _as_branch(flat["clusterDist"]),
        "ohdu": np.full(n, _ohdu(facts), np.int32),
        "RUNID": np.full(n, facts.run_id, np.int32),
        "LTANAME": np.full(n, _lta_name(facts), np.int32),
    }
    return _rows(columns, n)


@dataclass(frozen=True)
class Peer:
    """How a program's trees are made: of each image, and of all images of a file."""

    image: Callable[[ImageFacts], Any]
    trees: Callable[[Sequence[Any]], list[Tree]]


#: By the word of the config.
PEERS = {
    "waders": Peer(_waders_image, _waders_trees),
    "hitsumm": Peer(_hit_image, _hit_trees),
}
