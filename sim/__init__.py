"""Golden model of the array, and benches that check the RTL against it."""
