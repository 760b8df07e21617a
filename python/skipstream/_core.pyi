from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Error(Exception): ...
class ConfigError(Error, ValueError): ...
class FitsError(Error, ValueError): ...
class PacketError(Error, ValueError): ...
class IoError(Error, OSError): ...

def schema() -> list[dict[str, Any]]: ...
def check_stages(
    stages: Sequence[Mapping[str, Any]], foreign: Sequence[str] = ...
) -> list[str]: ...
def alarm_schema() -> dict[str, Any]:
    """As of a stage, and ``statistics``: name, doc, and whether it is of the whole image."""

def check_alarms(alarms: Sequence[Mapping[str, Any]]) -> list[str]: ...
def check_parameters(stage: Mapping[str, Any]) -> list[str]: ...
def unknown_statistics(names: Sequence[str]) -> list[str]: ...
def fill_stages(
    stages: Sequence[Mapping[str, Any]], foreign: Sequence[str] = ...
) -> list[dict[str, Any]]: ...
def mask_names() -> list[tuple[int, str, str]]: ...
def nearest_name(word: str, candidates: Sequence[str]) -> str: ...
def simd_level() -> str: ...
def lowest_peak(values: NDArray[Any], are_sorted: bool = ...) -> tuple[float, float]:
    """Place and width of the lowest peak of finite values, of which it needs 2."""

def counts_below(
    values: NDArray[Any], places: NDArray[np.float64], is_right: bool = ...
) -> NDArray[np.int64]:
    """How many of sorted values are below each place; with `is_right`, or at it.

    As `numpy.searchsorted`, which makes doubles of float32 values first.
    """

def medians(lines: NDArray[Any]) -> NDArray[np.float64]:
    """Median of every line of ``(n_lines, n)``, without NaN; NaN where nothing else is."""

