"""Heartbeat APIs that others published: their words to ours, and ours to theirs."""
