"""Lifesigns: agents beat, and anyone can ask who is alive."""

from __future__ import annotations

__version__ = "0.1.0"
