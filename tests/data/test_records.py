"""Blocks of whole records, wherever the file is cut and wherever its quotes are."""

import csv
import io

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dlx.data import records
from dlx.data.records import Block, find_records, read_blocks
from dlx.errors import DataError

pieces = st.lists(st.sampled_from(["a", "1", ",", '"', "\n", '""', "\r\n", " ", '"x",', '"\n"', ',"', "é"]), max_size=25).map(
    "".join
)


def fields_and_lines(content: bytes, size: int) -> tuple[list[list[str]], list[int], list[int]]:
    """The fields of all records, their lines, and the lines of the bad ones."""
    fields: list[list[str]] = []
    lines: list[int] = []
    bad: list[int] = []
    for block in read_blocks(io.BytesIO(content), "t.csv", ",", size):
        found = find_records(block, "t.csv", ",")
        fields.extend(row for row in csv.reader(io.StringIO(found.content.decode(), newline=""), skipinitialspace=True) if row)
        lines.extend(found.lines.tolist())
        bad.extend(row.line for row in found.bad)
    return fields, lines, bad


@settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(text=pieces, size=st.sampled_from([3, 7, 1000]))
def test_any_cut_gives_the_records_that_python_reads(text, size):
    source = text.encode()
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    expected: list[list[str]] = []
    lines: list[int] = []
    before = 0
    for row in reader:
        if reader.line_num > before + 1 or text.splitlines(keepends=True)[before].strip():
            expected.append(row)
            lines.append(before + 1)
        before = reader.line_num
    fields, found, bad = fields_and_lines(source, size)
    if bad:  # a quote that is never closed ends in a record that Python takes as it is
        expected, lines = expected[:-1], lines[:-1]
    assert fields == expected
    assert found == lines


def test_lines_are_counted_through_quoted_newlines_blank_lines_and_old_macs():
    assert fields_and_lines(b'a,b\n\n"two\nlines",2\r\n  \n3,"x""y"\n', 1000)[1] == [1, 3, 6]
    assert fields_and_lines(b"a,b\r1,2\r3,4\r", 1)[1] == [1, 2, 3]
    assert fields_and_lines(b"a\r\n1\r\n2", 2)[1] == [1, 2, 3]


def test_what_is_not_utf8_is_told_by_line():
    _, lines, bad = fields_and_lines(b"a,b\n1,caf\xe9\n2,caf\xc3\xa9\n", 1000)
    assert (lines, bad) == ([1, 3], [2])
    _, lines, bad = fields_and_lines(b'a,b\n1, "caf\xe9"\n2,3\n', 1000)
    assert (lines, bad) == ([1, 3], [2])


def test_comments_are_left_out():
    found = find_records(Block(b"|1x3\n1,2\n|3,4\n5,6\n", 10), "t.csv", ",", "|")
    assert found.lines.tolist() == [11, 13]


def test_a_quote_never_closed_is_a_bad_row_at_the_end_and_an_error_when_it_goes_on(monkeypatch):
    assert fields_and_lines(b'a\n1\n"2\n3\n', 1000)[2] == [3]
    monkeypatch.setattr(records, "LONGEST", 100)
    with pytest.raises(DataError, match=r"t.csv, line 3: a row of more than .* is there a quote never closed"):
        fields_and_lines(b'a\n1\n"2\n' + b"3\n" * 200, 20)


def test_a_field_beyond_the_limit_of_the_csv_module_is_one_sentence():
    with pytest.raises(DataError, match=r"t.csv, after line 1: field larger than field limit"):
        fields_and_lines(b'a,x"y"\n' + b"z" * 200_000 + b"\n", 1 << 20)


def test_one_block_of_plain_lines_is_not_copied():
    content = b"1,2\n" * 1000
    found = find_records(Block(content, 1), "t.csv", ",")
    assert found.content is content
    assert np.array_equal(found.lines, np.arange(1, 1001))
