"""Arrow tables on the pages of assets."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pyarrow as pa

MOST = 100


def show_table(rows: pa.Table) -> dg.TableMetadataValue:
    """The first `MOST` rows, as Dagster shows them."""
    records = [dg.TableRecord({k: _cell(v) for k, v in row.items()}) for row in rows.slice(0, MOST).to_pylist()]
    columns = [
        dg.TableColumn(name, "string" if pa.types.is_string(rows[name].type) else "float") for name in rows.column_names
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _cell(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
