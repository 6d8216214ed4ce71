"""Real classes with random weights, at the published size or a tiny one, without any download."""
