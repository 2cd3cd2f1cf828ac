#!/usr/bin/env bash
# Makes the virtual environment $VENV (.venv) from locks/$BACKEND.txt with $PYTHON, and installs locks/NAME.txt on top
# for each NAME given: tools/venv.sh [NAME...]. What is there already is kept as long as its locks are these;
# PYTHON and BACKEND left empty mean those of the environment that is there, else python3 and cpu.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 2; }
identity() { "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

venv=${VENV:-.venv}
made_from=$venv/made-from  # copies of the locks that were installed to the end, and the back end's name
backend=${BACKEND:-$(cat "$made_from/backend" 2>/dev/null || echo cpu)}
oldest=11  # of Python 3
if [[ $backend == newest ]]; then
  set --  # that lock holds everything: no other goes with it
  oldest=12
fi
for name in "$backend" "$@"; do
  [[ -f locks/$name.txt ]] || fail "no locks/$name.txt; BACKEND is one of:" \
    "$(cd locks; for file in *.txt; do [[ $file == test.txt ]] || printf '%s ' "${file%.txt}"; done)"
done

is_as_asked() {
  [[ $backend == "$(cat "$made_from/backend" 2>/dev/null)" ]] || return 1
  local found lock
  found=$(identity "$venv/bin/python") || return 1
  [[ -z ${PYTHON:-} || $found == "$(identity "$PYTHON")" ]] || return 1
  for lock in "$made_from"/*.txt; do
    cmp -s "$lock" "locks/${lock##*/}" || return 1
  done
}

check_python() {
  command -v "$1" >/dev/null || fail "no $1 here; name a Python 3.$oldest to 3.13: make venv PYTHON=python3.12"
  "$1" -c "import sys; sys.exit(sys.version_info < (3, $oldest))" ||
    fail "$1 is $("$1" --version 2>&1); Python 3.$oldest to 3.13 is needed: make venv PYTHON=python3.12"
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$1 cannot make virtual environments (no ensurepip); on Debian and Ubuntu: apt-get install python3-venv"
}

pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

if ! is_as_asked; then
  python=${PYTHON:-python3}
  check_python "$python"
  echo "making $venv with $("$python" --version)" >&2
  "$python" -m venv --clear "$venv"
  mkdir "$made_from"
  echo "$backend" >"$made_from/backend"
fi
for name in "$backend" "$@"; do
  if [[ ! -f $made_from/$name.txt ]]; then
    echo "installing locks/$name.txt (a minute, or more over a slow line)" >&2
    pip install --only-binary=:all: --require-hashes --requirement="locks/$name.txt" ||
      fail "locks/$name.txt was not installed for the reason above; the same command tries again"
    cp "locks/$name.txt" "$made_from/$name.txt"
  fi
done
if ! cmp -s pyproject.toml "$made_from/pyproject.toml"; then
  pip install --no-deps --no-build-isolation --editable=. || fail "the package was not installed for the reason above"
  cp pyproject.toml "$made_from/pyproject.toml"
fi
