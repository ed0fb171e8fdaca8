"""Where series come from: measurements at one time after the other. Tagged by `kind`; every field here is structure."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dlx.config.lane import File
from dlx.config.source import DataCommon

CalendarPart = Literal["hour", "weekday", "month", "year-day"]


class Har(DataCommon):
    """Human activity recognition: 128 steps of 9 channels of a phone's motion, six activities. Anguita et al. 2013, UCI.

    The last training windows validate: they are of other people, as those of the test are. `seed` has no part in that.
    """

    kind: Literal["har"] = "har"
    path: File | None = None
    """The archive (tar or zip, as it is packed or not), or a folder with it or its files, in the layout that UCI publishes."""


class Series(DataCommon):
    """A CSV file with times: look at the last `window` rows, predict the `horizon` rows that follow.

    Rows are put in the order of their times. The training part comes first, then validation, then test: a row that is predicted
    belongs to one part, and what a window looks at is what was known then. `limit` keeps the latest training windows.
    """

    kind: Literal["series"] = "series"
    path: File
    """The file. CSV may be compressed (.gz, .bz2, .xz, .zip); the separator is found by itself."""
    time: str | tuple[str, ...]
    """The column of the times; or several that make them, called year, month, day, and perhaps hour, minute, second."""
    target: str
    """The column to predict. Its past is always looked at."""
    inputs: tuple[str, ...] = ()
    """Other columns of numbers to look at."""
    calendar: tuple[CalendarPart, ...] = ()
    """Parts of each row's time to look at, as points on a circle (sine and cosine)."""
    window: Annotated[int, Field(ge=1)] = 24
    """Rows that a forecast looks at."""
    horizon: Annotated[int, Field(ge=1)] = 1
    """Rows that it predicts, all at once."""
    stride: Annotated[int, Field(ge=1)] = 1
    """Rows from one window to the next."""
    season: Annotated[int, Field(ge=1)] | None = None
    """Rows of a season, for the forecast "as a season ago" that `dlx evaluate` shows. Without it a day; of rows a day or more apart a
    week; of rows a week or more apart a year."""
    missing: tuple[str, ...] = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")
    """The words that stand for a missing value, which becomes the last one before it."""

    @field_validator("time")
    @classmethod
    def _some_time(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("name the column of the times")
        return value

    @model_validator(mode="after")
    def _columns_differ(self) -> "Series":
        named = [self.target, *self.inputs, *((self.time,) if isinstance(self.time, str) else self.time)]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is named twice: the target's own past is looked at anyway; leave one out")
        if len(set(self.calendar)) < len(self.calendar):
            raise ValueError("calendar names a part twice: leave one out")
        return self
