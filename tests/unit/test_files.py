"""Recorded streams: CSV rows and JSON lines as record batches."""

import gzip
from pathlib import Path

import pytest

from detector.errors import UsageError
from detector.io.files import csv_batches, find_files, jsonl_batches


def csv_values(path: Path, size: int = 1000) -> list[bytes | None]:
    return [value for rows in csv_batches(path, "t", size) for value in rows.records.values]


def written(path: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


class TestCsv:
    @pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
    def test_a_row_becomes_a_json_metric_named_after_the_file(self, tmp_path: Path, ending: str) -> None:
        path = written(tmp_path / f"cpu{ending}", "timestamp,value,label\n2024-01-01 00:00:00,1.5,0\n1700000000,2,1\n")
        assert csv_values(path) == [
            b'{"name":"cpu","time":"2024-01-01 00:00:00","value":1.5}',
            b'{"name":"cpu","time":"1700000000","value":2.0}',
        ]

    def test_a_series_column_names_the_series(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.csv", '\ufeffvalue, Series ,time\n1,"a ""b"",c",5\n')
        assert csv_values(path) == [b'{"name":"a \\"b\\",c","time":"5","value":1.0}']

    @pytest.mark.parametrize(
        ("cell", "expected"),
        [
            ("", b'""'),
            ("NaN", b'"NaN"'),
            ("1e400", b'"1e400"'),
            ("1_000", b'"1_000"'),
            ("abc", b'"abc"'),
            ("-0.1", b"-0.1"),
            ("12345678901234567890", b"1.2345678901234567e+19"),
        ],
    )
    def test_a_cell_that_is_no_finite_number_stays_text_and_its_neighbours_do_not(
        self, tmp_path: Path, cell: str, expected: bytes
    ) -> None:
        path = written(tmp_path / "x.csv", f"time,value\n1,{cell}\n2,3\n")
        assert [value.split(b":")[-1][:-1] for value in csv_values(path) if value] == [expected, b"3.0"]

    def test_short_rows_have_empty_cells_and_empty_lines_are_no_rows(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.csv", "time,value\n1\n\n2,3\n")
        assert csv_values(path) == [b'{"name":"x","time":"1","value":""}', b'{"name":"x","time":"2","value":3.0}']

    def test_offsets_count_rows_across_batches(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.csv", "time,value\n" + "".join(f"{row},{row}\n" for row in range(7)))
        batches = list(csv_batches(path, "t", 3))
        assert [rows.records.offsets.tolist() for rows in batches] == [[0, 1, 2], [3, 4, 5], [6]]
        assert batches[-1].position_bytes == path.stat().st_size

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "it has nothing"),
            (b"time,val\n", "it has time, val"),
            (b"time,value\n1,2\n" + b'"' + b"x" * 200_000, "cannot be read after line"),
        ],
    )
    def test_what_is_no_such_file_is_a_fault_of_usage(self, tmp_path: Path, content: bytes, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            csv_values(written(tmp_path / "x.csv", content))

    def test_a_broken_gzip_file_is_a_fault_of_usage(self, tmp_path: Path) -> None:
        whole = gzip.compress(b"time,value\n" + b"1,2\n" * 1000)
        for content in (b"no gzip", whole[:-20], whole[:30] + b"\xff\xff\xff" + whole[33:]):
            (tmp_path / "x.csv.gz").write_bytes(content)
            with pytest.raises(UsageError, match="cannot be read after line"):
                csv_values(tmp_path / "x.csv.gz")


class TestJsonLines:
    def lines(self, *paths: Path, size: int = 1000, line_bytes_max: int = 100) -> list[bytes | None]:
        batches = jsonl_batches(paths, "t", size, line_bytes_max)
        return [value for lines in batches for value in lines.records.values]

    def test_lines_stay_as_they_are_and_blank_ones_are_no_records(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", b'{"a": 1}\n\n  \n\xff\xfe{\r\n{"b"')
        assert self.lines(path) == [b'{"a": 1}', b"\xff\xfe{", b'{"b"']

    def test_files_follow_one_another_as_one_partition(self, tmp_path: Path) -> None:
        first = written(tmp_path / "1.jsonl.gz", b"a\nb\n")
        second = written(tmp_path / "2.jsonl", b"c\n")
        batches = list(jsonl_batches([first, second], "t", 10, 100))
        assert [(lines.path, lines.records.offsets.tolist()) for lines in batches] == [(first, [0, 1]), (second, [2])]

    def test_a_line_that_is_too_long_is_cut_one_byte_too_long(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", b"x" * 10 + b"\n" + b"y" * 11 + b"\n" + b"z" * 1000 + b"\nw")
        lengths = [len(line or b"") for line in self.lines(path, line_bytes_max=10)]
        assert lengths == [10, 11, 12, 1]


class TestFind:
    def test_folders_are_searched_and_kinds_are_sorted(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        names = ["b.csv", "in/a.csv.gz", "c.jsonl", "in/b.ndjson", "note.txt"]
        for name in names:
            (tmp_path / name).touch()
        csv_files, jsonl_files = find_files([tmp_path, tmp_path / "b.csv"])
        assert [str(path.relative_to(tmp_path)) for path in csv_files] == ["b.csv", "in/a.csv.gz"]
        assert [str(path.relative_to(tmp_path)) for path in jsonl_files] == ["c.jsonl", "in/b.ndjson"]

    def test_what_cannot_be_replayed_is_a_fault_of_usage(self, tmp_path: Path) -> None:
        (tmp_path / "note.txt").touch()
        for path, words in (("none.csv", "no such file"), ("note.txt", "not one of"), ("", "no file ending in")):
            with pytest.raises(UsageError, match=words):
                find_files([tmp_path / path])
