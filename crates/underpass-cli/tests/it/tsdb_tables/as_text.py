# Prints the samples of a directory of tables as promtool prints them, but each value as its bits.
import struct
import sys

import duckdb

directory, extension = sys.argv[1:]

if extension == "parquet":
    samples, series = f"'{directory}/samples.parquet'", f"'{directory}/series.parquet'"
else:
    import pyarrow as pa

    mapped_samples = pa.ipc.open_file(pa.memory_map(f"{directory}/samples.arrow")).read_all()
    mapped_series = pa.ipc.open_file(pa.memory_map(f"{directory}/series.arrow")).read_all()
    samples, series = "mapped_samples", "mapped_series"

text = {}
for number, metric, labels in duckdb.sql(f"select series, metric, labels from {series}").fetchall():
    pairs = sorted({"__name__": metric, **labels}.items())
    text[number] = "{" + ", ".join(f'{name}="{value}"' for name, value in pairs) + "}"
rows = duckdb.sql(f"select series, value, epoch_ms(timestamp) from {samples}")
for number, value, time in rows.fetchall():
    print(text[number], struct.pack(">d", value).hex(), time)
