"""From a pushed SQL file to a healthy production, with no hands on the wheel."""

__version__ = "0.1.0"
