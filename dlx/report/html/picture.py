"""Matplotlib figures as inline SVG that follows the page's theme, and arrays as PNG inside the page."""

import base64
import functools
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from dlx.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, style
from dlx.report.html.markup import Html, plain, tag

SHADES: Final = 12
"""Steps of the colour scale in which lines are drawn from best to worst; style.css has one row of them for each theme."""
ON_COLOR: Final = "#FFFFFE"
"""The colour of text upon a strong colour: white by day, black by night."""
_ROLES: Final = MappingProxyType(
    {
        BLACK: "ink",
        "#FFFFFF": "paper",
        ON_COLOR: "on-color",
        "#444444": "soft",
        "#DDDDDD": "grid",
        BLUE: "blue",
        ORANGE: "orange",
        VERMILLION: "vermillion",
        GREEN: "green",
        GREY: "grey",
    }
)
_SVG: Final = "{http://www.w3.org/2000/svg}"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_LONG: Final = re.compile(r"-?\d+\.\d{3,}(?:e[-+]\d+)?")
_FAMILY: Final = re.compile(r"font-family:[^;]*;?\s*")
_FONT: Final = re.compile(r"font:\s*(?:(\w+) )?([\d.]+)px [^;]+;?\s*")
_COORDINATES: Final = ("d", "x", "y", "width", "height", "transform", "points")
"""Attributes that hold numbers."""
_PIXELS_PER_POINT: Final = 96 / 72
SIDE: Final = 160
"""Pixels of the longer side of a picture, at most."""
BUDGET: Final = 250_000
"""Characters of all pictures of a page that are shown together, at most: they are made smaller until they fit."""


@dataclass(frozen=True)
class Drawing:
    """A figure with the words that go with it."""

    figure: Figure
    title: str
    seen: str
    """What it shows, in words and numbers, for who cannot see it."""
    hovers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """By the gid of an artist the words that appear over it, or over each of its marks."""

    def block(self, name: str) -> Html:
        """The figure as inline SVG below its title. `name` makes its ids its own on the page."""
        svg = inline_svg(self.figure, name, self.seen, self.hovers)
        box = tag("div", svg, attributes={"class": "plot-box"})
        return tag("figure", tag("figcaption", self.title), box, attributes={"id": name})


def inline_svg(figure: Figure, name: str, seen: str, hovers: Mapping[str, str | Sequence[str]]) -> Html:
    """The SVG element alone. Colours of dlx's figures become custom properties of the page, other colours stay."""
    root = ET.fromstring(_drawn(figure, name))
    width = float(root.attrib["width"].removesuffix("pt")) * _PIXELS_PER_POINT
    _prune(root)
    _own_ids(root, name)
    for element in root.iter():
        _lighten(element)
        _name_marks(element, hovers.get(element.attrib.pop("data-gid", ""), ()))
    for group in root.iter("g"):
        _share_style(group)
    root.attrib.clear()
    root.attrib.update({"viewBox": _view_box(figure), "class": "plot", "role": "img", "aria-label": plain(seen)})
    root.attrib["style"] = f"max-width:{width:.0f}px;--width:{width:.0f}px"
    return Html(ET.tostring(root, encoding="unicode"))


def png(pixels: np.ndarray, alt: str, side: int = SIDE) -> Html:
    """An image (height, width, 1 or 3) uint8 inside the page, made smaller if a side is longer than `side`.

    A small one is shown in whole pixels: `style.css` enlarges it without smoothing.
    """
    array = np.asarray(pixels, np.uint8)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else np.ascontiguousarray(array[..., :3]))
    return _img(_reduced(image, side), alt)


def heat(values: np.ndarray, alt: str, side: int = SIDE) -> Html:
    """A map (height, width) of 0..1 inside the page, from dark to bright, in 32 steps."""
    steps = np.nan_to_num(np.clip(np.asarray(values, float), 0, 1) * 31).astype(np.uint8)
    image = _reduced(Image.fromarray(steps), side)
    image.putpalette([int(part) for color in mpl.colormaps["inferno"](np.linspace(0, 1, 32)) for part in 255 * color[:3]])
    return _img(image, alt)


def fitting_side(sizes: Sequence[tuple[int, int]]) -> int:
    """The longest side at which pictures of these (height, width) fit into the budget, were they nothing but noise."""

    def characters(side: int) -> float:
        areas = (h * w * min(1.0, side / max(h, w, 1)) ** 2 for h, w in sizes)
        return sum(4 * area for area in areas)  # three bytes a pixel, four characters for three bytes

    return next((side for side in (SIDE, 128, 112, 96, 80, 64, 56, 48) if characters(side) <= BUDGET), 40)


# ------------------------------------------------------------------------------------------------------------------- an SVG


