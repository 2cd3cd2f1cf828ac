#!/usr/bin/env bash
# Makes the virtual environment .peers/NAME from benchmarks/peers/locks/NAME.txt: benchmarks/peers/venv.sh NAME...
# with $PEER_PYTHON, which must be a Python 3.11: TensorFlow 2.15 ends there. What is there already is kept as long
# as its lock is this one. PyTorch's CPU build may need PIP_FIND_LINKS: the folder or page that has its wheel.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "error: $*" >&2; exit 2; }

python=${PEER_PYTHON:-python3.11}
is_right='import ensurepip, venv, sys; sys.exit(sys.version_info[:2] != (3, 11))'
"$python" -c "$is_right" 2>/dev/null ||
  fail "$python is no Python 3.11 that can make virtual environments; name one: make peers PEER_PYTHON=path/to/python3.11"
mkdir -p .peers
echo '*' >.peers/.gitignore
for name in "$@"; do
  lock=benchmarks/peers/locks/$name.txt venv=.peers/$name
  [[ -f $lock ]] || fail "no $lock"
  cmp -s "$lock" "$venv/made-from.txt" && continue
  echo "making $venv with $("$python" --version) from $lock (a minute, or more over a slow line)" >&2
  "$python" -m venv --clear "$venv"
  "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --only-binary=:all: \
    --require-hashes --requirement="$lock" || fail "$lock was not installed for the reason above"
  cp "$lock" "$venv/made-from.txt"
done
