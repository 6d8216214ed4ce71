#!/usr/bin/env bash
# One run over the machines of a Slurm job, a process for each card. Usage:
#   RUN=runs/large sbatch launch/slurm.sh world-r1-large --schedule.groups 48
#   sbatch launch/slurm.sh --resume runs/NAME
# The run directory, the weights and this environment must lie on storage that all machines share.
# Ten minutes before the time is over, and when the job is preempted, the step that runs is ended and saved, and the job
# queues itself again (exit code 75): it goes on in RUN. Ask for more than ten if a step and an evaluation take longer.
#SBATCH --job-name=worldr1
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@600
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
run=${RUN:-runs/slurm-$SLURM_JOB_ID}
case " $* " in
  *" --resume"*) ;;
  *) if [ -e "$run/recipe.yaml" ]; then set -- --resume "$run"; else set -- "$@" --run "$run"; fi ;;
esac
trap : TERM  # the trainer hears it too; this script waits for it
# What torchrun would tell each process, without torchrun between it and the signals.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=29500 TORCHELASTIC_RUN_ID=$SLURM_JOB_ID SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
srun --wait=60 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
  exec python -m worldr1.cli.main train "$@"' worldr1 "$@"
code=$?
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
