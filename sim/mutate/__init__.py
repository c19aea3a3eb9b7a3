"""Mutation tests of the gateware: ``python -m sim.mutate``."""
