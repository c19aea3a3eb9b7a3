"""One HTML page about searches: ``python -m quant.report RUN...``."""
