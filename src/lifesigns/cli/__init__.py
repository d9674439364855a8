"""Is typed: the commands of `lifesigns`."""
