"""Images of two kinds, without pairs."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import File
from dlx.config.source import DataCommon


class UnpairedImages(DataCommon):
    """Two folders of images, such as horses and zebras: `<path>/trainA/*`, `<path>/trainB/*`, as CycleGAN's data come.

    Two class folders serve as well: `names: [cats, dogs]`. An example is one image of each kind, put together at random.
    """

    kind: Literal["unpaired-images"] = "unpaired-images"
    path: File
    """The folder that holds both."""
    names: tuple[str, str] = ("trainA", "trainB")
    """The folders of the first and of the second kind."""
    test_names: tuple[str, str] | None = None
    """Two more folders, used as the test part; without them it is a share of the first two."""
    size: Annotated[int, Field(ge=4, le=1024)] | tuple[int, int] | None = None
    """Height and width to resize to (the short side is fitted, the middle is cut out). Without it all must be equal."""
    color: Literal["rgb", "grey"] = "rgb"
