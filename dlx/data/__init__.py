"""From a data config to arrays: `load` reads any source, divides it and prepares it. No JAX here but in `augment`."""

from typing import assert_never

from dlx.config.data import (
    Adult,
    Cifar10,
    Csv,
    DataConfig,
    Digits,
    FashionMnist,
    ImageFolder,
    Mnist,
    Npz,
    Parquet,
    PythonData,
    UnpairedImages,
)
from dlx.config.series_data import Har, Series
from dlx.config.text_data import LabelledText, Text, TextPairs
from dlx.data.chunks import BadRow as BadRow
from dlx.data.chunks import Chunk as Chunk
from dlx.data.chunks import OnBad as OnBad
from dlx.data.dataset import Dataset as Dataset
from dlx.data.dataset import Part as Part
from dlx.data.dataset import Scaling as Scaling
from dlx.data.dataset import Spec as Spec
from dlx.data.dataset import Supervision as Supervision
from dlx.data.dataset import TargetKind as TargetKind
from dlx.data.incoming import stream as stream
from dlx.data.labelled import read_labelled as read_labelled
from dlx.data.order import SHUFFLED as SHUFFLED
from dlx.data.order import Order as Order
from dlx.data.order import batch_rows as batch_rows
from dlx.data.order import evaluation_rows as evaluation_rows
from dlx.data.order import some_rows as some_rows
from dlx.data.preparation import Preparation as Preparation


def load(config: DataConfig, target: TargetKind | None = None, *, keep_rows: bool = False) -> Dataset:
    """Read the source that `config` names. `target` is what the task predicts; None infers it from the data.

    `keep_rows` keeps the rows of a table as they were read (`Part.rows`); arrays and images have none.

    Raises `MissingInputError` for what is not there, `DataError` for what cannot be used, `ConfigError` for a task
    that does not suit the source, `RunFailedError` when the user's own loader raises.
    """
    # Each source is imported when it is used: pandas alone takes as long as a digits run.
    match config:
        case Digits():
            from dlx.data.digits import load_digits

            return load_digits(config, target)
        case Mnist() | FashionMnist():
            from dlx.data.idx import load_idx

            return load_idx(config, target)
        case Cifar10():
            from dlx.data.cifar10 import load_cifar10

            return load_cifar10(config, target)
        case Adult():
            from dlx.data.adult import load_adult

            return load_adult(config, target, keep_rows=keep_rows)
        case Csv() | Parquet():
            from dlx.data.table import load_table

            return load_table(config, target, keep_rows=keep_rows)
        case Npz():
            from dlx.data.npz import load_npz

            return load_npz(config, target)
        case ImageFolder():
            from dlx.data.image_folder import load_image_folder

            return load_image_folder(config, target)
        case Text():
            from dlx.data.text import load_text

            return load_text(config, target)
        case LabelledText():
            from dlx.data.text_labelled import load_labelled_text

            return load_labelled_text(config, target)
        case TextPairs():
            from dlx.data.text_pairs import load_text_pairs

            return load_text_pairs(config, target)
        case Har():
            from dlx.data.har import load_har

            return load_har(config, target)
        case Series():
            from dlx.data.series import load_series

            return load_series(config, target, keep_rows=keep_rows)
        case UnpairedImages():
            from dlx.data.unpaired import load_unpaired

            return load_unpaired(config, target)
        case PythonData():
            from dlx.data.python import load_python

            return load_python(config, target)
        case _:
            assert_never(config)
