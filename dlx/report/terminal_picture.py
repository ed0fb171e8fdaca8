"""Images in a terminal: two pixels to a character, the upper one in its foreground, the lower one in its background."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.color import Color
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

WIDEST = 32
"""Characters that an image takes; larger ones are shrunk."""
NARROWEST, GAP = 12, 2


def can_show(console: Console) -> bool:
    """Whether the terminal has colours and block characters."""
    return console.is_terminal and console.color_system is not None and not console.options.ascii_only


@dataclass(frozen=True)
class Pictures:
    """Images (height, width, channels) uint8 beside each other, a caption below each, in as many rows as it takes."""

    pictures: Sequence[np.ndarray]
    captions: Sequence[Sequence[str]]
    """Lines of text for each picture, cut to its width."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Rich's hook."""
        small = [_even(_shrunk(picture)) for picture in self.pictures]
        first = 0
        while first < len(small):
            last, room = first + 1, options.max_width - _width(small[first])
            while last < len(small) and room >= GAP + _width(small[last]):
                room -= GAP + _width(small[last])
                last += 1
            yield from _row(small[first:last], self.captions[first:last])
            first = last


def _row(pictures: Sequence[np.ndarray], captions: Sequence[Sequence[str]]) -> Iterator[Segment]:
    """Pictures (height, width, 3) beside each other, and their captions."""
    widths = [_width(picture) + GAP for picture in pictures]
    for top in range(0, max(picture.shape[0] for picture in pictures), 2):
        for picture, width in zip(pictures, widths, strict=True):
            yield from _line(picture[top : top + 2], width)
        yield Segment.line()
    for texts in itertools.zip_longest(*captions, fillvalue=""):
        yield Segment("".join(f"{text[: width - GAP]:<{width}}" for text, width in zip(texts, widths, strict=True)).rstrip())
        yield Segment.line()


def _width(picture: np.ndarray) -> int:
    """Characters across, its caption's included."""
    return max(picture.shape[1], NARROWEST)


def heat(values: np.ndarray) -> np.ndarray:
    """A map (height, width) of 0..1 as an image (height, width, 3) uint8: black, red, yellow, white."""
    ramp = np.clip(np.asarray(values)[..., None] * 3 - np.arange(3), 0, 1)
    return np.round(ramp * 255).astype(np.uint8)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8, no wider than `WIDEST`: means over square blocks."""
    colored = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]
    block = -(-colored.shape[1] // WIDEST)
    if block == 1:
        return colored
    height, width = (length // block * block for length in colored.shape[:2])
    blocks = colored[:height, :width].reshape(height // block, block, width // block, block, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def _even(picture: np.ndarray) -> np.ndarray:
    """With a black row more where the height is odd."""
    return np.pad(picture, ((0, picture.shape[0] % 2), (0, 0), (0, 0)))


def _line(rows: np.ndarray, width: int) -> Iterator[Segment]:
    """Two rows of pixels (2, w, 3), or none, as a line of `width` characters."""
    drawn = 0
    if len(rows) == 2:
        for upper, lower in zip(*rows.tolist(), strict=True):
            yield Segment("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
        drawn = rows.shape[1]
    yield Segment(" " * (width - drawn))
