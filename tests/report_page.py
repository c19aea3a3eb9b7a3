"""A page of `python -m quant.report`, read strictly, for the tests."""

from html.parser import HTMLParser
from pathlib import Path

from typer.testing import CliRunner, Result

from quant.report.__main__ import app

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    """A page, read tag by tag; whatever is not closed in order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.open = text, list[str]()
        self.ids, self.refs, self.links = list[str](), list[str](), list[str]()
        self.exact, self.words = list[str](), list[str]()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert len(values) == len(attrs), (tag, attrs)
        if "id" in values:
            self.ids.append(values["id"])
        self.refs += values.get("aria-labelledby", "").split()
        self.links += [values[name] for name in ("href", "src", "data", "action") if name in values]
        assert not [name for name in values if name.startswith("on") or name == "style"]
        if tag == "data":
            self.exact.append(values["value"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script") and data.strip():
            self.words.append(" ".join(data.split()))

    def check_links(self) -> None:
        """See that all that is referred to is on the page."""
        inside = [link.removeprefix("#") for link in self.links if link != "data:,"]
        assert inside
        assert {*self.refs, *inside} <= {*self.ids}

    @property
    def text(self) -> str:
        return " ".join(self.words)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def page_of(*arguments: object, out: Path) -> Page:
    done = invoke(*arguments, "-o", out)
    assert done.exit_code == 0, done.stderr
    return Page(out.read_text(encoding="utf-8"))
