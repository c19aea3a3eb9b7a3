"""The one exception of this package."""


class QuantError(Exception):
    """What a user gave cannot be worked with: one line with what, where, and what to do."""
