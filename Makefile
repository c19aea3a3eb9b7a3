# Every target sets up what it needs and nothing more; see .ci/setup.
#   DATA=folder    images and labels (default: Debian's dataset-fashion-mnist)   MODEL=name   the network to search
#   ARGS="..."     further options of the command                               PYTHON=, TORCH=   see .ci/setup
#   PEERS=python   of an environment with Brevitas and ONNX Runtime (quant/ptq/bench/peers.py), for bench-ptq
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help search bench-search bench-sweep test synth compare blind sta compose parts verilog fpga formal mutate throughput cosim bench-ptq bench-qat lint docs clean

# the tools of .venv come first, so that a sub-process finds the tested ones
VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

search: ## Search the bits of every layer of a trained network (DATA=folder MODEL=name ARGS="...")
	@.ci/setup quant $(if $(DATA)$(findstring --data,$(ARGS)),,data)
	$(VENV) python -m quant.search $(if $(DATA),--data "$(DATA)") $(if $(MODEL),--model "$(MODEL)") $(ARGS)

bench-search: ## All methods and other tools' maps, in docs/bench-search.json, .md and .png, hours (ARGS="--workers 16")
	@.ci/setup quant $(if $(DATA)$(findstring --data,$(ARGS)),,data)
	$(VENV) python -m quant.bench.search $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-sweep: ## What the paper leaves open, one decision at a time, in docs/bench-sweep.json and .md, hours (ARGS="--workers 16")
	@.ci/setup quant $(if $(DATA)$(findstring --data,$(ARGS)),,data)
	$(VENV) python -m quant.bench.search --sweep $(if $(DATA),--data "$(DATA)") $(ARGS)

test: ## Run the tests, RTL benches included (ARGS="..." goes to pytest)
	@.ci/setup dev simulator cocotb yosys browser
	$(VENV) python -m pytest $(ARGS)

synth: ## Synthesise the array and write its cost table (ARGS="...")
	@.ci/setup synth simulator yosys
	$(VENV) python -m synth $(ARGS)

compare: ## Every kind of PE at its best, in docs/compare.json, .md and .png, half an hour (ARGS="...")
	@.ci/setup synth simulator yosys
	$(VENV) python -m synth.compare $(ARGS)

blind: ## Predict the energy of a network that the table has not seen, in docs/blind.json (ARGS="...")
	@.ci/setup synth simulator yosys
	$(VENV) python -m synth.blind $(ARGS)

sta: ## Check static timing against OpenSTA on every kind of PE, in docs/opensta.json (ARGS="...")
	@.ci/setup synth yosys opensta
	$(VENV) python -m synth.sta -o docs/opensta.json $(ARGS)

compose: ## Check the sum of modules against whole small arrays, in docs/composition.json (ARGS="...")
	@.ci/setup synth simulator yosys
	$(VENV) python -m synth.compose -o docs/composition.json $(ARGS)

parts: ## Area and energy of the default array by part, in docs/parts.json and docs/parts.png (ARGS="...")
	@.ci/setup synth simulator yosys
	$(VENV) python -m synth.parts -o docs/parts.json $(ARGS)

verilog: ## Write the array as Verilog to build/mac_array.v, or another part (ARGS="--what accelerator -o FILE")
	@.ci/setup hw yosys
	@mkdir -p build
	$(VENV) python -m hw.verilog -o build/mac_array.v $(ARGS)

fpga: ## Place and route the tiny accelerator for ECP5: cells, memory blocks, Fmax (ARGS="...")
	@.ci/setup fpga yosys nextpnr
	$(VENV) python -m synth.fpga $(ARGS)

formal: ## Prove properties of the gateware for every input, ten minutes (ARGS="name ..." or --list)
	@.ci/setup sim yosys
	$(VENV) python -m sim.formal $(ARGS)

mutate: ## Break the gateware in hundreds of places and see the benches' vectors find it (ARGS="...")
	@.ci/setup sim simulator yosys
	$(VENV) python -m sim.mutate $(ARGS)

throughput: ## Run matrix products and the shipped networks on the accelerator's RTL, half an hour (ARGS="...")
	@.ci/setup sim simulator cocotb yosys
	$(VENV) python -m sim.throughput $(ARGS)

cosim: ## Run whole images of both searched networks on the RTL, and measure their energy gate by gate (ARGS="--images 8")
	@.ci/setup sim simulator cocotb yosys compiler
	@.ci/setup synth
	for network in resnet8 dscnn; do \
	  $(VENV) python -m sim.cosim sim/networks/$$network -o docs/cosim-$$network.json $(ARGS) && \
	  $(VENV) python -m synth.network sim/networks/$$network -o docs/energy-$$network.json || exit; \
	done

bench-ptq: ## Weight optimisers on layers, on whole networks and large ones, the whitepaper's schemes, two hours (PEERS=python ARGS="...")
	@.ci/setup quant data large photographs
	OMP_NUM_THREADS=1 $(VENV) python -m quant.ptq.bench $(ARGS)
	OMP_NUM_THREADS=1 $(VENV) python -m quant.ptq.bench.networks $(if $(PEERS),--peers "$(PEERS)")
	OMP_NUM_THREADS=1 $(VENV) python -m quant.ptq.bench.whitepaper
	OMP_NUM_THREADS=1 $(VENV) python -m quant.ptq.bench.large

bench-qat: ## Compare min-max with learned scales of weights at uniform 2 bit, in docs/qat-scales.json (ARGS="...")
	@.ci/setup quant data
	$(VENV) python -m quant.bench_qat $(ARGS)

lint: ## Check style, format, types and imports
	@.ci/setup dev
	$(VENV) ruff check .
	$(VENV) ruff format --check .
	$(VENV) mypy
	$(VENV) lint-imports

docs: ## Build the documentation as a site, in build/site
	@.ci/setup dev
	NO_MKDOCS_2_WARNING=1 $(VENV) mkdocs build --strict

clean: ## Delete what was built; .venv and the results in runs/ stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find hw sim synth quant tests -name __pycache__ -prune -exec rm -rf {} +
