#!/bin/bash
# Trains on the GPUs of several nodes under SLURM, and goes on after each preemption:
#
#   sbatch launch/slurm.sh --config=configs/byol_gn_ws.py:imagenet-300 \
#     --config.data.data_dir=DIR --config.train.precision=bfloat16 \
#     --config.train.accumulate=4
#
# From the clone, in its activated environment. Clone, DIR and --workdir (by default
# runs/ of the clone) lie where all nodes see them. Nodes, GPUs, cores and time can be
# given to sbatch too. See docs/clusters.md.
#
#SBATCH --job-name=byol
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
# The processes are told five minutes before the time is up; they save and exit with 143.
#SBATCH --signal=TERM@300
#SBATCH --requeue

# One process a node has all its GPUs; under SLURM, JAX would take one a process.
JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((SLURM_GPUS_ON_NODE - 1)))
export JAX_LOCAL_DEVICE_IDS

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  python -m byol_jax.main --distributed "$@"
status=$?
if [ "$status" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
