"""Structured arrays that know the units of their columns, and turn into what others work with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core

if TYPE_CHECKING:
    import awkward
    import pandas
    import polars
    import pyarrow
    from astropy.table import QTable

__all__ = ["Table", "Tree", "needed"]


def needed(module: str, what: str, extra: str) -> Any:
    """Import what a user may not have installed.

    Raises
    ------
    ConfigError
        It is not there; names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _core.ConfigError(
            f"{what} needs {error.name}; pip install 'skipstream[{extra}]'"
        ) from None


class Table(np.ndarray[Any, np.dtype[np.void]]):
    """A structured array ``(n,)``, with unit and meaning of each column.

    Parameters
    ----------
    array
        Structured array; it is not copied.
    columns
        ``name``, ``unit`` and ``doc`` of each of its columns, in its order.

    Attributes
    ----------
    columns : tuple of dict
        As given; empty where rows or columns were picked in a way that loses them.
    """

    columns: tuple[Mapping[str, str], ...]

    def __new__(cls, array: NDArray[np.void], columns: Sequence[Mapping[str, str]]) -> Table:
        """Give an array its columns; see the class."""
        table = np.asarray(array).view(cls)
        table.columns = tuple(columns)
        return table

    def __array_finalize__(self, other: Any) -> None:
        self.columns = getattr(other, "columns", ())

    def __reduce__(self) -> Any:
        return Table, (np.asarray(self), self.columns)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        # A single column is an array as any other.
        return np.asarray(found) if isinstance(found, Table) and not found.dtype.names else found

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column that has one."""
        return {c["name"]: c["unit"] for c in self._described() if c["unit"]}

    def _described(self) -> list[Mapping[str, str]]:
        known = {column["name"]: column for column in self.columns}
        return [
            known.get(name, {"name": name, "unit": "", "doc": ""})
            for name in self.dtype.names or ()
        ]

    def to_numpy(self) -> NDArray[np.void]:
        """Turn into a plain structured array ``(n,)``, which shares the memory."""
        return np.asarray(self)

    def to_qtable(self) -> QTable:
        """Turn into an astropy table whose columns have their units and descriptions."""
        from astropy.table import QTable

        return self.fill(QTable())

    def fill(self, table: Any) -> Any:
        """Give an empty astropy table the columns, and return it."""
        from astropy.table import Column

        for column in self._described():
            name, unit = column["name"], column["unit"]
            table[name] = Column(np.asarray(self[name]), unit=unit or None)
            table[name].info.description = column["doc"]
        return table

    def to_pandas(self) -> pandas.DataFrame:
        """Turn into a pandas frame; ``attrs["units"]`` has the units.

        Raises
        ------
        ConfigError
            pandas is not installed.
        """
        frame: pandas.DataFrame = needed("pandas", "to_pandas", "tables").DataFrame(self._columns())
        frame.attrs["units"] = self.units
        return frame

    def to_polars(self) -> polars.DataFrame:
        """Turn into a polars frame, which has no place for units.

        Raises
        ------
        ConfigError
            polars is not installed.
        """
        frame: polars.DataFrame = needed("polars", "to_polars", "tables").DataFrame(self._columns())
        return frame

    def to_arrow(self, metadata: Mapping[str, str] | None = None) -> pyarrow.Table:
        """Turn into an Arrow table; each field's metadata has its unit and description.

        Parameters
        ----------
        metadata
            Of the table as a whole.

        Raises
        ------
        ConfigError
            pyarrow is not installed.
        """
        pa = needed("pyarrow", "to_arrow", "parquet")
        arrays = [pa.array(values) for values in self._columns().values()]
        fields = [
            pa.field(
                column["name"],
                array.type,
                metadata={"unit": column["unit"], "description": column["doc"]},
            )
            for column, array in zip(self._described(), arrays, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))

    def to_awkward(self) -> awkward.Array:
        """Turn into an awkward array of records.

        Raises
        ------
        ConfigError
            awkward is not installed.
        """
        ak = needed("awkward", "to_awkward", "tables")
        columns = {name: ak.from_numpy(values) for name, values in self._columns().items()}
        return ak.zip(columns, depth_limit=1)

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {name: np.ascontiguousarray(self[name]) for name in self.dtype.names or ()}


@dataclass(frozen=True)
class Tree:
    """A table with lists in its rows, as ROOT files hold it.

    Attributes
    ----------
    name
        Of the tree.
    table
        ``(n,)``.
    lists
        Name of the counter of lists to ``(n,)`` lengths and the lists, one after another, by name.
    entries
        Where an entry of the tree is several rows: name of their counter, rows of each entry, and
        columns that are one number for an entry.
    """

    name: str
    table: Table
    lists: Mapping[str, tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]] = field(
        default_factory=dict
    )
    entries: tuple[str, NDArray[np.int64], Mapping[str, NDArray[Any]]] | None = None
