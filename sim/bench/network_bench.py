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
from sim.lower import PIECES, joined, lower, order
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
        sent = _faulty(net, step, maps[step.input], expected[step.output][0], fault)
        layer = lower(sent, step, maps[step.input], config)
        kept = loaded is not None and step.input == last_input and _same(loaded, layer, config)
        layer = replace(layer, keep_acts=kept)
        if fault is not None and (step.name, "descriptor") == (fault.layer, fault.field):
            layer = replace(layer, out_zero_point=layer.out_zero_point ^ 1)
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
                "macs": layer.shape.macs if not layer.wrap else layer.shape.macs // PIECES,
                "cycles": counters["BUSY_CYCLES"],
                "timeline_cycles": times.busy,
                "steps": counters["STEP_CYCLES"],
                "stalls": counters["STALL_CYCLES"],
                "skipped_steps": counters["SKIPPED_STEPS"],
                "kept_acts": kept,
            }
        )
    return maps[net.graph.output].reshape(-1), records


def _faulty(
    net: IntegerNetwork, step: Conv, act: Ints, result: Ints, fault: Fault | None
) -> IntegerNetwork:
    """Flip a bit on the way to the array, if the job asks for it: the comparison must find it.

    Of the output channel that varies most: the sign of the weight that meets the largest
    activations, or the second bit from the top of the multiplier.
    """
    if fault is None or step.name != fault.layer or fault.field == "descriptor":
        return net
    arrays = net.layers[step.name]
    channel = int(result.reshape(-1, result.shape[-1]).std(axis=0).argmax())
    values = getattr(arrays, fault.field).copy()
    if fault.field == "multiplier":
        values[channel] ^= 1 << 14
    else:
        group = values.shape[2] * (channel // (values.shape[3] // step.groups))
        seen = act[..., group : group + values.shape[2]]
        strongest = int(seen.reshape(-1, values.shape[2]).mean(axis=0).argmax())
        place = (step.kernel_h // 2, step.kernel_w // 2, strongest, channel)
        low = -(1 << (step.weight_bits - 1))
        values[place] = int(values[place]) + (-low if values[place] < 0 else low)
    layers = {**net.layers, step.name: replace(arrays, **{fault.field: values})}
    return IntegerNetwork(graph=net.graph, layers=layers)


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
    images, labels = folder.load_examples(job.folder, net.graph)
    host = Host(dut, patience=PATIENCE)
    await host.reset()
    runs = []
    for index in range(job.images):
        logits, records = await run_image(host, net, images[index], config, fault=job.fault)
        runs.append({"class": int(logits.argmax()), "label": int(labels[index]), "layers": records})
        Path(os.environ["BENCH_REPORT"] + ".progress").write_text(f"{index + 1}\n", "utf-8")
    assert job.fault is None, f"{job.fault.layer}: the flipped bit was not found"
    report = {"network": net.graph.name, "config": job.config, "images": runs}
    Path(os.environ["BENCH_REPORT"]).write_text(json.dumps(report), encoding="utf-8")
