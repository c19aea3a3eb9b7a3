"""The shift-add MAC array: gateware, its parameters, its schedule."""
