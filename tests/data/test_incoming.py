"""New data as a stream: exactly what training would make of each row, in order, whatever the format and the block size."""

import bz2
import csv
import gzip
import io
import lzma
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from dlx.config.data import Adult, Csv, Digits, ImageFolder, Npz
from dlx.data import Chunk, Dataset, Preparation, load, read_labelled, stream
from dlx.data.columns import Number
from dlx.data.csv_stream import Layout, stream_csv
from dlx.data.encoder import TableEncoder
from dlx.data.parquet_stream import stream_parquet
from dlx.data.read_table import read_csv
from dlx.errors import DataError, MissingInputError

N = 120
CYCLE = np.arange(N)
MISSING = ("", "?", "NA", "-999")
ENCODER = TableEncoder.fit(
    pd.DataFrame(
        {
            "number": np.where(CYCLE % 9 == 0, np.nan, np.cos(CYCLE)),
            "tail": np.exp(CYCLE / 12.0),
            "large": 1_600_000_000 + np.random.default_rng(0).permutation(N),
            "flag": [True, False, None] * (N // 3),
            "word": ["red", "blue", None, "two words"] * (N // 4),
            "code": ["1", "2", "K"] * (N // 3),
            "day": pd.date_range("2019-01-05", periods=N, freq="11D").strftime("%d.%m.%Y"),
            "time": pd.date_range("2019-01-05", periods=N, freq="11D5h").strftime("%Y-%m-%dT%H:%M:%S"),
        }
    ),
    max_categories=20,
)
TEXT = tuple(column.name for column in ENCODER.columns if not isinstance(column, Number))

numbers = st.one_of(
    st.floats(allow_nan=False, width=64).map(repr),
    st.floats(-1e6, 1e6).map("{:.4f}".format),
    st.integers(-(10**17), 10**17).map(str),
    st.sampled_from(
        ["", "NA", "?", " NA", "NA ", "nan", "inf", "-Infinity", "1e400", "1e-400", ".5", "5.", "+1", " 7 ", "-999"]
    ),
)
words = st.one_of(
    st.sampled_from(
        ["red", "blue", " red", "red ", "two words", "1", "2", "01", "1.0", "K", "NA", " NA", "NA ", "", "?", "-999.0"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    st.sampled_from(["two\nlines", "a,b", 'a "quoted" word', "a;b"]),
)
rows = st.fixed_dictionaries(
    {
        "number": numbers,
        "tail": numbers,
        "large": numbers,
        "flag": st.sampled_from(["True", "False", "true", "FALSE", "1", "0", "", "NA", "maybe"]),
        "word": words,
        "code": words,
        "day": st.sampled_from(["01.02.2020", "31.12.1999", "", "NA", " 05.06.2021"]),
        "time": st.sampled_from(["2020-01-02T03:04:05", "1999-12-31T23:59:59", "?"]),
        "ignored": words,
    }
)


def as_csv(table: list[dict[str, str]], separator: str) -> bytes:
    return pd.DataFrame(table).to_csv(index=False, sep=separator).encode()


def encoded(content: bytes, **options: object) -> np.ndarray:
    chunks = list(stream_csv(ENCODER, io.BytesIO(content), "t.csv", Layout(MISSING), **options))
    assert not [row for chunk in chunks for row in chunk.bad]
    return np.concatenate([chunk.inputs for chunk in chunks])


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    table=st.lists(rows, min_size=1, max_size=30), separator=st.sampled_from(",;\t|"), block=st.sampled_from([50, 700, 1 << 20])
)
def test_a_csv_stream_is_bit_for_bit_what_training_makes_of_the_file(tmp_path_factory, table, separator, block):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(as_csv(table, separator))
    expected = ENCODER.transform(read_csv(path, MISSING, text=TEXT, separator=separator))
    with path.open("rb") as file:
        chunks = list(stream_csv(ENCODER, file, "t.csv", Layout(MISSING, separator=separator), block))
    assert not [row for chunk in chunks for row in chunk.bad]
    assert np.concatenate([chunk.inputs for chunk in chunks]).tobytes() == expected.tobytes()


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(table=st.lists(rows, min_size=1, max_size=10))
def test_parquet_of_words_gives_what_csv_gives(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    frame = pd.DataFrame(table)
    frame.replace(dict.fromkeys(("", "NA", "?", " NA", "NA ", "-999", "-999.0"))).to_parquet(path, row_group_size=3)
    content = frame.replace(dict.fromkeys(("NA", "?", " NA", "NA ", "-999", "-999.0"), "")).to_csv(index=False).encode()
    chunks = list(stream_parquet(ENCODER, path, 4))
    assert np.concatenate([chunk.inputs for chunk in chunks]).tobytes() == encoded(content).tobytes()


def test_numbers_that_are_missing_words_are_so_by_value():
    table = "number,tail,large,flag,word,code,day,time\n{},1,1,1,red,1,01.02.2020,2020-01-02T03:04:05\n"
    missing = encoded(table.format("").encode())
    for word in ("-999", "-999.00", "-9.99e2", " NA", "nan", "inf"):
        assert encoded(table.format(word).encode()).tobytes() == missing.tobytes()
    assert encoded(table.format("-998").encode()).tobytes() != missing.tobytes()


# ------------------------------------------------------------------------------------------------- through `stream`, by files


def shop(n: int = N) -> pd.DataFrame:
    row = np.arange(n)
    return pd.DataFrame(
        {
            "size": np.round(np.cos(row) * 10 + 50, 3),
            "colour": np.where(row % 3 == 0, "red", "blue"),
            "age": np.where(row % 5 == 0, np.nan, row % 7),
            "price": np.sin(row) * 1000 + 0.5,
        }
    )


@pytest.fixture
def learned(tmp_path: Path) -> tuple[Dataset, Preparation, Csv]:
    shop().to_csv(tmp_path / "shop.csv", index=False)
    config = Csv(path=str(tmp_path / "shop.csv"), target="price", validation=0, test=0)
    dataset = load(config)
    return dataset, Preparation.from_json(dataset.preprocessing), config


def all_of(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.inputs for chunk in chunks])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_files_compressed_or_not_with_or_without_target(tmp_path, learned, pack, separator):
    dataset, preparation, config = learned
    for table in (shop(), shop().drop(columns="price"), shop().assign(more="x")[["more", "age", "colour", "size"]]):
        (tmp_path / "new.csv").write_bytes(pack(table.to_csv(index=False, sep=separator).encode()))
        chunks = list(stream(preparation, str(tmp_path / "new.csv"), config, rows_per_chunk=50))
        assert [len(chunk) for chunk in chunks] == [50, 50, 20]
        assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
        assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == list(range(2, N + 2))


def test_a_zip_of_one_csv_is_read_as_it_is_unpacked(tmp_path, learned):
    dataset, preparation, config = learned
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr("new.csv", shop().to_csv(index=False))
    assert all_of(list(stream(preparation, str(tmp_path / "new.zip"), config))).tobytes() == dataset.train.inputs.tobytes()


def test_a_byte_order_mark_quotes_and_lines_longer_than_a_block(learned):
    dataset, preparation, _ = learned
    table = shop().assign(note=["long " * 1000 + 'and "quoted"\n' if row % 7 == 0 else "x" for row in range(N)])
    content = b"\xef\xbb\xbf" + table.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()
    assert preparation.encoder is not None
    chunks = list(stream_csv(preparation.encoder, io.BytesIO(content), "t.csv", Layout(MISSING), 500))
    assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
    starts = [2 + row + (row + 6) // 7 for row in range(N)]
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == starts


def test_a_truncated_archive_is_one_sentence_after_what_could_be_read(tmp_path, learned):
    _, preparation, config = learned
    packed = gzip.compress(pd.concat([shop()] * 20).to_csv(index=False).encode())
    (tmp_path / "new.csv.gz").write_bytes(packed[:-200])
    with pytest.raises(DataError, match=r"new.csv.gz: the compressed file is truncated or damaged"):
        list(stream(preparation, str(tmp_path / "new.csv.gz"), config))


def test_stdin(monkeypatch, learned):
    dataset, preparation, config = learned
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(shop().to_csv(index=False).encode())))
    assert all_of(list(stream(preparation, "-", config))).tobytes() == dataset.train.inputs.tobytes()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes")
def test_a_pipe_by_its_name_loses_nothing(tmp_path, learned):
    dataset, preparation, config = learned
    os.mkfifo(pipe := tmp_path / "pipe")
    with ThreadPoolExecutor(1) as writer:
        writer.submit(pipe.write_bytes, shop().to_csv(index=False).encode())
        chunks = list(stream(preparation, str(pipe), config))
    assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
    assert chunks[0].rows[0] == 2


def test_what_is_read_more_than_once_is_no_pipe(learned):
    _, preparation, config = learned
    with pytest.raises(DataError, match=r"--data: .*null is a pipe or a device, which can be read only once"):
        read_labelled(preparation, os.devnull, config)
    with pytest.raises(DataError, match=r"data.path: .*null is a pipe or a device"):
        load(config.model_copy(update={"path": os.devnull}))


def test_decimal_commas(tmp_path, learned):
    dataset, preparation, config = learned
    shop().to_csv(tmp_path / "new.csv", index=False, sep=";", decimal=",")
    assert all_of(list(stream(preparation, str(tmp_path / "new.csv"), config))).tobytes() == dataset.train.inputs.tobytes()


def test_files_without_a_header_may_lack_the_target(tmp_path):
    table = shop()[["size", "price", "colour", "age"]]  # the target in the middle: what comes after it moves
    table.to_csv(tmp_path / "shop.csv", index=False, header=False)
    config = Csv(path=str(tmp_path / "shop.csv"), header=False, target="1", validation=0, test=0)
    dataset = load(config)
    preparation = Preparation.from_json(dataset.preprocessing)
    for new in (table, table.drop(columns="price")):
        new.to_csv(tmp_path / "new.csv", index=False, header=False)
        chunks = list(stream(preparation, str(tmp_path / "new.csv"), config))
        assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
        assert chunks[0].rows[0] == 1
    table.assign(a=1, b=2).to_csv(tmp_path / "new.csv", index=False, header=False)
    with pytest.raises(
        DataError, match=r"rows of 6 fields and no header, the training data had 4 columns \(3 without the target"
    ):
        list(stream(preparation, str(tmp_path / "new.csv"), config))


def test_parquet_in_chunks(tmp_path, learned):
    dataset, preparation, config = learned
    shop().astype({"age": "Int64", "colour": "category"}).to_parquet(tmp_path / "new.parquet", row_group_size=17)
    chunks = list(stream(preparation, str(tmp_path / "new.parquet"), config, rows_per_chunk=50))
    assert [len(chunk) for chunk in chunks] == [50, 50, 20]
    assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
    assert chunks[0].rows[0] == 1
    shop().assign(age=pd.Timestamp("2020-01-01")).drop(columns="size").to_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"it has no column 'size'.*; the column 'age' is of type timestamp.* and was a number"):
        list(stream(preparation, str(tmp_path / "new.parquet"), config))


@pytest.mark.parametrize("format", ["%Y-%m-%d", "%d.%m.%Y"])
@pytest.mark.parametrize("as_dates", [False, True])
def test_dates_that_training_had_as_text_may_come_as_dates(tmp_path, format, as_dates):
    days = pd.date_range("2020-01-05", periods=N, freq="11D")
    shop().assign(day=days.strftime(format)).to_csv(tmp_path / "shop.csv", index=False)
    config = Csv(path=str(tmp_path / "shop.csv"), target="price", validation=0, test=0)
    dataset = load(config)
    preparation = Preparation.from_json(dataset.preprocessing)
    shop().assign(day=days.date if as_dates else days).to_parquet(tmp_path / "new.parquet")
    chunks = list(stream(preparation, str(tmp_path / "new.parquet"), config))
    part, _ = read_labelled(preparation, str(tmp_path / "new.parquet"), config)
    assert all_of(chunks).tobytes() == part.inputs.tobytes() == dataset.train.inputs.tobytes()


BAD = b"size,colour,age\n50,red,1\n51,blue\nabout 60,blue,2\n\n52,caf\xe9,3\n53,green,?\n54,red,3,4\n"


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 100])
def test_bad_rows_are_left_out_and_told_with_their_line(tmp_path, learned, rows_per_chunk):
    _, preparation, config = learned
    (tmp_path / "new.csv").write_bytes(BAD)
    chunks = list(stream(preparation, str(tmp_path / "new.csv"), config, on_bad="skip", rows_per_chunk=rows_per_chunk))
    assert [(row.line, row.why) for chunk in chunks for row in chunk.bad] == [
        (3, "it has 2 fields and not 3"),
        (4, "size is 'about 60', not a number"),
        (6, "it is not UTF-8 text (invalid continuation byte)"),
        (8, "it has 4 fields and not 3"),
    ]
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == [2, 7]
    assert sum(dict(chunk.unseen).get("colour", 0) for chunk in chunks) == 1
    assert all_of(chunks)[:, 0].tolist() == [50, 53]


