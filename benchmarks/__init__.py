"""Timings of the package against plain implementations of the same work; `make bench` runs them all."""

from worldr1.openmp import rest_soon

rest_soon()
