#!/usr/bin/env bash
# A list of videos (a path a line), shared out between the tasks of a Slurm array:
#
#     sbatch --array=0-7 samples/slurm.sh videos.txt /shared/results --model sapiens-1b
#
# Submit it again as it is to go on where it ended: what is done is passed over. How it stands:
#
#     sapiens-stream results status /shared/results
#
#SBATCH --job-name=sapiens-stream
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=%x-%A_%a.log

set -euo pipefail

list=$1
output=$2
shift 2

mapfile -t videos < <(grep -v '^[[:space:]]*$' "$list")

# `exec`, so that the signal to the batch shell (B:), two minutes before the end, reaches the program, which then closes its
# files in order.
exec sapiens-stream video "${videos[@]}" --output "$output" --resume \
    --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" "$@"
