import csv
import gzip
import json

import pytest

from hafs.core.errors import DataError
from hafs.data.sources import MAX_LINE_BYTES, FileProblem, find_files, read_lines


def lines(path):
    return [(line.number, line.raw, line.ended) for line in read_lines(path, [])]


def test_lines_are_numbered_and_the_last_needs_no_newline(here):
    (here / "a.jsonl").write_bytes(b"one\r\n\ntwo\nthree")
    assert lines(here / "a.jsonl") == [(1, b"one", True), (2, b"", True), (3, b"two", True), (4, b"three", False)]


def test_gzip_is_recognized_by_its_content(here):
    (here / "a.jsonl").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert lines(here / "a.jsonl") == [(1, b"one", True), (2, b"two", True)]


def test_a_cut_gzip_file_is_a_file_problem(here):
    (here / "a.jsonl.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-12])
    with pytest.raises(FileProblem, match="damaged or cut off"):
        lines(here / "a.jsonl.gz")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_said_once(here, encoding):
    (here / "a.jsonl").write_bytes('{"text": "a"}\n'.encode(encoding) * 3)
    with pytest.raises(FileProblem, match="UTF-16"):
        lines(here / "a.jsonl")


def test_a_byte_order_mark_at_the_start_is_ignored_and_noted(here):
    (here / "a.jsonl").write_bytes(b"\xef\xbb\xbfone\n")
    notes = []
    assert [line.raw for line in read_lines(here / "a.jsonl", notes)] == [b"one"]
    assert "byte order mark" in notes[0]


def test_a_line_of_50_megabytes_is_counted_but_not_held(here):
    with (here / "a.jsonl").open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\nnext\n")
    first, second = read_lines(here / "a.jsonl", [])
    assert (first.raw, first.size) == (None, 50_000_000)
    assert (second.number, second.raw) == (2, b"next")
    assert MAX_LINE_BYTES < 50_000_000


def test_paths_and_globs_name_each_file_once(here):
    for name in ("b.jsonl", "a.jsonl", "with[1].jsonl"):
        (here / name).write_bytes(b"x\n")
    assert [path.name for path in find_files("d", ("b.jsonl", "?.jsonl", "./a.jsonl"))] == ["b.jsonl", "a.jsonl"]
    assert [path.name for path in find_files("d", ("with[1].jsonl",))] == ["with[1].jsonl"]


@pytest.mark.parametrize(("pattern", "says"), [
    ("sampel.jsonl", "did you mean 'sample.jsonl'"),
    ("*.json", "sample.jsonl"),
    ("nowhere/x.jsonl", "there is no folder 'nowhere'"),
    ("folder", "folder/*.jsonl"),
    ("empty.jsonl", "0 bytes"),
])  # fmt: skip
def test_what_cannot_be_read_is_one_clear_line_with_a_way_out(here, pattern, says):
    (here / "sample.jsonl").write_bytes(b"{}\n")
    (here / "empty.jsonl").touch()
    (here / "folder").mkdir()
    with pytest.raises(DataError) as caught:
        find_files("d", (pattern,))
    assert says in str(caught.value)
    assert "dataset 'd'" in str(caught.value)


ROWS = [{"prompt": 'q1, "quoted"\nline', "completion": "a1"}, {"prompt": "naïve 你好", "completion": "42"}]


def read(path):
    return [json.loads(line.raw) for line in read_lines(path, [])]


def test_a_json_array_and_csv_are_read_as_rows_whatever_they_are_called(here):
    (here / "a.json").write_text(json.dumps(ROWS, indent=1))
    with (here / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["prompt", "completion"])
        writer.writeheader()
        writer.writerows(ROWS)
    (here / "a.tsv").write_text("prompt\tcompletion\nq\ta\n")
    assert read(here / "a.json") == read(here / "a.csv") == ROWS
    assert read(here / "a.tsv") == [{"prompt": "q", "completion": "a"}]
    (here / "array.jsonl").write_text(json.dumps(ROWS, indent=1))
    (here / "semicolons.csv").write_text("prompt;completion\nq, or r;a\n")
    assert read(here / "array.jsonl") == ROWS
    assert read(here / "semicolons.csv") == [{"prompt": "q, or r", "completion": "a"}]
    (here / "lines.json").write_text("\n".join(map(json.dumps, ROWS)))
    assert read(here / "lines.json") == ROWS
    (here / "cut.json").write_text(json.dumps(ROWS)[:-4])
    with pytest.raises(FileProblem, match="cannot be read"):
        read(here / "cut.json")


def test_parquet_arrow_and_zstandard_are_read(here):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    nested = [{"messages": [{"role": "user", "content": "q"}], "extra": None},
              {"messages": [{"role": "user", "content": "r", "name": "n"}], "extra": 1}]  # fmt: skip
    table = pyarrow.Table.from_pylist(nested)
    parquet.write_table(table, here / "a.parquet")
    for name, opened in (("stream.arrow", pyarrow.ipc.new_stream), ("file.arrow", pyarrow.ipc.new_file)):
        with opened(here / name, table.schema) as writer:
            writer.write_table(table)
    expected = [{"messages": [{"role": "user", "content": "q"}]}, nested[1]]
    for name in ("a.parquet", "stream.arrow", "file.arrow"):
        assert read(here / name) == expected
    with pyarrow.CompressedOutputStream(pyarrow.OSFile(str(here / "a.jsonl.zst"), "wb"), "zstd") as file:
        file.write("\n".join(map(json.dumps, ROWS)).encode())
    assert read(here / "a.jsonl.zst") == ROWS
    (here / "cut.parquet").write_bytes((here / "a.parquet").read_bytes()[:-20])
    with pytest.raises(FileProblem, match="cannot be read"):
        read(here / "cut.parquet")


def test_a_folder_is_its_data_files_or_its_training_split(here):
    for name in ("d/b.jsonl", "d/a.csv", "d/notes.txt", "saved/train/data-0.arrow", "saved/test/data-0.arrow",
                 "saved/dataset_dict.json", "hub/data/train-0.parquet", "hub/data/test-0.parquet"):  # fmt: skip
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("x")
    found = {name: [str(path) for path in find_files("d", (name,))] for name in ("d", "saved", "hub")}
    assert found == {"d": ["d/a.csv", "d/b.jsonl"], "saved": ["saved/train/data-0.arrow"],
                     "hub": ["hub/data/train-0.parquet"]}  # fmt: skip
