"""The rows of noise and splats on a CUDA device; `python -m benchmarks.gpu.run`."""
