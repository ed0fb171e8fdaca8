"""CSV and Parquet files: separators, decimals, missing words, and one sentence for each broken file."""

import bz2
import gzip
import lzma
import zipfile

import pandas as pd
import pytest

from dlx.data.read_table import find_separator, read_csv, read_parquet
from dlx.errors import DataError, MissingInputError

MISSING = ("", "?", "NA")
TEXT = "a,b,c\n1,x,2.5\n2,?,3.5\n3,z,\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path, separator):
    (tmp_path / "t.csv").write_text(TEXT.replace(",", separator))
    frame = read_csv(tmp_path / "t.csv", MISSING)
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame["a"].tolist() == [1, 2, 3]
    assert frame["b"].isna().tolist() == [False, True, False]
    assert frame["c"].tolist()[:2] == [2.5, 3.5]


def test_text_with_other_separators_in_it():
    assert find_separator('name;size\n"a, b";1\n"c, d, e";2\n') == ";"
    assert find_separator("a;b\n1,5;2,5\n") == ";"
    assert find_separator('name,"x;y;z"\nq,1\n') == ","
    assert find_separator("only\n1\n2\n") == ","


def test_decimal_commas(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n7,4;1\n-0,25;2\n")
    assert read_csv(tmp_path / "t.csv", MISSING)["a"].tolist() == [7.4, -0.25]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compression_is_found_by_content(tmp_path, pack):
    (tmp_path / "t.csv").write_bytes(pack(TEXT.encode()))
    assert len(read_csv(tmp_path / "t.csv", MISSING)) == 3


def test_zip_with_one_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", TEXT)
    assert len(read_csv(tmp_path / "t.zip", MISSING)) == 3
    with zipfile.ZipFile(tmp_path / "t.zip", "a") as archive:
        archive.writestr("u.csv", TEXT)
    with pytest.raises(DataError, match="holds 2 files"):
        read_csv(tmp_path / "t.zip", MISSING)


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert list(read_csv(tmp_path / "t.csv", MISSING).columns) == ["a", "b", "c"]


def test_without_a_header_columns_are_numbered_or_named(tmp_path):
    (tmp_path / "t.csv").write_text("1,x\n2,y\n")
    assert list(read_csv(tmp_path / "t.csv", MISSING, names=()).columns) == ["0", "1"]
    assert list(read_csv(tmp_path / "t.csv", MISSING, names=("p", "q")).columns) == ["p", "q"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: Expected 2 fields in line 3, saw 3"),
        (b"a,b\n1,2,3\n1,2,3\n", "the rows have 1 more fields"),
        (b"a,b\n1,2\nx,caf\xe9\n", "line 3 is not UTF-8 text"),
        (b'a,b\n1,"2\n3,4\n', "EOF inside string"),
        (b"a,b\0\n1,2\n", "not a text file"),
        (gzip.compress(TEXT.encode() * 50, mtime=0)[:-10], "truncated or damaged"),
        (gzip.compress(TEXT.encode(), mtime=0)[:12], "truncated or damaged"),
    ],
)
def test_a_broken_csv_is_one_sentence_with_the_file(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path, MISSING)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "gone.csv"):
        with pytest.raises(MissingInputError):
            read_csv(path, MISSING)


def test_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": [1, None], "b": pd.Categorical(["x", "y"])}).to_parquet(path)
    assert list(read_parquet(path).columns) == ["a", "b"]
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_parquet(path)
    with pytest.raises(MissingInputError):
        read_parquet(tmp_path / "gone.parquet")
