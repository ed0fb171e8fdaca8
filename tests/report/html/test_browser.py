"""Pages in a real, headless Chromium: by day, by night, on a phone, in print."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.html.browsing import Browser
from tests.report.html.test_pages import KINDS, made

OVERFLOWING = """[...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.scroll, .plot-box svg, details:not([open])') || e.matches('.scroll'))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.tagName + '.' + e.className).slice(0, 5).join(' ')"""


def file_of(kind: str, folder: Path) -> Path:
    path = folder / "page.html"
    path.write_text(made(kind), encoding="utf8")
    return path


def brightness(path: Path) -> float:
    return float(np.asarray(Image.open(path).convert("L")).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_without_an_error_and_with_all_its_figures(browser: Browser, tmp_path: Path, kind: str) -> None:
    path = file_of(kind, tmp_path)
    browser.problems.clear()
    browser.open(path)
    assert browser.problems == []
    assert browser.run("document.querySelectorAll('script').length") == 0
    assert browser.run("document.querySelectorAll('figure svg').length") == made(kind).count("<svg ")
    sizes = browser.run(
        "[...document.querySelectorAll('svg, img')].map(e => e.getBoundingClientRect().width * e.getBoundingClientRect().height)"
    )
    assert all(area > 1000 for area in sizes)
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_scrolls_tables_in_their_own_box_and_never_the_page(browser: Browser, tmp_path: Path, kind: str) -> None:
    browser.open(file_of(kind, tmp_path), width=360)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run(OVERFLOWING) == ""
    letters = browser.run("parseFloat(getComputedStyle(document.querySelector('body')).fontSize)")
    assert letters >= 16


@pytest.mark.parametrize("kind", ["run", "sweep", "runs"])
def test_a_page_is_dark_at_night_and_light_in_print(browser: Browser, tmp_path: Path, kind: str) -> None:
    path = file_of(kind, tmp_path)
    shots = {}
    for name, dark, media in (("day", False, ""), ("night", True, ""), ("print", True, "print")):
        browser.open(path, dark=dark, media=media)
        shots[name] = brightness(browser.screenshot(tmp_path / f"{name}.png"))
    assert shots["day"] > 200
    assert shots["night"] < 90
    assert shots["print"] > 200


def test_letters_and_lines_of_figures_stand_out_by_day_and_by_night(browser: Browser, tmp_path: Path) -> None:
    path = file_of("run", tmp_path)
    for dark in (False, True):
        browser.open(path, dark=dark)
        colors = browser.run("""[document.documentElement, document.querySelector('svg.plot text')]
            .map((e, at) => getComputedStyle(e)[at ? 'fill' : 'backgroundColor'])""")
        ground, letters = (sum(map(int, re.findall(r"\d+", color)[:3])) / 3 for color in colors)
        assert abs(ground - letters) > 150


def test_a_page_prints_in_whole_figures(browser: Browser, tmp_path: Path) -> None:
    browser.open(file_of("run", tmp_path))
    printed = browser.pdf(tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    browser.open(file_of("run", tmp_path), media="print")
    assert browser.run("[...document.querySelectorAll('figure')].every(e => getComputedStyle(e).breakInside === 'avoid')")
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_the_policy_of_a_page_stops_what_would_be_loaded(browser: Browser, tmp_path: Path) -> None:
    """That the other tests hear nothing means something: a page with a script and a picture from elsewhere is heard."""
    path = tmp_path / "page.html"
    injected = "<script>document.title = 'taken'</script><img src='https://example.org/x.png'></body>"
    path.write_text(made("run").replace("</body>", injected), encoding="utf8")
    browser.problems.clear()
    browser.open(path)
    assert browser.run("document.title") != "taken"
    assert len(browser.problems) >= 2
    browser.problems.clear()
