"""Cocotb bench: images through an integer network on the accelerator, layer by layer, by AXI.

Run by `sim.cosim`. What the RTL gives is the next layer's input; the golden model runs beside it.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from hw.accelerator_config import AcceleratorConfig
from hw.catalog import named
from hw.descriptor import ErrorCode
from hw.timeline import RunTimes
from sim import folder, network
from sim.bench.accelerator_bench import check_counters, expected_times
from sim.bench.axi import Host
from sim.bench.network_job import Fault, NetworkJob
from sim.folder import Add, Average, Conv, IntegerNetwork, Maximum, Step
from sim.golden import Ints
from sim.lower import joined, lower, order
from sim.program import Layer

PATIENCE = 400_000


async def run_layer(
    host: Host, layer: Layer, config: AcceleratorConfig
) -> tuple[Ints, dict[str, int], RunTimes]:
    """Run a layer alone; return its results, the counters and what the timeline foretells."""
    await host.send(layer.packet(config))
    await host.start()
    data = await host.receive()
    status = await host.wait_for_interrupt()
    assert status == {"busy": 0, "error": ErrorCode.NONE, "error_tag": 0}, status
    counters, times = await host.counters(), expected_times([layer], config)
    check_counters(counters, times, exact=True)
    shape = layer.shape
    results = layer.results(data, config).reshape(shape.out_h, shape.out_w, -1)
    return results, counters, times


async def run_image(
    host: Host,
    net: IntegerNetwork,
    image: Ints,
    config: AcceleratorConfig,
    *,
    fault: Fault | None = None,
) -> tuple[Ints, list[dict[str, Any]]]:
    """Run an image; return the logits and a record of each layer.

    Raises
    ------
    AssertionError
        If a layer's results are not those of the golden model; names it.
    """
    expected = dict(network.tensors(net, image[None]))
    maps: dict[str, Ints] = {net.graph.input: image}
    records: list[dict[str, Any]] = []
    loaded: Layer | None = None
    last_input = ""
    for step in order(net.graph):
        if not isinstance(step, Conv):
            maps[step.output] = _by_host(net, step, maps)
            continue
        layer = lower(net, step, maps[step.input], config)
        kept = loaded is not None and step.input == last_input and _same(loaded, layer, config)
        layer = _faulty(replace(layer, keep_acts=kept), step.name, fault)
        results, counters, times = await run_layer(host, layer, config)
        if net.graph.tensors[step.output].signed:
            results = joined(results)
        _compare(step.name, results, expected[step.output][0])
        maps[step.output] = results.astype(expected[step.output].dtype)
        loaded, last_input = layer, step.input
        records.append(
            {
                "layer": step.name,
                "bits": step.weight_bits,
                "macs": layer.shape.macs if not layer.wrap else layer.shape.macs // 3,
                "cycles": counters["BUSY_CYCLES"],
                "timeline_cycles": times.busy,
                "steps": counters["STEP_CYCLES"],
                "stalls": counters["STALL_CYCLES"],
                "skipped_steps": counters["SKIPPED_STEPS"],
                "kept_acts": kept,
            }
        )
    return maps[net.graph.output].reshape(-1), records


def _faulty(layer: Layer, name: str, fault: Fault | None) -> Layer:
    """Flip a bit on the way to the array, if the job asks for it: the comparison must find it."""
    if fault is None or name != fault.layer:
        return layer
    if fault.field == "descriptor":
        return replace(layer, out_zero_point=layer.out_zero_point ^ 1)
    values = getattr(layer, fault.field).copy()
    values[(0,) * (values.ndim - 1) + (-1,)] ^= {"weight": 1, "multiplier": 1 << 14}[fault.field]
    return replace(layer, **{fault.field: values})


def _same(loaded: Layer, layer: Layer, config: AcceleratorConfig) -> bool:
    """Whether both layers lay the same map in memory."""
    a, b = loaded.descriptor(config), layer.descriptor(config)
    return (a.in_h, a.in_w, a.in_channels) == (b.in_h, b.in_w, b.in_channels)


def _by_host(net: IntegerNetwork, step: Step, maps: dict[str, Ints]) -> Ints:
    values = [maps[name][None] for name in step.inputs]
    if isinstance(step, Add):
        result = network.add(net.graph, step, values[0], values[1])
    elif isinstance(step, Average):
        result = network.average(net.graph, step, values[0])
    else:
        assert isinstance(step, Maximum)
        result = network.maximum(net.graph, step, values[0])
    image: Ints = result[0]
    return image


def _compare(name: str, got: Ints, expected: Ints) -> None:
    if not np.array_equal(got, expected):
        places = np.argwhere(got != expected)
        y, x, channel = (int(index) for index in places[0])
        raise AssertionError(
            f"{name}: {len(places)} of {got.size} results differ, the first at (y, x, channel) "
            f"{(y, x, channel)}: {expected[y, x, channel]} expected, got {got[y, x, channel]}"
        )


@cocotb.test()
async def network_equals_golden_model(dut: Any) -> None:
    """Run the job; the report is written last: a bench that failed leaves none."""
    job = NetworkJob.from_json(os.environ["BENCH_JOB"])
    net, config = folder.load(job.folder), named(job.config)
    images, labels = folder.load_examples(job.folder)
    host = Host(dut, patience=PATIENCE)
    await host.reset()
    runs = []
    for index in range(job.images):
        logits, records = await run_image(host, net, images[index], config, fault=job.fault)
        runs.append({"class": int(logits.argmax()), "label": int(labels[index]), "layers": records})
        Path(os.environ["BENCH_REPORT"] + ".progress").write_text(f"{index + 1}\n", "utf-8")
    report = {"network": net.graph.name, "config": job.config, "images": runs}
    Path(os.environ["BENCH_REPORT"]).write_text(json.dumps(report), encoding="utf-8")
