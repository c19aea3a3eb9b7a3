"""One HTML page about runs: ``python -m quant.report RUN...``."""
