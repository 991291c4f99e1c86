# Prints the tables of a folder as pyarrow and DuckDB read them, one line a row. Floats are printed as
# their bits.
import struct
import sys

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

folder, extension = sys.argv[1:]


def plain(value):
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, dict):
        return [plain(pair) for pair in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def by_pyarrow(name):
    path = f"{folder}/{name}.{extension}"
    if extension == "parquet":
        return pa.parquet.read_table(path)
    open_ipc = pa.ipc.open_file if extension == "arrow" else pa.ipc.open_stream
    with pa.memory_map(path) as file:
        return open_ipc(file).read_all()


def with_times_as_numbers(column):
    return column.cast("int64") if pa.types.is_timestamp(column.type) else column


def by_duckdb(name, schema):
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    numbers = ", ".join(f"epoch_ms({time}) as {time}" for time in times)
    return duckdb.sql(f"select * replace ({numbers}) from '{folder}/{name}.parquet'").fetchall()


for name in ["samples", "histograms", "series"]:
    table = by_pyarrow(name)
    print(name, "has", ", ".join(f"{field.name} {field.type}" for field in table.schema))
    columns = [with_times_as_numbers(column).to_pylist() for column in table.columns]
    rows = [plain(row) for row in zip(*columns)]
    for row in rows:
        print(name, row)
    if extension == "parquet":
        again = [plain(row) for row in by_duckdb(name, table.schema)]
        assert again == rows, f"DuckDB reads {again}"
