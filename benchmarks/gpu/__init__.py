"""On a CUDA device: noise and splats (`python -m benchmarks.gpu.run`), a whole training step (`... .policy`)."""
