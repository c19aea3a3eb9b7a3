"""Configuration files and output modes, on a command of the test's own; `sigmaquant` itself."""

import json
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from hw.cli.command import beside, command_app, complain
from hw.cli.console import command
from hw.cli.output import tell

ROOT = Path(__file__).parents[1]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def main(
    runs: Annotated[list[Path], typer.Argument()],
    max_size: Annotated[str | None, typer.Option()] = None,
    colour: Annotated[Colour, typer.Option()] = Colour.RED,
    seed: Annotated[int, typer.Option(min=0, max=9)] = 3,
    share: Annotated[float, typer.Option()] = 0.5,
    full: Annotated[bool, typer.Option()] = True,
    file: Annotated[Path | None, typer.Option("--output", "-o")] = None,
) -> None:
    """Say what came."""
    found = [[str(run) for run in runs], max_size, colour.value, seed, share, full]
    print("noise")
    print("loud", file=sys.stderr)
    if share > 1:
        complain(f"made.up: share must be at most 1, not {share}")
        raise typer.Exit(2)
    print(json.dumps(found))
    tell("all is well", {"found": found})


app = command_app(main, name="made.up", place=beside("file"), tells=True)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def run(*options: str | Path) -> Result:
    return CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)


def found(*options: str | Path) -> list[object]:
    done = run(*options, "--json")
    assert done.exit_code == 0, done.stderr
    values: list[object] = json.loads(done.stdout)["found"]
    return values


def test_a_file_gives_options_and_arguments_and_the_command_line_wins(config: Path) -> None:
    config.write_text(
        "runs: [a, b]\nmax_size: 0.4\ncolour: blue\nseed: 7\nshare: 1e-1\nfull: false\n"
    )
    assert found("--config", config) == [["a", "b"], "0.4", "blue", 7, 0.1, False]
    assert found("c", "--config", config, "--seed", "1", "--full") == [
        ["c"], "0.4", "blue", 1, 0.1, True,
    ]  # fmt: skip


def test_one_value_alone_is_a_list_and_null_is_what_was_not_given(config: Path) -> None:
    config.write_text("runs: a\nmax-size: null\n")
    assert found("--config", config) == [["a"], None, "red", 3, 0.5, True]


def test_the_effective_configuration_gives_the_same_again(config: Path, tmp_path: Path) -> None:
    config.write_text("colour: blue\nshare: 0.25\n")
    out = tmp_path / "x.json"
    first = found("a", "--config", config, "--max-size", "40%", "--seed", "0", "-o", out)
    written = tmp_path / "x.config.yaml"
    assert yaml.safe_load(written.read_text()) == {
        "command": "made.up", "runs": ["a"], "max-size": "40%", "colour": "blue", "seed": 0,
        "share": 0.25, "full": True, "output": str(out),
    }  # fmt: skip
    assert written.read_text().startswith(
        "# What python -m made.up ran with; again: python -m made.up --config x.config.yaml\n"
    )
    assert found("--config", written) == first


