"""The benchmarks of weight optimisers: cells of a tiny layer, targets, notes of the tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quant.errors import QuantError
from quant.journal import Journal
from quant.ptq.bench import about, networks, networks_report
from quant.ptq.bench.layers import Case, LayerData
from quant.ptq.bench.measure import measured

torch.set_num_threads(1)

CASE = Case(network="tiny", name="conv", rows=4, depth=6, images=8)


def data() -> LayerData:
    random = np.random.default_rng(0)
    seen, held_out = random.normal(size=(2, 50, 6)) @ random.normal(size=(6, 6))
    return LayerData(
        weight=random.normal(size=(4, 6)),
        hessian=seen.T @ seen / 50,
        held_out=held_out.T @ held_out / 50,
    )


def cell(journal: Journal, *, most_seconds: float = 600.0, code: str = "a") -> dict[str, Any]:
    return measured(CASE, 3, data, journal, most_seconds=most_seconds, asked={"code": code})


def test_a_cell_is_not_read_from_a_run_of_other_code(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first = cell(journal)
    assert cell(journal) == first
    with pytest.raises(QuantError, match="must be a step of this very search, not of another one"):
        cell(journal, code="b")


def test_the_digest_of_code_tells_contents_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(about, "QUANT", tmp_path)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    found = about.code_sha256(files)
    assert about.code_sha256(reversed(files)) == found
    files[1].write_text("x = 2\n")
    assert about.code_sha256(files) != found
    files[1].write_text("x = 1\n")
    assert about.code_sha256([files[0], files[1].rename(tmp_path / "c.py")]) != found


def network_cells() -> Iterator[dict[str, Any]]:
    """Of both networks, every method and tool."""
    for model in networks.MODELS:
        for seed in networks.SEEDS:
            for bits in networks.BITS:
                tools = [name for name, (_, widths) in networks.PEERS.items() if bits in widths]
                for method in (*networks.OURS, *tools):
                    yield {
                        "model": model,
                        "seed": seed,
                        "bits": bits,
                        "method": method,
                        "accuracy": 0.9 - (0.004 if model == "dscnn" else 0.002) * (4 / bits),
                        "seconds": 1.5,
                    }


def networks_document(cells: list[dict[str, Any]]) -> dict[str, Any]:
    floats = dict.fromkeys(networks.MODELS, 0.9)
    return {
        "command": "x",
        "machine": "y",
        "calibration_images": 512,
        "seeds": networks.SEEDS,
        "float": floats,
        "peers_left_out": networks.left_out(cells),
        "targets": networks_report.targets(cells, floats),
        "cells": cells,
    }


def test_the_table_of_networks_tells_peers_that_are_left_out() -> None:
    cells = list(network_cells())
    assert "left out" not in networks_report.markdown(networks_document(cells))
    cells.remove(next(cell for cell in cells if cell["method"] == "onnxruntime"))
    cells = [cell for cell in cells if cell["method"] != "brevitas"]
    assert networks.left_out(cells) == ["brevitas", "onnxruntime"]
    assert (
        "\nPeers left out, wholly or in part: Brevitas GPTQ, ONNX Runtime "
        "(`make bench-ptq PEERS=...` has them).\n\n"
    ) in networks_report.markdown(networks_document(cells))
