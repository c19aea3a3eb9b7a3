"""Coverage of several runs: bins add up, and one without a hit is told."""

from pathlib import Path

from sim.bench import coverage_report

RUNS = [
    {"switch": {"W2 to W4": 3, "W4 to W2": 0}, "wait": {"room": 1}},
    {"switch": {"W2 to W4": 1, "W4 to W2": 0}, "sum": {"lowest": 2}},
]


def test_hits_of_runs_add_up_and_a_bin_that_no_run_hit_is_missing() -> None:
    hits = coverage_report.merged(RUNS)
    assert hits == {
        "switch": {"W2 to W4": 4, "W4 to W2": 0},
        "wait": {"room": 1},
        "sum": {"lowest": 2},
    }
    assert coverage_report.missing(hits) == ["switch: W4 to W2"]
    assert coverage_report.summary(hits) == "75.0 % (switch 1/2, wait 1/1, sum 1/1)"


def test_summary_has_a_line_for_each_kind(tmp_path: Path) -> None:
    coverage_report.write(tmp_path, "b", coverage_report.merged(RUNS))
    coverage_report.write(tmp_path, "a", RUNS[1])
    assert (tmp_path / "summary.txt").read_text() == (
        "a: 66.7 % (switch 1/2, sum 1/1)\nb: 75.0 % (switch 1/2, wait 1/1, sum 1/1)\n"
    )
