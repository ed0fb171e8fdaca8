"""Text becomes markup in one place, where nothing can be left unescaped."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.report.html.markup import EMPTY, Html, escaped, joined, plain, shareable, tag
from tests.report.html.made_up import HOSTILE


class Heard(HTMLParser):
    """What a browser would make of a fragment."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", HOSTILE)
def test_text_stays_text_wherever_it_is_put(name: str) -> None:
    heard = Heard(tag("p", name, tag("b", name, attributes={"title": name}), attributes={"class": name}).text)
    assert heard.tags == [("p", {"class": plain(name)}), ("b", {"title": plain(name)})]
    assert heard.text == plain(name) * 2


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was_but_for_what_html_cannot_hold(words: str, value: str) -> None:
    heard = Heard(tag("i", words, attributes={"title": f"x{value}"}).text)
    assert heard.tags == [("i", {"title": f"x{plain(value)}"})]
    assert heard.text == plain(words)


def test_markup_is_not_escaped_again_and_text_beside_it_is() -> None:
    assert joined([tag("b", "a<b"), " & ", tag("br")], between="<").text == "<b>a&lt;b</b>&lt; &amp; &lt;<br>"
    assert not joined([])
    assert joined([]) == EMPTY


def test_markup_cannot_be_pasted_into_a_string() -> None:
    with pytest.raises(TypeError, match="tag"):
        f"{Html('<b>')}"


@pytest.mark.parametrize("name", ["a b", "a>", 'on"x', "", "1a", "a\n"])
def test_names_of_elements_and_attributes_are_no_place_for_text(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        tag(name)
    with pytest.raises(ValueError, match="no name"):
        tag("p", attributes={name: "x"})


def test_characters_that_no_page_may_hold_are_replaced() -> None:
    assert escaped("a\x00b\x1b[31m\udc80\ufffe") == "a\ufffdb\ufffd[31m\ufffd\ufffd"
    assert escaped("right\u202etfel") == "right\ufffdtfel"
    assert escaped("tab\t line\n 数 \U0001f600 é") == "tab\t line\n 数 \U0001f600 é"


@pytest.mark.parametrize(
    ("told", "shared"),
    [
        ("dlx train --data /home/ada/work/rows.csv", "dlx train --data rows.csv"),
        ("/home/ada/other/rows.csv is gone", "~/other/rows.csv is gone"),
        ("/home/ada/work", "."),
        ("path=/Users/Grace Hopper/x", "path=~ Hopper/x"),
        ("'/root/x' and /rooted and /srv/home/ada", "'~/x' and /rooted and /srv/home/ada"),
        ("/home/ada/workshop", "~/workshop"),
    ],
)
def test_a_page_does_not_tell_whose_machine_it_was(told: str, shared: str) -> None:
    assert shareable(told, "/home/ada/work") == shared


def test_ones_own_home_is_not_told_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/data/people/ada")
    assert shareable("/data/people/ada/rows.csv, /data/people/adams") == "~/rows.csv, /data/people/adams"
