"""Timings of the package against plain implementations of the same work; `make bench` runs them all."""
