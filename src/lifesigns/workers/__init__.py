"""Wakes: the loops that own a timer."""