def test_the_first_bad_row_stops_the_stream(tmp_path, learned):
    _, preparation, config = learned
    path = tmp_path / "new.csv"
    path.write_bytes(BAD)
    with pytest.raises(DataError, match=r"new.csv, line 3: it has 2 fields and not 3: correct"):
        list(stream(preparation, str(path), config))


def test_a_stream_of_bad_rows_alone_ends_in_a_chunk_without_rows(tmp_path, learned):
    _, preparation, config = learned
    (tmp_path / "new.csv").write_text("size,colour,age\n1\n2\n")
    [chunk] = stream(preparation, str(tmp_path / "new.csv"), config, on_bad="skip")
    assert (chunk.inputs.shape, len(chunk.bad)) == ((0, *preparation.spec.input_shape), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("size,colour,age\n", "has column names but no rows"),
        ("Size,colour,price\n1,2,3\n", "differs from the training data: it has no columns 'size' .*'Size'.*, 'age'"),
        ("size,colour,Age\n1,2,3\n", "it has no column 'age' .did you mean 'Age'"),
        ("a\0b\n", "zero bytes"),
    ],
)
def test_what_cannot_be_streamed_is_one_sentence(tmp_path, learned, content, message):
    _, preparation, config = learned
    (tmp_path / "new.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        list(stream(preparation, str(tmp_path / "new.csv"), config))
    with pytest.raises(MissingInputError, match="--data: there is no file"):
        list(stream(preparation, str(tmp_path / "gone.csv"), config))


def test_a_stream_that_is_not_read_to_its_end_closes_its_file(tmp_path, learned):
    _, preparation, config = learned
    pd.concat([shop()] * 50).to_csv(tmp_path / "new.csv", index=False)
    chunks = stream(preparation, str(tmp_path / "new.csv"), config, rows_per_chunk=10)
    assert len(next(chunks)) == 10
    chunks.close()
    assert list(chunks) == []


# ------------------------------------------------------------------------------------------------------------------- arrays


def test_npz_is_read_in_slices(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 6))
    np.savez(tmp_path / "old.npz", x=x, y=np.arange(100) % 2)
    config = Npz(path=str(tmp_path / "old.npz"), validation=0, test=0)
    dataset = load(config)
    preparation = Preparation.from_json(dataset.preprocessing)
    np.savez_compressed(tmp_path / "a.npz", x=x, other=1)
    np.savez(tmp_path / "b.npz", features=np.asfortranarray(x))
    np.save(tmp_path / "c.npy", x.astype(">f8"))
    for name in ("a.npz", "b.npz", "c.npy"):
        chunks = list(stream(preparation, str(tmp_path / name), config, rows_per_chunk=30))
        assert [len(chunk) for chunk in chunks] == [30, 30, 30, 10]
        assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
    x[3, 2] = np.nan
    np.savez(tmp_path / "a.npz", x=x)
    chunks = list(stream(preparation, str(tmp_path / "a.npz"), config, on_bad="skip"))
    assert [(row.line, row.why) for row in chunks[0].bad] == [(4, "it has values that are NaN or infinite")]
    with pytest.raises(DataError, match=r"a.npz, row 4: it has values that are NaN"):
        list(stream(preparation, str(tmp_path / "a.npz"), config))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 5))}, "x inputs have 5 features and the training data had 6"),
        ({"x": np.zeros((3, 2, 5))}, r"have shape \(2, 5\) and the training data had \(6,\)"),
        ({"x": np.array(["a", "b"])}, "must be"),
        ({"x": np.array([[None]])}, "pickled objects"),
        ({"a": np.zeros((3, 6)), "b": np.zeros(3)}, "holds a, b: inputs called x are needed"),
    ],
)
def test_arrays_of_another_kind_are_told(tmp_path, arrays, message):
    np.savez(tmp_path / "old.npz", x=np.random.default_rng(0).normal(size=(100, 6)), y=np.arange(100) % 2)
    config = Npz(path=str(tmp_path / "old.npz"))
    preparation = Preparation.from_json(load(config).preprocessing)
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(DataError, match=message):
        list(stream(preparation, str(tmp_path / "new.npz"), config))
    shop().to_csv(tmp_path / "shop.csv")
    with pytest.raises(DataError, match="is a table and the network learned from arrays of 6: bring an NPZ file"):
        list(stream(preparation, str(tmp_path / "shop.csv"), config))