def medians_and_sigmas(lines: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same, and 1.4826 times the medians of the absolute deviations from them."""

def clipped_lines(
    lines: NDArray[Any], left_out: NDArray[np.bool_], n_sigma: float, highest: float
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Of every line the finite pixels that are not left out: number, median and sigma.

    And of those up to `n_sigma` sigma from the median, where sigma is not 0, and up to `highest`:
    number, sum of the differences from the median, and of their squares.
    """

def variances_of_blocks(
    pixels: NDArray[Any],
    left_out: NDArray[np.bool_],
    firsts: NDArray[np.int64],
    width: int,
    n_pixels: int,
) -> NDArray[np.float64]:
    """Of blocks of so many pixels, in rows of `width`, whose first ones have these flat places.

    NaN where a pixel of a block is left out or not finite.
    """

def subtract_lowest_peaks(rows: NDArray[np.float32] | NDArray[np.float64]) -> None:
    """From each sorted row, in place, its lowest peak; NaN where fewer than 2 pixels are finite."""

def width_of_counts(first: float, counts: NDArray[np.int64]) -> float | None:
    """Width of a Gaussian through counts of whole numbers from `first` on; None: none."""

def entropy(counts: NDArray[np.int64]) -> float:
    """``-sum p ln p``; NaN without counts."""

def entropy_of_wholes(values: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """`entropy` of the finite values in bins of 1."""

def pixels_by_distance(
    pixels: NDArray[Any], there: NDArray[np.bool_], threshold: float, hit: float, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels by the square of their distance from the nearest one of at least the threshold.

    And of them those of at least `hit`; empty where no pixel has the threshold.
    """

def fit_mixture(
    centres: NDArray[np.float64],
    counts: NDArray[np.float64],
    starts: NDArray[np.float64],
    sigma: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]]:
    """Gaussians of one width: means, sizes, width, information of means, width and sizes."""

def expected_counts(
    edges: NDArray[np.float64],
    n: float,
    offset: float,
    noise: float,
    rate: float,
    gain: float,
    n_peaks: int,
) -> NDArray[np.float64]:
    """Pixels expected between edges: Poisson numbers of electrons with Gaussian noise."""

class ChargeCost:
    """Twice the logarithm of the Poisson likelihoods' ratio, data over expected counts.

    Of n, offset, noise, rate and gain. As many peaks are told apart as have their place up to 5
    sigma above `reach`, and one more, but no more than `most_peaks`.
    """

    def __init__(
        self,
        edges: NDArray[np.float64],
        counts: NDArray[np.float64],
        reach: float,
        most_peaks: int,
    ) -> None: ...
    def __call__(self, n: float, offset: float, noise: float, rate: float, gain: float) -> float:
        """Infinite where a parameter is no number."""

    def gradient(
        self, n: float, offset: float, noise: float, rate: float, gain: float
    ) -> list[float]:
        """Derivatives by the parameters; 0 where one of them is no number."""

    def expected(
        self, n: float, offset: float, noise: float, rate: float, gain: float
    ) -> NDArray[np.float64]:
        """Counts of the model, as `expected_counts`."""

def charge_shape_costs(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    noise: float,
    starts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minus log-likelihoods of the shape for lines of offset, rate, gain, number of peaks."""

class ImageInfo:
    amplifier: str
    n_rows: int
    n_cols: int
    n_skips: int
    prescan_cols: int
    overscan_cols: int
    prescan_rows: int
    overscan_rows: int
    begin_skip: int
    end_skip: int | None
    unit: str
    dtype: str
    scale: float
    zero: float
    blank: int | None
    header: dict[str, float]
    def __init__(
        self,
        *,
        n_cols: int,
        n_skips: int,
        dtype: str,
        n_rows: int = ...,
        amplifier: str = ...,
        prescan_cols: int = ...,
        overscan_cols: int = ...,
        prescan_rows: int = ...,
        overscan_rows: int = ...,
        begin_skip: int = ...,
        end_skip: int | None = ...,
        unit: str = ...,
        scale: float = ...,
        zero: float = ...,
        blank: int | None = ...,
        header: Mapping[str, float] = ...,
    ) -> None: ...

class FitsHdu:
    """One HDU as its structural keywords state it; `axes` is NAXIS1, NAXIS2, ..."""

    index: int
    kind: str  # "primary", "image", "bintable", "table", "other"
    name: str  # EXTNAME or ""
    dtype: str  # '>i2', ... of the stored samples; "" where there are none
    axes: list[int]  # of the image, also where it is tile-compressed
    scale: float
    zero: float
    blank: int | None
    header_offset: int
    data_offset: int
    data_bytes: int
    bytes_there: int
    compression: str  # "" or ZCMPTYPE
    cards: list[tuple[str, str, str]]  # (keyword, value text, comment) in file order
    raw_cards: list[str]  # as 80-character strings

def scan_fits(path: str, name: str = ...) -> list[FitsHdu]: ...
def written_bytes(path: str) -> int: ...
def scan_cut_fits(path: str, name: str = ...) -> tuple[list[FitsHdu], str]:
    """As scan_fits, of a file that may end too early; and what is missing, or ""."""

def scan_header(header: bytes, name: str, index: int) -> FitsHdu:
    """The HDU of an image that is in no file: its rows come by themselves."""

def complete_rows(path: str, hdu: FitsHdu) -> int:
    """Rows whose tiles are all in the file."""

def sum_of_words(path: str, offset: int, n_bytes: int) -> int:
    """Ones' complement sum of big-endian 32-bit words."""

def knows_tiles(hdu: FitsHdu) -> bool:
    """Whether the core decodes the tiles of a compressed image."""

class LtaPackets:
    """Rows of samples from the packets of an LTA board: (channel, (n, n_cols, n_skips) int32)."""

    n_channels: int
    blank: int
    def __init__(
        self, channels: Sequence[int], *, n_rows: int, n_cols: int, n_skips: int
    ) -> None: ...
    def push(self, data: bytes | memoryview) -> list[tuple[int, NDArray[np.int32]]]: ...
    def flush(self) -> list[tuple[int, NDArray[np.int32]]]: ...
    def finish(self) -> list[tuple[int, NDArray[np.int32]]]: ...
    def end_file(self) -> None: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def counts(self) -> dict[str, int]: ...
    @staticmethod
    def channels_in(data: bytes | memoryview) -> list[int]: ...
    @staticmethod
    def held_bytes(*, n_rows: int, n_cols: int, n_skips: int) -> int: ...

class FileSamples:
    """Encoded samples of an image. `planes` are files and HDUs: one with the skips in "columns" or
    "planes", or one for each skip ("hdus"). `inflate(stream, output)` fills the output from a gzip
    stream, and returns what is wrong."""

    def __init__(
        self,
        planes: list[tuple[str, FitsHdu]],
        *,
        n_rows: int,
        n_cols: int,
        n_skips: int,
        skips: str,
        first_row: int,
        first_sample: int,
        is_reversed: bool,
        inflate: Callable[[memoryview, memoryview], str],
        name: str = ...,
        is_growing: bool = ...,
    ) -> None: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def zero(self) -> float: ...
    @property
    def blank(self) -> int | None: ...
    @property
    def piece_pixels(self) -> int: ...
    @property
    def cursor_bytes(self) -> int:
        """Memory of one thread's reader, at most."""

    @property
    def datasum(self) -> int | None:
        """FITS DATASUM of the bytes read; None where they are compressed."""

class PlaneWriter:
    """A FITS file of images, written while rows arrive; the headers come last."""

    def __init__(self, path: str) -> None: ...
    def add_image(self, header_bytes: int, dtype: str, n_rows: int, n_cols: int) -> int: ...
    def datasum(self, image: int) -> int: ...
    def write_header(self, image: int, header: bytes) -> None: ...
    def close(self) -> None:
        """All is on the disk when this returns."""

class Pipeline:
    """`taps` are stage numbers after which `on_rows(stage, planes, mask, first_row)` is called:
    planes is (n_planes, n_rows, n_cols) float64, mask (n_rows, n_cols) uint32, valid in the call.
    """

    def __init__(
        self,
        stages: Sequence[Mapping[str, Any]],
        image: ImageInfo,
        *,
        threads: int = ...,
        chunk_rows: int = ...,
        row_multiple: int = ...,
        spool_bytes: int = ...,
        spool_folder: str = ...,
        taps: Sequence[int] = ...,
        on_rows: Callable[[int, NDArray[np.float64], NDArray[np.uint32], int], None] | None = ...,
        foreign: Mapping[str, Callable[[NDArray[np.float64]], Any]] = ...,
        n_histograms: int = ...,
        fit_gain: Callable[[NDArray[np.float32]], float] | None = ...,
        mask: NDArray[np.uint32] | None = ...,
        whole_rows: bool = ...,
        source_bytes: int = ...,
        memory_bytes: int = ...,
        alarms: Sequence[Mapping[str, Any]] = ...,
        on_alarm: Callable[[int, int, int, float], None] | None = ...,
        row_statistics: bool = ...,
    ) -> None:
        """`on_alarm` gets the number of an alarm, the first and the last row, and the value."""

    plan: dict[str, Any]
    def push(self, samples: NDArray[Any]) -> None: ...
    def run(self, samples: FileSamples, progress: Callable[[int], None] | None = ...) -> None: ...
    def push_lost(self, n_samples: int) -> None: ...
    def push_missing(self, n_rows: int) -> None: ...
    def finish(self) -> None: ...
    def add_writer(
        self, stage: int, writer: PlaneWriter, images: Sequence[tuple[int, int]]
    ) -> None:
        """Rows that leave `stage` go to images of a file: (plane or -1 for the mask, image)."""

    def keep_planes(
        self,
        stage: int,
        planes: Sequence[tuple[int, NDArray[Any]]],
        mask: NDArray[np.uint32] | None = ...,
    ) -> None:
        """Rows that leave `stage` are copied to (n_rows, n_cols) arrays: (plane, array) each."""

    def keep_left_out(self, stage: int, ignored: int, left_out: NDArray[np.bool_]) -> None:
        """Whether pixels that leave `stage` have a bit of the mask beside the ignored ones."""

    def rows_kept(self, stage: int) -> int:
        """Rows of `keep_planes` that are there."""

    def take_rows(self, table: str) -> NDArray[np.void]: ...
    def take_row_statistics(self) -> NDArray[np.void]: ...
    def table(self, name: str) -> NDArray[np.void]: ...
    def planes_after(self, stage: int) -> list[dict[str, Any]]: ...
    def tables(self) -> list[dict[str, Any]]: ...
    @property
    def rows_pushed(self) -> int: ...
    def keep_samples(
        self, begin_col: int, end_col: int, row_step: int, statistics: Sequence[str] = ...
    ) -> int:
        """Keep samples of a region, or statistics of them, from the first row on; its number."""

    def kept_samples(self, region: int) -> NDArray[Any]:
        """What was kept of a region, after all rows: a view.

        ``(n_rows, n_cols, n_skips)`` of `records_format`, or ``(n_statistics, n_rows, n_cols)`` of
        float64.
        """

    def rows_there(self, region: int) -> NDArray[np.bool_]:
        """Which of the kept rows were there."""

    def records_format(self) -> tuple[str, float, int | None]:
        """Type, scale and blank of recorded samples, which stages on samples may have changed."""

    def sample_histograms(self) -> tuple[NDArray[np.int64], ...]:
        """Bin 0 ``(n,)``, counts ``(n, n_bins)``, numbers below and above, of the first samples."""

    def findings(self) -> list[dict[str, Any]]: ...
