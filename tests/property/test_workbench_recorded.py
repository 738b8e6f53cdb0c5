"""Recorded data: read in columns or row by row, from CSV or Parquet, it is the same; a model says what it is."""

import pyarrow
import pyarrow.parquet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers.recorded import csv_file
from drivers.replay import batches

many = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
T0 = 1_795_248_000_000_000_000
rows = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from("ABCD"),
        st.sampled_from(["1", "2.5", "", " 7 ", "-0.5", "nan", "1e400"]),
        st.sampled_from(["", "", "good", "Uncertain", "bad"]),
    ),
    max_size=40,
)
CONTINUED_AFTER_A_NEW_TAG = [(t, tag, "1", "") for t, tag in ((0, "A"), (0, "A"), (1, "C"), (1, "C"), (0, "B"))]
"""A poll cut in reading whose rest comes with a tag never met: its second C is historical."""
POLLS = [(t, tag, "1", "") for t in range(5) for tag in "ABCD"]


def model(given_rows):
    """The last bullet of spec/config.md, row by row."""
    at, last = None, {}
    for t, tag, text, word in given_rows:
        historical = tag in last and t <= last[tag]
        if not historical:
            last[tag] = t
        at = t if at is None else max(at, t)
        quality = {"": 0, "good": 0, "uncertain": 1, "bad": 100}[word.lower()]
        value = None if text.strip() in ("", "nan", "1e400") else float(text)
        if value is None:
            quality = 100 if not text.strip() or quality >= 100 else 103
        yield at, t, tag, value, quality, historical


def read(path, **options):
    for batch in batches(path, is_sorted=options.get("is_sorted", False)):
        for i, tag in enumerate(batch.tag_ids()):
            quality = batch.quality[i] if batch.quality else 0
            value = batch.values[i] if batch.values[i] == batch.values[i] else None
            yield batch.at_ns - T0, batch.t_ns(i) - T0, tag, value, quality, batch.historical


def write(path, given_rows, quoted=None, end="\n"):
    lines = [f"{T0 + t},{tag},{text},{word}" for t, tag, text, word in given_rows]
    if quoted is not None and quoted < len(lines):
        lines[quoted] = lines[quoted].replace(",", ',"', 1).replace(",", '",', 2).replace('",', ",", 1)
    path.write_bytes(end.join(["time,tag,value,quality", *lines, ""]).encode())
    return path


@many
@given(
    rows,
    st.booleans(),
    st.sampled_from([1, 2, 3, 7, 100]),
    st.none() | st.integers(0, 30),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
@example(CONTINUED_AFTER_A_NEW_TAG, False, 3, None, "\n")
def test_what_is_read_is_what_the_model_says_however_the_file_is_cut(
    tmp_path, given_rows, begins_with_polls, chunk, quoted, end
):
    given_rows = POLLS + given_rows if begins_with_polls else given_rows
    path = write(tmp_path / "data.csv", given_rows, quoted, end)
    before = csv_file.ROWS, csv_file.BLOCK
    csv_file.ROWS, csv_file.BLOCK = chunk, chunk * 20
    try:
        assert list(read(path)) == list(model(given_rows))
        ordered = sorted(given_rows, key=lambda row: row[0])
        assert list(read(path, is_sorted=True)) == list(model(ordered))
    finally:
        csv_file.ROWS, csv_file.BLOCK = before


@many
@given(rows)
def test_parquet_says_the_same_as_csv(tmp_path, given_rows):
    path = tmp_path / "data.parquet"
    values = [None if not text.strip() else float(text) for _, _, text, _ in given_rows]
    table = pyarrow.table(
        {
            "time": pyarrow.array([T0 + row[0] for row in given_rows], pyarrow.timestamp("ns", "UTC")),
            "tag": pyarrow.array([row[1] for row in given_rows], pyarrow.string()).dictionary_encode(),
            "value": pyarrow.array(values, pyarrow.float64()),
            "quality": pyarrow.array([row[3] for row in given_rows], pyarrow.string()),
        }
    )
    pyarrow.parquet.write_table(table, path)
    assert list(read(path)) == list(model(given_rows))