def _drawn(figure: Figure, name: str) -> str:
    """The SVG as Matplotlib writes it, but for characters that no XML may hold."""
    out = io.BytesIO()
    with style(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        for artist in figure.findobj(lambda each: bool(each.get_gid())):
            artist.set_gid(f"gid {artist.get_gid()}")  # told from the ids that Matplotlib makes up
        figure.savefig(out, format="svg", metadata={"Date": None})
    return plain(out.getvalue().decode())


def _view_box(figure: Figure) -> str:
    width, height = figure.get_size_inches() * 72
    return f"0 0 {width:g} {height:g}"


def _prune(root: ET.Element) -> None:
    """Without the namespaces, metadata, and the style sheet, which would hold for all of the page."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if _LINK in element.attrib:
            element.attrib["href"] = element.attrib.pop(_LINK)
    for parent in list(root.iter()):
        for child in list(parent):
            if (
                child.tag in ("metadata", "style")
                or child.tag.endswith("}metadata")
                or (child.tag == "defs" and not _filled(child))
            ):
                parent.remove(child)


def _filled(defs: ET.Element) -> bool:
    return any(child.tag != "style" for child in defs)


def _own_ids(root: ET.Element, name: str) -> None:
    """Ids that something refers to get the figure's name; others go, after an artist's gid has become `data-gid`."""
    text = " ".join(value for element in root.iter() for value in element.attrib.values() if "#" in value)
    referred = set(re.findall(r"#([\w-]+)", text))
    for element in root.iter():
        found = element.attrib.pop("id", None)
        if found is not None and found.startswith("gid "):
            element.attrib["data-gid"] = found.removeprefix("gid ")
        elif found in referred:
            element.attrib["id"] = f"{name}-{found}"
        for key in ("href", "clip-path", "style"):
            if "#" in element.attrib.get(key, ""):
                element.attrib[key] = re.sub(r"(?<=url\(#)([\w-]+)|(?<=^#)([\w-]+)$", rf"{name}-\g<0>", element.attrib[key])


def _lighten(element: ET.Element) -> None:
    """Two decimals are finer than a screen; fonts are the page's; colours are the theme's."""
    element.tail = None
    element.text = element.text if element.tag in ("text", "tspan", "title") else None
    for key in _COORDINATES:
        if key in element.attrib:
            element.attrib[key] = " ".join(_LONG.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[key]).split())
    words = element.attrib.get("style")
    if words is None:
        return
    words = _FONT.sub(lambda found: f"font-size:{found[2]}px;" + (f"font-weight:{found[1]};" if found[1] else ""), words)
    words = _FAMILY.sub("", words)
    words = re.sub(r"#[0-9a-f]{6}\b", lambda found: _themed(found[0]), words)
    element.attrib["style"] = re.sub(r"\s*([:;])\s*", r"\1", words).strip(";")


def _themed(color: str) -> str:
    role = _ROLES.get(color.upper())
    if role is None:
        shade = _shade_of().get(color)
        role = f"shade-{shade}" if shade is not None else None
    return f"var(--{role})" if role else color


@functools.cache
def _shade_of() -> Mapping[str, int]:
    """Steps of the scale by the colours of viridis: the nearer a trial comes to the best, the more it stands out."""
    colors = mpl.colormaps["viridis"].resampled(256)
    return {to_hex(colors(0.93 * at / 255)): at * SHADES // 256 for at in range(256)} | {
        to_hex(colors(at)): min(SHADES - 1, int(at / 256 / 0.93 * SHADES)) for at in range(256)
    }


def _name_marks(group: ET.Element, words: str | Sequence[str]) -> None:
    """Words that appear over an artist, or over each of its marks."""
    marks = [group] if isinstance(words, str) else list(group.iter("use"))
    for mark, said in zip(marks, [words] if isinstance(words, str) else words, strict=bool(words)):
        title = ET.Element("title")
        title.text = plain(said)
        mark.insert(0, title)


def _share_style(group: ET.Element) -> None:
    """Hundreds of equal marks: their style is said once."""
    marks = list(group)
    if len(marks) > 1 and len({mark.attrib.get("style", "") for mark in marks}) == 1 and all(m.tag == "use" for m in marks):
        shared = marks[0].attrib.get("style", "")
        for mark in marks:
            mark.attrib.pop("style", None)
        if shared:
            group.attrib["style"] = f"{group.attrib['style']};{shared}" if "style" in group.attrib else shared


# ------------------------------------------------------------------------------------------------------------------ pixels


def _reduced(image: Image.Image, side: int) -> Image.Image:
    longer = max(image.size)
    if longer <= side:
        return image
    size = (max(1, round(image.width * side / longer)), max(1, round(image.height * side / longer)))
    return image.resize(size, Image.Resampling.BOX)


def _img(image: Image.Image, alt: str) -> Html:
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    size = {"width": str(image.width), "height": str(image.height)}
    return tag("img", attributes={"src": source, "alt": alt, **size, "class": "small" if max(image.size) <= 64 else "photo"})
