#!/bin/bash
# Starts Ray on every machine of a Slurm job, and a sweep of VTAB-1k on all of them:
#
#     sbatch examples/slurm_ray.sh
#     sbatch --nodes=8 examples/slurm_ray.sh noah benchmark vtab --ray auto --out /shared/sweep
#
# What follows the script's name is run on the first machine in place of the sweep. Change the lines that begin with
# #SBATCH to what your cluster has; the environment in which noah is installed has to be seen by all machines.
#SBATCH --job-name=noah
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00

set -euo pipefail

if [ "$#" -eq 0 ]; then
    set -- noah benchmark vtab --ray auto --out benchmarks/vtab
fi

# Nothing is reported to Ray's makers.
export RAY_USAGE_STATS_ENABLED=0

machines=()
while read -r name; do
    machines+=("$name")
done < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${machines[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address)
address=${address%% *}
# Two jobs that share a machine must not share a port.
port=$((20000 + SLURM_JOB_ID % 20000))
cores=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --node-ip-address="$address" --port="$port" --num-cpus="$cores" --num-gpus="$gpus" \
    --include-dashboard=false --block &

# The others join once the head answers.
tries=0
until srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap ray status --address="$address:$port" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        echo "The head of the cluster, $head, did not answer within five minutes." >&2
        exit 1
    fi
    sleep 5
done

if [ "${#machines[@]}" -gt 1 ]; then
    others=$(IFS=,; echo "${machines[*]:1}")
    srun --nodes=$((${#machines[@]} - 1)) --ntasks=$((${#machines[@]} - 1)) --nodelist="$others" --overlap \
        ray start --address="$address:$port" --num-cpus="$cores" --num-gpus="$gpus" --block &
fi

# When this ends, the job ends, and Slurm ends Ray everywhere.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap env RAY_ADDRESS="$address:$port" "$@"
