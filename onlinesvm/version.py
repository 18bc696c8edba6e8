"""The version of this library, as the installed package has it."""

__version__ = "0.1.0"
