"""From RTL to cost tables: mapping, timing, energy."""
