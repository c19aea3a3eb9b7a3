"""Tables on the terminal: no name and no figure is cut short."""

import io
import random
from pathlib import Path

import pytest
from rich.console import Console

from hw.cli.tables import figures, print_table
from synth.report import show
from synth.table import CostTable

TABLES = Path(__file__).parent.parent / "synth" / "tables"


def printed(width: int, columns: tuple[str, ...], *rows: tuple[str, ...]) -> list[str]:
    table = figures("energies", *columns)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    print_table(table, Console(file=text, width=width))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_headers_stay_in_one_line_where_there_is_room() -> None:
    lines = printed(40, ("layer", "min period ns", "pJ"), ("conv", "1.55", "12,345.6"))
    assert lines == [
        "energies",
        "layer  min period ns        pJ",
        "───────────────────────────────",
        "conv            1.55  12,345.6",
        "",
    ]


def test_headers_break_at_spaces_where_it_is_narrow() -> None:
    lines = printed(22, ("layer", "min period ns", "pJ"), ("conv", "1.55", "12,345.6"))
    assert lines == [
        "energies",
        "         min",
        "      period",
        "layer     ns       pJ",
        "─────────────────────",
        "conv    1.55 12,345.6",
        "",
    ]


@pytest.mark.parametrize("width", [1, 20, 60, 80, 200])
def test_every_cell_is_whole_at_any_width(width: int) -> None:
    rng = random.Random(width)
    names = tuple(" ".join(["ab" * rng.randint(1, 9)] * rng.randint(1, 4)) for _ in range(9))
    rows = [tuple(str(rng.randint(0, 10 ** rng.randint(1, 15))) for _ in names) for _ in range(5)]
    lines = printed(width, names, *rows)
    assert [tuple(line.split()) for line in lines[-6:-1]] == rows
    for name in names:
        for word in name.split():
            assert any(word in line for line in lines)


def test_names_are_printed_as_they_are() -> None:
    table = figures("nets[v2]/net.onnx: layers", "layer", "bits")
    table.add_row("a[0]:smile:[/b]", "2")
    text = io.StringIO()
    print_table(table, Console(file=text, width=80))
    assert text.getvalue().splitlines()[-2].split() == ["a[0]:smile:[/b]", "2"]
    assert "nets[v2]/net.onnx:" in text.getvalue()


def test_a_cost_table_fits_80_columns() -> None:
    text = io.StringIO()
    show(CostTable.load(TABLES / "nangate45-default.json"), Console(file=text, width=80))
    assert max(len(line) for line in text.getvalue().splitlines()) <= 80
    areas = next(line for line in text.getvalue().splitlines() if line.startswith("area um2"))
    assert len(areas.split()[2:]) == 3  # of the array, the MACs and the dot product
