#!/usr/bin/env bash
# Makes locks/*.txt anew from pyproject.toml. Versions that are locked stay unless asked: tools/lock.sh --upgrade
# (or --upgrade-package=NAME). Each file carries hashes and no address, and serves Python 3.11 to 3.13 at once;
# locks/newest.txt starts at 3.12, where newer releases of JAX and NumPy exist.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-uv}
command -v "$uv" >/dev/null || { echo "error: no uv: run 'make lock', or name one as UV=path/to/uv" >&2; exit 2; }
features=(--extra=generate --extra=import --extra=plots --extra=validate)
development=(--extra=build --extra=lock --extra=test)

compile() {  # compile NAME PYTHON [uv's options]
  local name=$1 python=$2
  shift 2
  echo "locks/$name.txt" >&2
  "$uv" pip compile pyproject.toml --quiet --universal --python-version="$python" --fork-strategy=fewest \
    --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file="locks/$name.txt" "$@" >/dev/null
}

compile cpu 3.11 --extra=build "$@"
for backend in cuda12 cuda13 rocm7 tpu; do
  compile "$backend" 3.11 --extra=build --extra="$backend" --constraints=locks/cpu.txt "$@"
done
compile test 3.11 "${features[@]}" "${development[@]}" --constraints=locks/cpu.txt "$@"
compile newest 3.12 "${features[@]}" "${development[@]}" "$@"
