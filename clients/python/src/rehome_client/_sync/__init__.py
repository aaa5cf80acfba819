# Made by clients/generate.py from _async/__init__.py.
"""The synchronous client."""

from .client import Client

__all__ = ["Client"]
