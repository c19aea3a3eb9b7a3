"""Place and route for FPGAs, without running it: reports, tools that are missing, bad options."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hw import yosys
from synth import fpga

REPORT = {
    "critical_paths": [],
    "fmax": {
        "$glbnet$clk": {"achieved": 61.5, "constraint": 100.0},
        "$glbnet$other": {"achieved": 80.25, "constraint": 100.0},
    },
    "utilization": {
        "DP16KD": {"available": 108, "used": 28},
        "MULT18X18D": {"available": 72, "used": 11},
        "TRELLIS_COMB": {"available": 43848, "used": 19711},
        "TRELLIS_FF": {"available": 43848, "used": 7245},
        "TRELLIS_IO": {"available": 245, "used": 177},
    },
}


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(fpga.app, arguments)
    return done.exit_code, done.stderr


def test_slowest_clock_and_cells_are_read_from_the_report() -> None:
    fmax_mhz, cells = fpga.read_report(json.dumps(REPORT))
    assert fmax_mhz == 61.5
    assert {name: usage.used for name, usage in cells.items()} == {
        "TRELLIS_COMB": 19711,
        "TRELLIS_FF": 7245,
        "DP16KD": 28,
        "MULT18X18D": 11,
    }


@pytest.mark.parametrize(
    ("report", "error"),
    [
        ({**REPORT, "fmax": {}}, "report of nextpnr must have a clock: the design has none"),
        ({"fmax": {}}, "report of nextpnr must have fmax and utilization: KeyError('utilization')"),
    ],
)
def test_a_report_without_figures_is_told(report: dict[str, object], error: str) -> None:
    with pytest.raises(fpga.FpgaError) as caught:
        fpga.read_report(json.dumps(report))
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--config", "huge"], "config must be one of tiny, edge, large, not 'huge'"),
        (["--device", "5k"], f"device must be one of {', '.join(fpga.DEVICES)}, not '5k'"),
        (["--speed", "9"], "speed must be from 6 to 8, not 9"),
        (["--target-mhz", "0"], "target_mhz must be positive, not 0.0"),
    ],
)
def test_bad_options_are_one_line_and_status_2(arguments: list[str], error: str) -> None:
    assert _run(*arguments) == (2, f"synth.fpga: {error}\n")


def test_a_missing_tool_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(yosys.YosysError) as caught:
        yosys.run_tool("yowasp_nowhere", "run", [], tmp_path)
    assert (
        str(caught.value) == "yowasp-nowhere is missing: install it with pip install yowasp-nowhere"
    )


def test_a_tool_that_fails_gives_its_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text(
        "import sys\ndef run(arguments):\n"
        "    sys.stderr.write('Info: x\\nERROR: design does not fit\\nERROR: second\\n')\n"
        "    return 1\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(yosys.YosysError, match=r"^failing failed: ERROR: design does not fit$"):
        yosys.run_tool("failing", "run", [], tmp_path)


def test_report_is_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place_and_route(config: object, **options: object) -> fpga.FpgaReport:
        fmax_mhz, cells = fpga.read_report(json.dumps(REPORT))
        return fpga.FpgaReport(fmax_mhz=fmax_mhz, cells=cells, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fpga, "place_and_route", place_and_route)
    done = CliRunner().invoke(fpga.app, ["--out", str(tmp_path), "--speed", "8"])
    assert done.exit_code == 0, done.stderr
    assert "Fmax 61.5 MHz" in done.stdout
    written = fpga.FpgaReport.model_validate_json((tmp_path / "fpga-tiny-45k.json").read_text())
    assert (written.fmax_mhz, written.speed, written.device) == (61.5, 8, "45k")
    assert written.cells["DP16KD"].used == 28
