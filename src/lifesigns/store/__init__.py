"""Remembers: the state of every agent, in Redis or Valkey and nowhere else."""
