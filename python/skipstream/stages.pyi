# Made by: skipstream stages --stub
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

STAGES: dict[str, type[Stage]]
__all__ = [
    "Stage",
    "CorrectLeach",
    "CorrectPolarity",
    "SubtractBaseline",
    "CompressSkips",
    "ReplaceSaturated",
    "MaskColumns",
    "MaskRows",
    "SubtractPedestal",
    "Calibrate",
    "MaskEdges",
    "MaskHot",
    "MaskNoisyRows",
    "MaskBleeding",
    "MaskSerialHits",
    "MaskCrowded",
    "FindClusters",
    "MaskHalo",
]

class Stage(Mapping[str, Any]):
    kind: str
    def __init__(self, **parameters: Any) -> None: ...
    def __getitem__(self, key: str) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

def stage_classes() -> dict[str, type[Stage]]: ...

class CorrectLeach(Stage):
    def __init__(
        self,
        *,
        shift: int = ...,
    ) -> None: ...

class CorrectPolarity(Stage):
    def __init__(
        self,
        *,
        method: Literal["negate", "offset", "max"] = ...,
        offset: float = ...,
    ) -> None: ...

class SubtractBaseline(Stage):
    def __init__(
        self,
        *,
        method: Literal["mean", "median"] = ...,
    ) -> None: ...

class CompressSkips(Stage):
    def __init__(
        self,
        *,
        statistics: str | Sequence[str] = ...,
        begin_skip: int | None = ...,
        end_skip: int | None = ...,
        ddof: int = ...,
        clip_sigma: float = ...,
        clip_iterations: int = ...,
        trim_fraction: float = ...,
        saturation: float | None = ...,
    ) -> None: ...

class ReplaceSaturated(Stage):
    def __init__(
        self,
        *,
        limit: float = ...,
    ) -> None: ...

class MaskColumns(Stage):
    def __init__(
        self,
        *,
        columns: Sequence[int | Sequence[int]] = ...,
    ) -> None: ...

class MaskRows(Stage):
    def __init__(
        self,
        *,
        rows: Sequence[int | Sequence[int]] = ...,
    ) -> None: ...

class SubtractPedestal(Stage):
    def __init__(
        self,
        *,
        method: Literal["mean", "median", "gaussian_fit", "clipped_mean", "lowest_peak"] = ...,
        region: Literal["auto", "overscan", "active"] = ...,
        axis: Literal["row", "column", "both"] = ...,
        between_rows: Literal["step", "line", "spline"] = ...,
        rebin_rows: int = ...,
        n_sigma_to_mask: float | None = ...,
        mask_left: bool = ...,
        mask_right: bool = ...,
        clip_sigma: float = ...,
        clip_iterations: int = ...,
        fit_window: float = ...,
        skip_columns: Sequence[int | Sequence[int]] = ...,
        skip_rows: Sequence[int | Sequence[int]] = ...,
    ) -> None: ...

class Calibrate(Stage):
    def __init__(
        self,
        *,
        gain: float | str | Mapping[str, float] = ...,
    ) -> None: ...

class MaskEdges(Stage):
    def __init__(
        self,
        *,
        rows: int = ...,
        columns: int = ...,
    ) -> None: ...

class MaskHot(Stage):
    def __init__(
        self,
        *,
        threshold: float = ...,
        below: float | None = ...,
        column_fraction: float = ...,
        row_fraction: float = ...,
    ) -> None: ...

class MaskNoisyRows(Stage):
    def __init__(
        self,
        *,
        max_noise: float | None = ...,
        window: float = ...,
        max_outside: float = ...,
    ) -> None: ...

class MaskBleeding(Stage):
    def __init__(
        self,
        *,
        threshold: float = ...,
        columns: int = ...,
        rows: int = ...,
    ) -> None: ...

class MaskSerialHits(Stage):
    def __init__(
        self,
        *,
        threshold: float = ...,
        window: int = ...,
        min_hits: int = ...,
        max_beside: int = ...,
        windows_beside: int = ...,
    ) -> None: ...

class MaskCrowded(Stage):
    def __init__(
        self,
        *,
        threshold: float = ...,
        below: float | None = ...,
        radius: int = ...,
        min_hits: int = ...,
    ) -> None: ...

class FindClusters(Stage):
    def __init__(
        self,
        *,
        threshold: float | str | Mapping[str, float] = ...,
        seed: float | str | Mapping[str, float] = ...,
        require_seed: bool = ...,
        threshold_unit: Literal["sigma", "absolute"] = ...,
        noise: float | str | Mapping[str, float] = ...,
        connectivity: int = ...,
        link_distance: float | None = ...,
        min_pixels: int = ...,
        min_charge: float | None = ...,
        energy_per_electron: float = ...,
        keep_pixels: bool = ...,
        max_pixels: int = ...,
        label_image: bool = ...,
    ) -> None: ...

class MaskHalo(Stage):
    def __init__(
        self,
        *,
        threshold: float | None = ...,
        shape: Literal["circle", "box"] = ...,
        radius: int = ...,
    ) -> None: ...
