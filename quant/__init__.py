"""From a float network, data and budgets to the bits of every layer (the search)."""
