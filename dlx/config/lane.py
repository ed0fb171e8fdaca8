"""What every config class is: frozen, strict about unknown keys, and honest about what may differ between lanes.

A field annotated `Lane` (or `LaneInt`) may differ between the trials of one compiled program: it becomes a traced
number. Every other field is structure: it chooses the program. `engine.lanes` reads the mark and registers the
classes as JAX pytrees; this package itself never imports JAX.
"""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict


class LaneMark:
    """Marks a field whose value may differ between the lanes of one program."""


class FileMark:
    """Marks a field that names a file or folder: stored with a run as an absolute path, so that it resumes from any folder."""


Lane = Annotated[float, LaneMark()]
LaneInt = Annotated[int, LaneMark()]
File = Annotated[str, FileMark()]


class Config(BaseModel):
    """A frozen mapping with known keys. Unknown keys are errors; values are validated, also the defaults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def lane_fields(cls) -> tuple[str, ...]:
        """The names of the fields whose values may differ between lanes, in order of declaration."""
        return tuple(n for n, f in cls.model_fields.items() if _is_marked(LaneMark, f.annotation, f.metadata))

    @classmethod
    def file_fields(cls) -> tuple[str, ...]:
        """The names of the fields that name files or folders."""
        return tuple(n for n, f in cls.model_fields.items() if _is_marked(FileMark, f.annotation, f.metadata))

    @classmethod
    def nested_fields(cls) -> tuple[str, ...]:
        """The names of the fields that hold configs themselves, and so may hold lanes."""
        return tuple(n for n, f in cls.model_fields.items() if _holds_config(f.annotation))


def _is_marked(kind: type[Any], annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> bool:
    if any(isinstance(mark, kind) for mark in metadata):
        return True
    return any(_is_marked(kind, a, _marks(a)) for a in get_args(annotation))


def _marks(annotation: Any) -> tuple[Any, ...]:
    return annotation.__metadata__ if isinstance(annotation, type(Lane)) else ()


def _holds_config(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, BaseModel)
    return any(_holds_config(a) for a in get_args(annotation))
