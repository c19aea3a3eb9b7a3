"""``python -m synth`` on a small array: from RTL to a table, and its bad input; shared options."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hw.precision import WeightMode
from synth import candidates, liberty, operands
from synth.__main__ import app
from synth.command import (
    OPERANDS,
    BenchOptions,
    document_header,
    listed,
    one_line,
    takes_bench_options,
)
from synth.table import CostTable, complete


def _synth(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _with_recipes(chosen: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try fewer recipes: what becomes of the netlists is the same for each of them."""
    all_of_them = candidates.recipes
    monkeypatch.setattr(candidates, "recipes", lambda *g, **more: all_of_them(*g, **more)[chosen])


def test_small_array_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_recipes(slice(1, 3), monkeypatch)  # of both kinds of adders
    small = (
        "--rows",
        "2",
        "--cols",
        "2",
        "--lanes",
        "2",
        "--clock-ns",
        "1.6",
        "--products",
        "1500",
        "--workers",
        "0",
    )
    cache = tmp_path / "cache"
    written = (*small, "--name", "small", "--out", str(tmp_path), "--cache", str(cache))
    done = _synth(*written)
    assert done.exit_code == 0, done.stderr
    table = CostTable.load(tmp_path / "small.json")
    array = complete(table.array)
    assert table.library.name == "NangateOpenCellLibrary"
    assert set(array.modules) == {"pe", "weight_edge", "act_edge", "control"}
    assert list(table.baselines) == ["int8_mac", "int8_dot"]
    arrays = (array, *map(complete, table.baselines.values()))
    for module in (module for cost in arrays for module in cost.modules.values()):
        assert 0 < module.sequential_area_um2 < module.area_um2
        assert 0 < module.idle_energy_pj <= min(module.energy_pj.values())
        assert module.min_period_ns <= 1.6
    # 2-bit weights take a quarter of the cycles, and hardly more energy a cycle
    two, eight = (array.energy_per_mac_pj(mode) for mode in (WeightMode.W2, WeightMode.W8))
    assert two < 0.35 * eight
    assert array.config.name in done.stdout
    # a second run takes all jobs from the store, and makes the same table
    text, made = (tmp_path / "small.json").read_text(), set(cache.iterdir())
    assert "━" not in _synth(*written).stderr, "nothing is made again"
    assert set(cache.iterdir()) == made
    assert (tmp_path / "small.json").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clock-ns", "inf"), "synth: clock_ns must be positive, not inf"),
        (("--config", "huge"), "synth: config must be one of tiny, edge, large, not 'huge'"),
        (("--pe", "abacus"), "synth: pe must be one of booth_digit, bit_plane, "),
        (
            ("--liberty", "no.lib", "--node-nm", "180"),
            "synth: no.lib: cannot read the Liberty file (No such file",
        ),
        (("--operands", "no.npz"), "synth: no.npz: must be an operand file (FileNotFoundError"),
        (("--clock-ns", "0"), "synth: clock_ns must be positive, not 0.0"),
        (("--rows", "0"), "synth: rows must be from 1 to 256, not 0"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: tuple[str, ...], message: str) -> None:
    done = _synth(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_process_ends_with_that_line_and_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "synth", "--rows", "0"], capture_output=True, text=True, check=False
    )
    line = "synth: rows must be from 1 to 256, not 0\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_truncated_operands_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes(Path("synth/operands/resnet8.npz").read_bytes()[:5000])
    done = _synth("--operands", str(path))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"synth: {path}: must be an operand file (BadZipFile")
    assert done.stderr.count("\n") == 1


def test_clock_that_no_recipe_meets_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_recipes(slice(1), monkeypatch)
    small = ("--rows", "1", "--cols", "1", "--lanes", "1", "--clock-ns", "0.3", "--workers", "0")
    tables = tmp_path / "tables"
    few = ("--products", "1200")
    done = _synth(*small, *few, "--out", str(tables), "--cache", str(tmp_path / "cache"))
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("synth: clock must be at least ")
    assert last.endswith(" ns; raise --clock-ns")
    assert not tables.exists()


@takes_bench_options("products", "node_nm", "liberty_file")
def _command(name: str = "none", node_nm: float = 45.0, *, options: BenchOptions) -> None:
    typer.echo(f"{name} {node_nm} {options.products} {options.liberty_file} {options.clock_ns}")


def _run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(_command)
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_options_of_the_bench_come_in_the_order_of_their_names_behind_the_commands_own() -> None:
    status, text = _run("--help")
    assert status == 0
    places = [text.index(f"--{option}") for option in ("name", "products", "node-nm", "liberty")]
    assert places == sorted(places)
    assert "--clock-ns" not in text


def test_options_that_are_not_given_or_not_named_have_their_defaults() -> None:
    assert _run() == (0, "none 45.0 12000 nangate45 1.65\n")
    given = ("--products", "5", "--liberty", "my.lib", "--name", "x", "--node-nm", "7")
    assert _run(*given) == (0, "x 7.0 5 my.lib 1.65\n")
    assert _run("--products", "0")[0] == 2
    assert _run("--clock-ns", "1")[0] == 2


def test_a_command_can_be_called_with_some_of_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _command(products=7)
    assert capsys.readouterr().out == "none 45.0 7 nangate45 1.65\n"
    with pytest.raises(TypeError, match="unexpected keyword argument 'clock_ns'"):
        _command(clock_ns=1.0)


def test_a_document_begins_with_what_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["synth/compare.py", "-o", "my file"])
    library, sampled = liberty.load(liberty.nangate45()), operands.load(OPERANDS)
    header = document_header("synth.compare", library, sampled)
    assert list(header) == ["command", "tools", "library", "operands"]
    assert header["command"] == "python -m synth.compare -o 'my file'"
    assert header["library"] == {"name": "NangateOpenCellLibrary", "sha256": library.sha256}
    assert header["operands"] == {"name": "resnet8", "sha256": sampled.sha256}


def test_lists_have_known_names_only() -> None:
    assert listed(" b, a,", ("a", "b"), what="kinds") == ["b", "a"]
    assert listed("", ("a", "b"), what="kinds", default=("a",)) == ["a"]
    with pytest.raises(ValueError, match=r"^kinds must be some of a, b, not c, d$"):
        listed("a,c,d", ("a", "b"), what="kinds")
    with pytest.raises(ValueError, match=r"^kinds must be some of a, b, not none$"):
        listed(" ,", ("a", "b"), what="kinds")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("x must be 1, not 2"), 2, "synth.sta: x must be 1, not 2\n"),
        (KeyboardInterrupt(), 130, "synth.sta: stopped\n"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end, one_line("synth.sta", stopped="stopped"):
        raise error
    assert end.value.exit_code == status
    assert capsys.readouterr().err == line
