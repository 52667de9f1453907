"""Tables that are written while they are made, so that nobody has to hold the whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import polars as pl
import pyarrow as pa


def streamed(parts: Iterator[pl.DataFrame]) -> pa.RecordBatchReader:
    """Return what DuckDB reads to the end, once; each part is asked for when the last is written.

    Args:
        parts: tables with the same columns, at least one, be it empty.
    """
    # Made at once: it tells the columns, and what is wrong is said before a table is begun.
    first = next(parts).to_arrow()
    rest = (part.to_arrow() for part in parts)
    batches = (batch for part in chain((first,), rest) for batch in part.to_batches())
    return pa.RecordBatchReader.from_batches(first.schema, batches)
