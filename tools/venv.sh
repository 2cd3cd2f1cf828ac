#!/usr/bin/env bash
# Makes the virtual environment $VENV (.venv) from locks/$BACKEND.txt with $PYTHON, and installs locks/NAME.txt on top
# for each NAME given: tools/venv.sh [NAME...]. What is there already is kept as long as its locks are these.
# PYTHON and BACKEND left empty mean those of the environment that is there, else the first Python that will do and the
# back end that tools/detect_backend.py finds.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 2; }
identity() { "$1" -I -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null; }

# Of the site's settings for pip those count that say where packages are. The others (user, target, constraint, ...)
# install elsewhere, or something else than the lock says.
for name in "${!PIP_@}"; do
  case $name in
    PIP_CONFIG_FILE | PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_NO_INDEX | PIP_FIND_LINKS | PIP_KEYRING_PROVIDER) ;;
    PIP_PROXY | PIP_CERT | PIP_CLIENT_CERT | PIP_TRUSTED_HOST | PIP_RETRIES | PIP_*TIMEOUT | PIP_*CACHE_DIR) ;;
    *) unset "$name" ;;
  esac
done
unset PYTHONHOME PYTHONPATH

venv=${VENV:-.venv}
made_from=$venv/made-from  # copies of the locks that were installed to the end, and the back end's name
unfinished=$made_from/unfinished  # there while pip is at work
[[ ! -d $venv || -f $venv/pyvenv.cfg || -z $(ls -A "$venv") ]] ||
  fail "VENV=$venv holds something else than a virtual environment; name a new folder"
mkdir -p "$venv" 2>/dev/null || fail "VENV=$venv: no such folder can be made"

# One at a time; where no Python or no lock is to be had, at one's own risk.
exec 9<"$venv"
for python in "${PYTHON:-}" "$venv/bin/python" python3; do
  "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2>/dev/null && break
done || true

backend=${BACKEND:-$(cat "$made_from/backend" 2>/dev/null || true)}
oldest=11  # of Python 3
[[ $backend != newest ]] || oldest=12

choose_python() {
  local candidates=(python3 python3.13 python3.12 python3.11)
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for python in "${candidates[@]}"; do
    "$python" -I -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, $oldest))" 2>/dev/null && return
  done
  python=${candidates[0]}
  command -v "$python" >/dev/null || fail "no $python here; name a Python 3.$oldest to 3.13: make venv PYTHON=python3.12"
  "$python" -I -c "import sys; sys.exit(sys.version_info < (3, $oldest))" 2>/dev/null ||
    fail "$python is $("$python" --version 2>&1); Python 3.$oldest to 3.13 is needed: make venv PYTHON=python3.12"
  fail "$python cannot make virtual environments (no ensurepip); on Debian and Ubuntu: apt-get install python3-venv"
}

if [[ -z $backend ]]; then
  choose_python
  { read -r backend && read -r reason; } < <("$python" -I tools/detect_backend.py) ||
    fail "tools/detect_backend.py failed; name the back end: make venv BACKEND=cpu"
  echo "BACKEND=$backend, for $reason; to choose otherwise: make venv BACKEND=cpu (cuda12, cuda13, rocm7, tpu)" >&2
fi
[[ $backend != newest ]] || set --  # that lock holds everything: no other goes with it
for name in "$backend" "$@"; do
  [[ -f locks/$name.txt ]] || fail "no locks/$name.txt; BACKEND is one of:" \
    "$(cd locks; for file in *.txt; do [[ $file == test.txt ]] || printf '%s ' "${file%.txt}"; done)"
done

is_as_asked() {
  [[ ! -f $unfinished && $backend == "$(cat "$made_from/backend" 2>/dev/null)" ]] || return 1
  local found lock
  found=$(identity "$venv/bin/python") || return 1
  [[ -z ${PYTHON:-} || $found == "$(identity "$PYTHON")" ]] || return 1
  for lock in "$made_from"/*.txt; do
    cmp -s "$lock" "locks/${lock##*/}" || return 1
  done
}

packages() { ls "$venv"/lib/python3.*/site-packages; }

# What an interrupted pip leaves may look complete and is not: it is made anew. If it added nothing, it was not at work.
install() {
  local before
  before=$(packages)
  touch "$unfinished"
  # The options undo what a pip.conf may say of them.
  if ! "$venv/bin/python" -I -m pip --quiet --disable-pip-version-check --no-input install --no-user --target= --root=/ \
    --prefix="$("$venv/bin/python" -I -c 'import sys; print(sys.prefix)')" "$@"; then
    [[ $(packages) != "$before" ]] || rm "$unfinished"
    return 1
  fi
  rm "$unfinished"
}

if ! is_as_asked; then
  choose_python
  echo "making $venv with $("$python" --version)" >&2
  "$python" -I -m venv --clear "$venv" || fail "$venv was not made for the reason above"
  mkdir "$made_from"
  echo "$backend" >"$made_from/backend"
fi
for name in "$backend" "$@"; do
  if [[ ! -f $made_from/$name.txt ]]; then
    echo "installing locks/$name.txt (a minute, or more over a slow line)" >&2
    install --only-binary=:all: --require-hashes --requirement="locks/$name.txt" ||
      fail "locks/$name.txt was not installed for the reason above; the same command tries again"
    cp "locks/$name.txt" "$made_from/$name.txt"
  fi
done
if ! cmp -s pyproject.toml "$made_from/pyproject.toml"; then
  install --no-deps --no-build-isolation --editable=. || fail "the package was not installed for the reason above"
  cp pyproject.toml "$made_from/pyproject.toml"
fi
