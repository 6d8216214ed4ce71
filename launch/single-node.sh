#!/usr/bin/env bash
# One run on all cards of this machine. Usage: launch/single-node.sh world-r1-small --schedule.groups 48
#                                              launch/single-node.sh --resume runs/NAME
set -euo pipefail
cards=${CARDS:-$(nvidia-smi --list-gpus | wc -l)}
exec torchrun --standalone --nproc-per-node "$cards" -m -- worldr1.cli.main train "$@"
