"""Decides: what a beat, a silence or a word means, without clock, chance or I/O."""
