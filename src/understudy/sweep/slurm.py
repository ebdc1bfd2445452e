"""A Slurm job that starts Ray on the nodes it is given and makes a sweep on them."""

from __future__ import annotations

import shlex

from understudy.sweep.config import SlurmConfig

SCRIPT = """\
#!/bin/bash
# {name}: submit with sbatch; submitted again, it goes on where it was.
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --time={time}
#SBATCH --signal=B:TERM@{grace}
{more}set -euo pipefail
{setup}export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token OMP_NUM_THREADS=1
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_TOKEN

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$(srun --nodes=1 --ntasks=1 --nodelist="${{nodes[0]}}" hostname --ip-address | awk '{{print $1}}')
port=$((20000 + SLURM_JOB_ID % 10000))
few=(--num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block)

srun --overlap --nodes=1 --ntasks=1 --nodelist="${{nodes[0]}}" ray start --head \\
  --node-ip-address="$address" --port="$port" --include-dashboard=false "${{few[@]}}" &
for attempt in $(seq 60); do
  if ray status --address "$address:$port" > /dev/null 2>&1; then break; fi
  sleep 2
done
for node in "${{nodes[@]:1}}"; do
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" ray start --address="$address:$port" "${{few[@]}}" &
done

# Slurm's signal comes to this shell, which hands it on: runs write a checkpoint before the time is over.
understudy sweep {recipe} --ray "$address:$port" --workers 0 --progress false &
sweep=$!
trap 'kill -TERM "$sweep"' TERM INT
code=0
wait "$sweep" || code=$?
while kill -0 "$sweep" 2> /dev/null; do wait "$sweep" || code=$?; done
exit "$code"
"""


def script(config: SlurmConfig) -> str:
    """The job, as a shell script."""
    options = {"partition": config.partition, "account": config.account}
    more = [f"#SBATCH --{key}={value}" for key, value in options.items() if value is not None]
    lines = [*more, ""]
    return SCRIPT.format(
        name=config.name, nodes=config.nodes, cpus=config.cpus, time=config.time,
        grace=config.grace, more="\n".join(lines),
        setup=f"{config.setup}\n" if config.setup else "", recipe=shlex.quote(config.recipe),
    )  # fmt: skip
