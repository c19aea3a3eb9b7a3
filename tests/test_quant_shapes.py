"""Sizes of the shipped networks' layers, as the co-simulation reads them."""

import json
from pathlib import Path

from quant.shapes import shipped
from sim.throughput import NETWORKS


def test_committed_sizes_are_those_of_the_networks() -> None:
    assert json.loads(Path(NETWORKS).read_text(encoding="utf-8")) == shipped()
