#!/bin/bash
# A Slurm job array: `sbatch array.sh`, a shard of the study a job. Submit it again to continue.
#SBATCH --job-name=my-study
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
# A job that runs out of time is told two minutes before, and keeps its unit; `exec` lets quanta be told.
exec quanta train my-study.toml --out runs/my-study \
    --shard "$SLURM_ARRAY_TASK_ID/8" --threads "$SLURM_CPUS_PER_TASK"
