"""Where the examples come from and how they are divided. Tagged by `kind`; every field here is structure."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from dlx.config.lane import File
from dlx.config.series_data import Har as Har
from dlx.config.series_data import Series as Series
from dlx.config.source import Augment as Augment
from dlx.config.source import DataCommon as DataCommon
from dlx.config.source import Flip as Flip
from dlx.config.source import Noise as Noise
from dlx.config.source import Shift as Shift
from dlx.config.text_data import LabelledText as LabelledText
from dlx.config.text_data import Text as Text
from dlx.config.text_data import TextPairs as TextPairs
from dlx.config.unpaired_data import UnpairedImages as UnpairedImages


class Pictures(DataCommon):
    """Images, each of one class."""

    captions: tuple[str, ...] = ()
    """What the task seq2seq learns to write, letter by letter: a text for each class, in their order. Without them it is the names."""


class Digits(Pictures):
    """1,797 handwritten 8x8 digits, shipped with scikit-learn. No download."""

    kind: Literal["digits"] = "digits"


class Mnist(Pictures):
    """70,000 handwritten digits, 28x28 grey, in IDX files. LeCun, Cortes, Burges."""

    kind: Literal["mnist"] = "mnist"
    path: File | None = None
    """Folder with the four IDX files (gzipped or not). Without it they are downloaded to the cache folder."""


class FashionMnist(Pictures):
    """70,000 images of clothing, 28x28 grey, in IDX files. Xiao, Rasul, Vollgraf 2017."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    path: File | None = None
    """Folder with the four IDX files (gzipped or not). Without it they are downloaded to the cache folder."""


class Cifar10(Pictures):
    """60,000 colour images, 32x32, ten classes. Krizhevsky 2009."""

    kind: Literal["cifar10"] = "cifar10"
    path: File | None = None
    """Folder or archive with the official binary batches, or a folder `train/<class>/`, `test/<class>/` of images."""


class Adult(DataCommon):
    """Census income 1994: 48,842 people, is the income above 50,000 dollars? Kohavi and Becker, UCI."""

    kind: Literal["adult"] = "adult"
    path: File | None = None
    """Folder with `adult.data` and `adult.test` (gzipped or not) as UCI publishes them."""


def _as_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TableCommon(DataCommon):
    """A table with one row per example."""

    path: File
    """The file. CSV may be compressed (.gz, .bz2, .xz, .zip); the separator is found by itself."""
    target: str | tuple[str, ...]
    """The column to predict, by name, or by number without a header; several make a multi-label or multi-output target."""
    test_path: File | None = None
    """A second file of the same columns, used as the test part."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    max_categories: Annotated[int, Field(ge=2)] = 50
    """A text column with more distinct values than this is left out (and the report says so)."""

    @field_validator("target", "drop", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        """A column of a file without a header is called "4", which YAML reads as a number."""
        if isinstance(value, list | tuple):
            return tuple(_as_name(item) for item in value)
        return _as_name(value)

    @field_validator("target")
    @classmethod
    def _some_target(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("name at least one target column")
        if not isinstance(value, str) and (twice := [name for name in value if value.count(name) > 1]):
            raise ValueError(f"{twice[0]!r} is named twice: name each target column once")
        return value

    @model_validator(mode="after")
    def _target_is_kept(self) -> "TableCommon":
        targets = (self.target,) if isinstance(self.target, str) else self.target
        if both := sorted(set(targets) & set(self.drop)):
            raise ValueError(f"{both[0]!r} is the target and is also dropped: take it out of one of the two")
        return self


class Csv(TableCommon):
    """A CSV file, with or without a header row."""

    kind: Literal["csv"] = "csv"
    header: bool = True
    """Whether the first line names the columns. Without it they are called 0, 1, 2, ... from the left."""
    missing: tuple[str, ...] = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")
    """The words that stand for a missing value."""


class Parquet(TableCommon):
    """A Parquet file."""

    kind: Literal["parquet"] = "parquet"


class Npz(DataCommon):
    """A NumPy archive with `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` (the Keras layout)."""

    kind: Literal["npz"] = "npz"
    path: File


class ImageFolder(Pictures):
    """Images in one folder per class: `<path>/<class>/*.png`, or `train/`, `val/`, `test/` with class folders inside."""

    kind: Literal["image-folder"] = "image-folder"
    path: File
    size: Annotated[int, Field(ge=4, le=1024)] | tuple[int, int] | None = None
    """Height and width to resize to (the short side is fitted, the middle is cut out). Without it all must be equal."""
    color: Literal["rgb", "grey"] = "rgb"


class PythonData(DataCommon):
    """The user's own loader: `target: "data.py:load"` names a function that returns arrays.

    The function is called with `args` and returns `(x, y)`, or a mapping of `train`, `validation` (optional) and
    `test` (optional) to such pairs. `x` is (n, ...), `y` is (n,) or (n, outputs).
    """

    kind: Literal["python"] = "python"
    target: str
    args: dict[str, Any] = {}


DataConfig = Annotated[
    Digits
    | Mnist
    | FashionMnist
    | Cifar10
    | Adult
    | Csv
    | Parquet
    | Npz
    | ImageFolder
    | UnpairedImages
    | Har
    | Series
    | Text
    | LabelledText
    | TextPairs
    | PythonData,
    Field(discriminator="kind"),
]
