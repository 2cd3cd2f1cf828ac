#!/usr/bin/env bash
# The benchmark on several hosts with Open MPI 4 or 5: one process per host.
#   HOSTS=a,b,c tools/launch/mpirun.sh --preset=hepscore --num_devices=12
# mpirun must start process 0 on the host where it is called itself, or --coordinator_address=HOST:PORT says where it is.
set -euo pipefail
number=$(tr ',' '\n' <<<"${HOSTS:?HOSTS=a,b,c}" | grep -c .)
exec mpirun --host "$HOSTS" -n "$number" --map-by node --bind-to none \
  "${VENV:-.venv}/bin/python" -m mlpf_jax.main "$@"
