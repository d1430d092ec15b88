"""What both sides of the loop share: configuration, formats, store layout and the command line."""

__version__ = "0.1.0"
