"""The Callboard API: heartbeats of runtimes, and what an agent finds when it comes home."""
