"""A Parquet file of any length as encoded rows."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dlx.data.arrow_rows import Style, encode_rows
from dlx.data.chunks import Chunk
from dlx.data.columns import Column, Date, Number
from dlx.data.differences import missing_columns
from dlx.data.encoder import TableEncoder
from dlx.data.files import reading
from dlx.errors import DataError

_BUFFER = 1 << 20  # bytes read ahead of each column, in place of its whole row group


def stream_parquet(encoder: TableEncoder, path: Path, rows: int) -> Generator[Chunk]:
    """The encoded rows of the file, in chunks of at most `rows`, which are numbered from 1.

    Raises `DataError` for a file that is none, without rows, with other columns, or with other types of columns.
    """
    with reading(path):
        try:
            with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
                _require_columns(encoder, file.schema_arrow, str(path))
                if not file.metadata.num_rows:
                    raise DataError(f"{path} has column names but no rows")
                row = 1
                for batch in file.iter_batches(rows, columns=[column.name for column in encoder.columns]):
                    lines = np.arange(row, row + len(batch))
                    yield encode_rows(encoder, pa.Table.from_batches([batch]), lines, Style())
                    row += len(batch)
        except pa.ArrowException as error:
            raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def _require_columns(encoder: TableEncoder, schema: pa.Schema, where: str) -> None:
    present = [column for column in encoder.columns if column.name in schema.names]
    wrong = ((column.name, _mismatch(column, schema.field(column.name).type)) for column in present)
    said = (
        missing_columns((column.name for column in encoder.columns), schema.names),
        *(f"the column {name!r} {what}" for name, what in wrong if what),
    )
    if differences := "; ".join(part for part in said if part):
        raise DataError(f"{where} differs from the training data: {differences}")


def _mismatch(column: Column, kind: pa.DataType) -> str:
    """What is wrong with a column of this type; nothing if the encoder reads it. Text is read word by word."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_nested(plain) or pa.types.is_binary(plain) or pa.types.is_large_binary(plain):
        return f"is of type {kind}, which no column of training was"
    if pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_null(plain):
        return ""
    is_time = pa.types.is_timestamp(plain) or pa.types.is_date(plain)
    if isinstance(column, Number) and (is_time or pa.types.is_boolean(plain)):
        return f"is of type {kind} and was a number"
    return f"is of type {kind} and was a date" if isinstance(column, Date) and not is_time else ""
