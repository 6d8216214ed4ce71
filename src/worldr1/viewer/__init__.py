"""Splats, cameras and frames in the browser."""
