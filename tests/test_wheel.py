"""The wheel: what is in it, and that it runs in an environment where nothing else of ours is.

Its dependencies are those of the environment of the tests, by path; that pip resolves them from the
package index is checked by hand at a release (CONTRIBUTING.md).
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "sim", "synth", "quant")
INPUTS = ("pyproject.toml", "README.md", "LICENSE", *PACKAGES)
DATA = (".json", ".npz", ".safetensors", ".html", ".css", ".js", ".svg")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distribution and the wheel that is built from it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in INPUTS:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.config.yaml")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=out, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    return out


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel."""

    folder: Path
    elsewhere: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            cwd=self.elsewhere,
            env={**environment, "PATH": path, "OMP_NUM_THREADS": "1"},
            timeout=300,
        )


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (wheel,) = distributions.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    command += ["--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, timeout=300)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    # behind the wheel in the path; .pth files there, one of which leads here, are not read
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(folder, tmp_path_factory.mktemp("elsewhere"))


def idx(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def images(folder: Path) -> None:
    """Write images of Fashion-MNIST's form."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 1200), ("t10k", 100)):
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def test_every_module_and_data_file_is_in_wheel_and_source(distributions: Path) -> None:
    known = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    left_out = {"sim/networks.json"} | {name for name in known if name.startswith("sim/networks/")}
    expected = {n for n in known if n.endswith((".py", *DATA))} - left_out
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert sorted(expected - names) == []
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "docs/", "build/")) for name in names)
    (source,) = distributions.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert sorted(expected - inside) == []


def test_the_wheel_searches_and_reports_outside_the_checkout(installed: Installed) -> None:
    where = installed.run("python", "-c", "import hw, quant, sim, synth; print(quant.__file__)")
    assert where.stdout.startswith(str(installed.folder)), where.stderr
    version = installed.run("sigmaquant", "--version")
    assert metadata.version("sigmaquant") in version.stdout
    images(installed.elsewhere / "data")
    search = ["sigmaquant", "search", "--model", "resnet8", "--data", "data", "--ptq-only"]
    search += ["--max-size", "0.3", "--max-drop", "0.9", "--method", "greedy", "--no-uniform"]
    found = installed.run(*search, "--out", "run", "--quiet")
    assert found.returncode == 0, found.stderr
    report = installed.run("sigmaquant", "report", "run")
    assert report.returncode == 0, report.stderr
    page = (installed.elsewhere / "run" / "report.html").read_text()
    result = json.loads((installed.elsewhere / "run" / "result.json").read_text())
    assert result["provenance"]["cost_table"]["file"] == "nangate45-default.json"
    assert f'<data value="{result["cost"]["searched"]["energy_pj"]!r}">' in page


def test_the_wheel_makes_verilog_and_lists_its_cost_tables(installed: Installed) -> None:
    verilog = installed.run(
        "python", "-m", "hw.verilog", "--hardware", "tiny", "--output", "tiny.v"
    )
    assert verilog.returncode == 0, verilog.stderr
    assert "module " in (installed.elsewhere / "tiny.v").read_text()
    told = installed.run("python", "-m", "synth.report")
    assert told.returncode == 0, told.stderr
    assert "bit_pair-8x8x32 at 1.65 ns" in told.stdout
