"""Formal proofs of the gateware: ``python -m sim.formal``."""
