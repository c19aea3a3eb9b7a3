"""Trained weights of the shipped networks, made by `python -m quant.train`."""
