"""What a run will need, before anything is loaded: network evaluations, memory, time, weights."""
