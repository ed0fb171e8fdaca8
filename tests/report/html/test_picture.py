"""Figures become inline SVG that cannot collide with its neighbours, and arrays become PNG."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlx.report.figures import BLUE, new_axes, style
from dlx.report.html.picture import BUDGET, SHADES, SIDE, Drawing, fitting_side, heat, inline_svg, png
from dlx.report.sweep_plots import Point, parallel_coordinates


def drawn() -> Figure:
    with style():
        figure, axes = new_axes(4, 3)
        axes.plot([1, 2, 3], [1, 4, 9], "o", color=BLUE, gid="points", ls="")
        axes.fill_between([1, 3], [0, 0], [1, 1], color="#123456")
        axes.set_title("1 < 2 & 'x' $5")
    return figure


def ids(text: str) -> list[str]:
    return re.findall(r'\bid="([^"]*)"', text)


def test_the_same_figure_twice_on_a_page_shares_no_id() -> None:
    first, second = (inline_svg(drawn(), name, "seen", {}).text for name in ("a", "b"))
    assert ids(first)
    assert not set(ids(first)) & set(ids(second))
    assert all(found.startswith("a-") for found in ids(first))


def test_every_reference_of_a_figure_is_to_an_id_in_it() -> None:
    text = inline_svg(drawn(), "a", "seen", {}).text
    referred = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert referred
    assert set(referred) <= set(ids(text))


def test_colours_of_the_theme_are_its_custom_properties_and_others_stay() -> None:
    text = inline_svg(drawn(), "a", "seen", {}).text
    assert "var(--blue)" in text
    assert "var(--grid)" in text
    assert BLUE.lower() not in text
    assert "#123456" in text


def test_the_style_of_a_figure_does_not_leak_into_the_page() -> None:
    text = inline_svg(drawn(), "a", "seen", {}).text
    assert "<style" not in text
    assert "metadata" not in text
    assert "xmlns" not in text
    assert "font-family" not in text
    assert "http" not in text


def test_texts_stay_texts_and_the_figure_says_what_it_shows() -> None:
    text = inline_svg(drawn(), "a", 'rises from 1 to 9, "steeply" <b>', {}).text
    assert "1 &lt; 2 &amp; 'x' $5" in text
    assert 'role="img"' in text
    assert 'aria-label="rises from 1 to 9, &quot;steeply&quot; &lt;b&gt;"' in text


def test_words_appear_over_each_mark() -> None:
    text = inline_svg(drawn(), "a", "seen", {"points": ["one", "two", "<three>"]}).text
    assert re.findall(r"<use[^>]*><title>([^<]*)</title></use>", text) == ["one", "two", "&lt;three&gt;"]


def test_words_for_more_marks_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        inline_svg(drawn(), "a", "seen", {"points": ["one", "two"]})


def test_a_drawing_is_the_same_twice() -> None:
    assert Drawing(drawn(), "t", "s").block("a") == Drawing(drawn(), "t", "s").block("a")


def test_lines_from_best_to_worst_have_shades_of_the_theme() -> None:
    points = [Point(at, {"a": at}, float(at), "completed") for at in range(40)]
    text = inline_svg(parallel_coordinates(points, ["a"], (), "m", maximize=True), "p", "seen", {}).text
    shades = {int(found) for found in re.findall(r"var\(--shade-(\d+)\)", text)}
    assert shades == set(range(SHADES))
    assert not re.findall(r"(?:fill|stroke): ?#", text)


def image_of(text: str) -> Image.Image:
    found = re.search(r'src="data:image/png;base64,([^"]+)"', text)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_small_pictures_keep_every_pixel() -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        pixels = rng.integers(0, 256, (28, 20, channels)).astype(np.uint8)
        text = png(pixels, "a & b").text
        assert np.array_equal(np.asarray(image_of(text)).reshape(28, 20, channels), pixels)
        assert 'alt="a &amp; b"' in text
        assert 'class="small"' in text


def test_large_pictures_are_made_smaller_in_their_shape() -> None:
    assert image_of(png(np.zeros((400, 200, 3), np.uint8), "x").text).size == (SIDE // 2, SIDE)


def test_a_map_goes_from_dark_to_bright_and_takes_what_is_not_finite_for_dark() -> None:
    image = image_of(heat(np.array([[0.0, 0.5], [1.0, np.nan]]), "x").text).convert("L")
    dark, middle, bright, missing = np.asarray(image).ravel().tolist()
    assert dark < middle < bright
    assert missing == dark


@pytest.mark.parametrize("size", [(28, 28), (224, 224), (1000, 30), (2000, 2000)])
def test_pictures_that_are_shown_together_fit_into_the_budget(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    side = fitting_side([size] * 48)
    assert sum(len(png(rng.integers(0, 256, (*size, 3)).astype(np.uint8), "x", side).text) for _ in range(2)) * 24 < 2 * BUDGET
    assert side >= 40
