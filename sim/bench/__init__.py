"""Benches that drive the RTL: drivers, monitors, scoreboards, and how a simulation is built."""
