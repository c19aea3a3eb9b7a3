"""Cost tables for other tools: ``python -m synth.export``."""
