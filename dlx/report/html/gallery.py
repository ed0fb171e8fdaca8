"""The section of a page that shows what a network makes and sees."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from dlx.evaluation.gallery.pictures import Images, Picture, Texts
from dlx.report.gallery import figure_of, row_pixels
from dlx.report.html.blocks import Column, table
from dlx.report.html.markup import EMPTY, Html, joined, tag
from dlx.report.html.picture import Drawing, png
from dlx.report.words import plural

ROW: Final = 640
"""Pixels of the longer side of a row of pictures, at most."""


def gallery(pictures: Sequence[Picture]) -> Html:
    """All pictures, one below the other; in place of one that cannot be drawn a sentence, as the page is about more than that."""
    return joined(_drawn(picture, f"gallery-{number}") for number, picture in enumerate(pictures)) if pictures else EMPTY


def _drawn(picture: Picture, name: str) -> Html:
    try:
        return _block(picture, name)
    except Exception as error:  # names out of the data meet Matplotlib here
        return tag("p", f"{picture.title} could not be drawn: {type(error).__name__}: {error}")


def _block(picture: Picture, name: str) -> Html:
    match picture:
        case Images():
            return tag(
                "figure", tag("figcaption", picture.title), tag("p", picture.caption), *_rows(picture), attributes={"id": name}
            )
        case Texts():
            said = tag("p", picture.caption)
            return joined([said, table(picture.title, [Column(each, numbers=False) for each in picture.columns], picture.rows)])
        case _:
            return Drawing(figure_of(picture), picture.title, picture.caption).block(name)


def _rows(images: Images) -> list[Html]:
    """A picture for each row, so that the words beside it are the page's."""
    found = []
    for at, row in enumerate(images.grid):
        name = images.row_names[at] if at < len(images.row_names) else ""
        words = name or f"row {at + 1} of {plural(len(images.grid), 'row')}"
        alt = f"{images.title}, {words}" + (f": {', '.join(images.column_names)}" if images.column_names else "")
        strip = png(row_pixels(np.asarray(row)), alt, ROW)
        found.append(tag("div", tag("span", name) if name else EMPTY, strip, attributes={"class": "strip"}))
    return found
