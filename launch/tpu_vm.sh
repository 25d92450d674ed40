#!/bin/bash
# Trains on a TPU VM or a pod slice of them, from a clone on your own machine:
#
#   launch/tpu_vm.sh NAME ZONE install
#   launch/tpu_vm.sh NAME ZONE start --config=configs/byol_gn_ws.py:imagenet-300 \
#     --config.data.data_dir=DIR --config.train.precision=bfloat16 \
#     --config.train.accumulate=4
#   launch/tpu_vm.sh NAME ZONE log
#   launch/tpu_vm.sh NAME ZONE stop
#
# `install` takes HEAD of the clone to every worker; `start` begins or goes on; `stop`
# saves first. The run's folder is on worker 0, in ~/byol_jax/runs. See docs/clusters.md.
#
# shellcheck disable=SC2016  # what is quoted is expanded by the workers
set -eu

name=$1 zone=$2 action=$3
shift 3

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

case "$action" in
  install)
    bundle=$(mktemp -d)/byol_jax.bundle
    git bundle create --quiet "$bundle" HEAD
    gcloud compute tpus tpu-vm scp "$bundle" "$name:" --zone="$zone" --worker=all
    rm -r "${bundle%/*}"
    # Their own Python may be too old; uv brings one.
    on_all_workers 'set -e
      export PATH="$HOME/.local/bin:$PATH"
      python3 -m pip install --quiet --user uv
      [ -d byol_jax ] || git clone --quiet byol_jax.bundle byol_jax
      cd byol_jax
      git fetch --quiet ../byol_jax.bundle HEAD
      git checkout --quiet --detach FETCH_HEAD
      [ -d .venv ] || uv venv --quiet --python 3.12
      uv pip install --quiet -e ".[tpu]"'
    ;;
  start)
    # Bash of macOS is too old for ${*@Q}.
    flags=$([ "$#" -eq 0 ] || printf '%q ' "$@")
    # It outlives the connection.
    on_all_workers "cd byol_jax
      if kill -0 \$(cat run.pid) 2>/dev/null; then
        echo 'it is at work already: stop it first' >&2
        exit 1
      fi
      nohup .venv/bin/python -m byol_jax.main --distributed $flags \\
        </dev/null >>run.log 2>&1 &
      echo \$! >run.pid"
    ;;
  log)
    gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" \
      --command="tail -n 50 -f byol_jax/run.log"
    ;;
  stop)
    on_all_workers 'kill -TERM "$(cat byol_jax/run.pid)"'
    ;;
  *)
    echo "usage: $0 NAME ZONE install|start|log|stop" >&2
    exit 1
    ;;
esac
