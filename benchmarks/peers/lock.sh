#!/usr/bin/env bash
# Makes benchmarks/peers/locks/*.txt anew: the pins of each peer's environment, for Python 3.11 on Linux x86_64.
# PyTorch's CPU build is on no general registry: PIP_FIND_LINKS names the folder or page that has its wheel.
set -euo pipefail
cd "$(dirname "$0")/../.."

uv=${UV:-.venv/bin/uv}
command -v "$uv" >/dev/null || { echo "error: no uv; run 'make venv-test', or name one: UV=path/to/uv $0" >&2; exit 2; }

compile() {  # compile NAME REQUIREMENT...: benchmarks/peers/locks/NAME.txt
  local lock=benchmarks/peers/locks/$1.txt
  shift
  echo "$lock" >&2
  printf '%s\n' "$@" |
    "$uv" pip compile - --quiet --python-version=3.11 --python-platform=x86_64-manylinux_2_31 --only-binary=:all: \
      ${PIP_FIND_LINKS:+--find-links="$PIP_FIND_LINKS"} --generate-hashes --no-emit-index-url --no-emit-find-links \
      --no-header --no-annotate --output-file="$lock" >/dev/null
}

compile pytorch torch==2.13.0+cpu numpy==2.4.6
compile tensorflow tensorflow==2.15.0
