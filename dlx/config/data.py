"""Where the examples come from and how they are divided. Tagged by `kind`; every field here is structure."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from dlx.config.lane import Config, Lane


class Flip(Config):
    """Mirrors each image left to right with probability one half."""

    kind: Literal["flip"] = "flip"


class Shift(Config):
    """Moves each image by up to `pixels` in each direction; the border takes each channel's lowest value in the batch."""

    kind: Literal["shift"] = "shift"
    pixels: Annotated[int, Field(ge=1, le=32)] = 2


class Noise(Config):
    """Adds Gaussian noise of standard deviation `std`, in units of the standardized input."""

    kind: Literal["noise"] = "noise"
    std: Annotated[Lane, Field(ge=0)] = 0.1


Augment = Annotated[Flip | Shift | Noise, Field(discriminator="kind")]


class DataCommon(Config):
    """The fields of every data source."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training part that is held out to choose the best checkpoint."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of all examples that is held out as the test part. Ignored where the source has an official test part."""
    standardize: bool = True
    """Subtract the mean and divide by the standard deviation, both taken from the training part alone."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides the split and the order of the batches."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Use only so many training examples (a stratified draw), for quick looks."""
    augment: tuple[Augment, ...] = ()
    """Random changes to each training image or row, drawn anew each step."""


class Digits(DataCommon):
    """1,797 handwritten 8x8 digits, shipped with scikit-learn. No download."""

    kind: Literal["digits"] = "digits"


class Mnist(DataCommon):
    """70,000 handwritten digits, 28x28 grey, in IDX files. LeCun, Cortes, Burges."""

    kind: Literal["mnist"] = "mnist"
    path: str | None = None
    """Folder with the four IDX files (gzipped or not). Without it they are downloaded to the cache folder."""


class FashionMnist(DataCommon):
    """70,000 images of clothing, 28x28 grey, in IDX files. Xiao, Rasul, Vollgraf 2017."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    path: str | None = None
    """Folder with the four IDX files (gzipped or not). Without it they are downloaded to the cache folder."""


class Cifar10(DataCommon):
    """60,000 colour images, 32x32, ten classes. Krizhevsky 2009."""

    kind: Literal["cifar10"] = "cifar10"
    path: str | None = None
    """Folder or archive with the official binary batches, or a folder `train/<class>/`, `test/<class>/` of images."""


class Adult(DataCommon):
    """Census income 1994: 48,842 people, is the income above 50,000 dollars? Kohavi and Becker, UCI."""

    kind: Literal["adult"] = "adult"
    path: str | None = None
    """Folder with `adult.data` and `adult.test` (gzipped or not) as UCI publishes them."""


def _as_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TableCommon(DataCommon):
    """A table with one row per example."""

    path: str
    """The file. CSV may be compressed (.gz, .bz2, .xz, .zip); the separator is found by itself."""
    target: str | tuple[str, ...]
    """The column to predict, by name, or by number without a header; several make a multi-label or multi-output target."""
    test_path: str | None = None
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
    path: str


class ImageFolder(DataCommon):
    """Images in one folder per class: `<path>/<class>/*.png`, or `train/`, `val/`, `test/` with class folders inside."""

    kind: Literal["image-folder"] = "image-folder"
    path: str
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
    Digits | Mnist | FashionMnist | Cifar10 | Adult | Csv | Parquet | Npz | ImageFolder | PythonData,
    Field(discriminator="kind"),
]