# ------------------------------------------------------------------------------------------------------------------- images


def paint(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def test_images_of_any_folder_sorted_by_path_and_resized_as_in_training(tmp_path):
    for value in range(10):
        paint(tmp_path / "old" / "cat" / f"{value}.png", value)
        paint(tmp_path / "old" / "dog" / f"{value}.png", 200 + value)
    config = ImageFolder(path=str(tmp_path / "old"), size=8)
    preparation = Preparation.from_json(load(config).preprocessing)
    for name, value, size in (
        ("b/2.png", 2, (8, 8)),
        ("a.png", 1, (50, 20)),
        ("b/1.png", 3, (9, 30)),
        (".hidden/x.png", 9, (8, 8)),
    ):
        paint(tmp_path / "new" / name, value, size)
    chunks = list(stream(preparation, str(tmp_path / "new"), config, rows_per_chunk=2))
    assert [chunk.names for chunk in chunks] == [("a.png", "b/1.png"), ("b/2.png",)]
    assert all_of(chunks)[:, 4, 4, 0].tolist() == [1, 3, 2]
    assert all_of(chunks).dtype == np.uint8
    (tmp_path / "new" / "b" / "1.png").write_text("no image")
    chunks = list(stream(preparation, str(tmp_path / "new"), config, on_bad="skip"))
    assert chunks[0].names == ("a.png", "b/2.png")
    assert [(row.line, row.why) for row in chunks[0].bad] == [(2, "b/1.png does not decode as an image")]
    with pytest.raises(DataError, match=r"new, image 2: b/1.png does not decode"):
        list(stream(preparation, str(tmp_path / "new"), config))
    [single] = stream(preparation, str(tmp_path / "new" / "a.png"), config)
    assert single.names == ("a.png",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images"):
        list(stream(preparation, str(tmp_path / "empty"), config))


def test_pixels_are_brought_to_the_range_of_the_training_pixels(tmp_path):
    preparation = Preparation.from_json(load(Digits()).preprocessing)
    Image.new("L", (30, 30), 255).save(tmp_path / "white.png")
    [chunk] = stream(preparation, str(tmp_path / "white.png"), Digits())
    assert set(chunk.inputs.ravel().tolist()) == {16}


# ---------------------------------------------------------------------------------------------------------------- real data


def test_titanic_and_adult_stream_to_what_training_made_of_them(real_data):
    path = str(real_data("titanic/titanic.csv"))
    titanic = Csv(path=path, target="Survived", validation=0, test=0)
    adult = Adult(path=str(real_data("adult/adult.data.gz").parent), validation=0)
    for config, source in ((titanic, path), (adult, str(real_data("adult/adult.data.gz")))):
        dataset = load(config)
        chunks = list(stream(Preparation.from_json(dataset.preprocessing), source, config))
        assert all_of(chunks).tobytes() == dataset.train.inputs.tobytes()
        assert not [row for chunk in chunks for row in chunk.bad]


def test_columns_that_are_where_they_should_be_are_not_named_as_likely(tmp_path, learned):
    _, preparation, config = learned
    (tmp_path / "new.csv").write_text("size,sizes,Colour\n1,2,3\n")
    with pytest.raises(DataError) as caught:
        list(stream(preparation, str(tmp_path / "new.csv"), config))
    assert str(caught.value).endswith(
        "new.csv differs from the training data: it has no columns 'colour' (did you mean 'Colour'?), 'age'; "
        "its columns are size, sizes, Colour"
    )
