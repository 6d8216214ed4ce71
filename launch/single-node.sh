#!/usr/bin/env bash
# One run on all cards of this machine. Usage: launch/single-node.sh world-r1-small --schedule.groups 48
#                                              launch/single-node.sh --resume runs/NAME
# SIGTERM to torchrun lets the running step end and be saved, for which there are GRACE seconds.
set -euo pipefail
cards=${CARDS:-$(nvidia-smi --list-gpus | wc -l)}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${GRACE:-600}
exec torchrun --standalone --nproc-per-node "$cards" -m -- worldr1.cli.main train "$@"
