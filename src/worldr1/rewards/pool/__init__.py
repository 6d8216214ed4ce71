"""The reward computed by workers: the same scores, whatever happens to a worker."""
