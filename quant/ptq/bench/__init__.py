"""Weight optimisers side by side on layers of three sizes: `python -m quant.ptq.bench`."""
