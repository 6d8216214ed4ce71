#!/usr/bin/env bash
# One run over the machines of a Slurm job. Usage: sbatch launch/slurm.sh world-r1-large --schedule.groups 48
#                                                  sbatch launch/slurm.sh --resume runs/NAME
# The run directory, the weights and this environment must lie on storage that all machines share.
#SBATCH --job-name=worldr1
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
exec srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$head:29500" \
  -m -- worldr1.cli.main train "$@"