def test_no_configuration_is_written_of_bad_input(tmp_path: Path) -> None:
    assert run("a", "--share", "2", "-o", tmp_path / "x.json").exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed:\n\tx: 1\n", ", line 2: config must be YAML, not: found character '\\t' that cannot "
         "start any token; indent with spaces"),
        ("seed: 1\n share: 2\n", ", line 2: config must be YAML, not: mapping values are not "
         "allowed here"),
        ("seed: 1\nseed: 2\n", ", line 2: config must be YAML, not: seed is there twice"),
        ("max-size: 1\nmax_size: 2\n", ": max-size must be there once, not as max_size, too"),
        ("- seed\n", ": config must be lines of `key: value`, not a list; see --help"),
        ("seed\n", ": config must be lines of `key: value`, not seed; see --help"),
        ("sede: 1\n", ": keys must be those of made.up, not sede; the nearest is seed"),
        ("max_sise: 1\n", ": keys must be those of made.up, not max_sise; the nearest is max-size"),
        ("clock-ns: 1\n", ": keys must be those of made.up, not clock-ns, which is one of synth"),
        ("qqq: 1\n", ": keys must be those of made.up, not qqq; known: runs, max-size, colour, "
         "seed, share, full, output"),
        ("json: true\n", ": keys must be those of made.up, not json, which is for the command "
         "line only"),
        ("command: ptq\n", ": command must be made.up, not ptq, whose file this is"),
        ("seed: some\n", ": seed must be a whole number of at least 0 and at most 9, not some"),
        ("seed: 1.5\n", ": seed must be a whole number of at least 0 and at most 9, not 1.5"),
        ("seed: 10\n", ": seed must be a whole number of at least 0 and at most 9, not 10"),
        ("seed: true\n", ": seed must be a whole number of at least 0 and at most 9, not true"),
        ("seed: null\n", ": seed must be a whole number of at least 0 and at most 9, not null"),
        ("share: yes\n", ": share must be a number, not true"),
        ("full: 1\n", ": full must be true or false, not 1"),
        ("colour: green\n", ": colour must be one of red, blue, not green"),
        ("max-size: [1]\n", ": max-size must be text, not a list"),
        ("output: 5\n", ": output must be a path, not 5"),
        ("runs: [a, 5]\n", ": runs must be a path, or a list of such, not 5"),
        ("runs: {a: b}\n", ": runs must be a path, or a list of such, not a mapping"),
        ("seed: !!python/name:os.system\n", ", line 1: config must be YAML, not: could not "
         "determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'"),
        ("? [1]\n: 2\n", ", line 1: config must be YAML, not: found unhashable key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(config: Path, text: str, line: str) -> None:
    config.write_text(text)
    done = run("a", "--config", config)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"{config}{line}\n")


def test_a_missing_file_and_one_that_is_no_text_are_refused(config: Path) -> None:
    assert run("--config", config).stderr == (
        f"{config}: config must be readable, not: No such file or directory\n"
    )
    config.write_bytes(b"seed: \xff\n")
    assert run("--config", config).stderr == (
        f"{config}: config must be UTF-8 text, not: invalid start byte\n"
    )


def test_what_the_command_finds_wrong_names_the_file_if_it_is_the_files(config: Path) -> None:
    config.write_text("share: 2\n")
    line = "made.up: share must be at most 1, not"
    assert run("a", "--config", config, "-q").stderr == f"{config}: {line} 2.0\n"
    assert run("a", "--config", config, "-q", "--share", "3").stderr == f"{line} 3.0\n"


def test_quiet_shows_a_line_and_json_a_document() -> None:
    assert "noise\n" in run("a").stdout
    quiet = run("a", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("all is well\n", "")
    told = run("a", "--json")
    assert told.stderr == "loud\n"
    assert json.loads(told.stdout) == {"found": [["a"], None, "red", 3, 0.5, True]}


def sigmaquant(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hw.cli", *options],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_command(option: str) -> None:
    done = sigmaquant(option)
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "hw.cli.console" in imported
    assert not imported & {
        "torch",
        "numpy",
        "amaranth",
        "yaml",
        "pydantic",
        "quant",
        "sim",
        "synth",
    }


def test_help_lists_every_command() -> None:
    shown = sigmaquant("--help").stdout
    names = [line.split()[1] for line in shown.partition("Commands")[2].splitlines()[1:]
             if line.startswith("│ ") and line[2] != " "]  # fmt: skip
    assert names == ["search", "ptq", "export", "report", "synth", "cosim", "bench"]


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        count = str(len(words.split()) - 1)
        done = sigmaquant(_SIGMAQUANT_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
        return done.stdout.split()

    assert completed("sigmaquant se") == ["search"]
    assert completed("sigmaquant bench p") == ["ptq"]
    assert completed("sigmaquant report --c") == ["--cost-table", "--config"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["report", "no/run"],
            "quant.report: no/run: run must be the folder of a finished search, not missing",
        ),
        # as it was before there were configuration files
        (["synth", "--config", "huge"],
         "synth: config must be one of tiny, edge, large, not 'huge'"),
        (["synth", "--hardware", "huge"],
         "synth: config must be one of tiny, edge, large, not 'huge'"),
    ],
)  # fmt: skip
def test_a_command_behind_sigmaquant_is_that_of_its_module(
    words: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["sigmaquant", *words])
    with pytest.raises(SystemExit) as ended:
        command()(words, prog_name="sigmaquant")
    assert ended.value.code == 2
    assert capsys.readouterr().err == line + "\n"
    assert sys.argv == [f"sigmaquant {words[0]}", *words[1:]]  # what files tell of the command
