#!/usr/bin/env bash
# Makes locks/*.txt and tools/container/sbom.txt anew from pyproject.toml. Versions that are locked stay unless asked:
# tools/lock.sh --upgrade (or --upgrade-package=NAME). Each file carries hashes and no address, and serves Python 3.11
# to 3.13 at once; locks/newest.txt starts at 3.12, where newer releases of JAX and NumPy exist.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-uv}
command -v "$uv" >/dev/null || { echo "error: no uv; run 'make lock', or name one: UV=path/to/uv tools/lock.sh" >&2; exit 2; }
features=(--extra=generate --extra=import --extra=plots --extra=report --extra=validate)
development=(--extra=build --extra=lock --extra=test)

compile() {  # compile LOCK OLDEST_PYTHON WHAT [uv's options]
  local lock=$1 python=$2
  shift 2
  echo "$lock" >&2
  "$uv" pip compile --quiet --universal --python-version="$python" --fork-strategy=fewest \
    --only-binary=:all: --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file="$lock" "$@" \
    >/dev/null
}

# A universal lock may hold a release that has a wheel for some Python only; uv does not mind, pip will.
check_wheels() {  # check_wheels LOCK PYTHON...
  local lock=$1 python
  shift
  for python in "$@"; do
    "$uv" pip compile "$lock" --quiet --python-version="$python" --python-platform=x86_64-manylinux_2_31 \
      --only-binary=:all: >/dev/null || { echo "error: $lock does not install on Python $python" >&2; exit 1; }
  done
}

compile locks/cpu.txt 3.11 pyproject.toml --extra=build "$@"
for backend in cuda12 cuda13 rocm7 tpu; do
  compile "locks/$backend.txt" 3.11 pyproject.toml --extra=build --extra="$backend" --constraints=locks/cpu.txt "$@"
done
compile locks/test.txt 3.11 pyproject.toml "${features[@]}" "${development[@]}" --constraints=locks/cpu.txt "$@"
compile locks/newest.txt 3.12 pyproject.toml "${features[@]}" "${development[@]}" "$@"
compile tools/container/sbom.txt 3.11 --group=sbom "$@"

for lock in locks/{cpu,cuda12,cuda13,rocm7,tpu,test}.txt tools/container/sbom.txt; do
  check_wheels "$lock" 3.11 3.12 3.13
done
check_wheels locks/newest.txt 3.12 3.13
