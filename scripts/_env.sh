# Sourced by the scripts beside it: finds Pythons, keeps virtual environments under .cache/, installs this project's wheel.
#
# An environment is kept as long as pyproject.toml and its Python stay the same, so a second run starts at once.
# Everything here can be thrown away: rm -rf .cache

set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONDONTWRITEBYTECODE # else each of the many processes of a run compiles again whatever it imports

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
started_s=$SECONDS
cd "$root"
mkdir -p "$cache"

# say TEXT: one line of what is being done, with the seconds since the start
say() { printf '[%3ds] %s\n' "$((SECONDS - started_s))" "$*"; }

fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# version_of PYTHON: prints X.Y, or fails where this is no working Python (a pyenv shim without its version, say)
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null; }

# interpreter X.Y: prints the path of a Python of this version, from PATH or from pyenv
interpreter() {
  local candidate full
  candidate=$(command -v "python$1" 2>/dev/null) && [[ $(version_of "$candidate") == "$1" ]] && { real_path "$candidate"; return; }
  command -v pyenv >/dev/null 2>&1 || return 1
  full=$(pyenv versions --bare 2>/dev/null | grep -E "^${1//./\\.}\.[0-9]+$" | tail -1) || return 1
  candidate=$(pyenv prefix "$full" 2>/dev/null)/bin/python
  [[ $(version_of "$candidate") == "$1" ]] && real_path "$candidate"
}

real_path() { "$1" -c 'import sys; print(sys.executable)' </dev/null; }

# usable PYTHON: new enough for this project, and able to make virtual environments
usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 </dev/null; }

# find_python: prints the Python to use: $MPSERVE_PYTHON, else the ordinary python3, else the newest that can be found
find_python() {
  local candidate version
  if [[ -n ${MPSERVE_PYTHON:-} ]]; then
    usable "$MPSERVE_PYTHON" || fail "MPSERVE_PYTHON=$MPSERVE_PYTHON is no Python 3.11 or newer with venv"
    real_path "$MPSERVE_PYTHON"
    return
  fi
  for candidate in python3 python; do
    command -v "$candidate" >/dev/null 2>&1 && usable "$candidate" && { real_path "$candidate"; return; }
  done
  for version in 3.14 3.13 3.12 3.11 3.15; do
    candidate=$(interpreter "$version") && usable "$candidate" && { echo "$candidate"; return; }
  done
  fail "no Python 3.11 or newer with venv found; install one (on Debian: apt install python3 python3-venv), or name it: MPSERVE_PYTHON=/path/to/python3"
}

# requirements PYTHON PART...: prints what pyproject.toml lists under build, run, or a dependency group's name, one a line
requirements() {
  "$1" - "${@:2}" <<'PYTHON'
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
parts = {
    "build": project["build-system"]["requires"],
    "run": project["project"]["dependencies"],
    **project["dependency-groups"],
}
print("\n".join(line for part in sys.argv[1:] for line in parts[part]))
PYTHON
}

# stamp PYTHON PART...: what an environment was made from
stamp() {
  { "$1" -c 'import sys; print(sys.version, sys.base_prefix)'; requirements "$@"; } | "$1" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

# make_env NAME PYTHON PART...: makes or reuses .cache/NAME with these requirements; sets $env to its path
make_env() {
  local name=$1 python=$2 wanted
  shift 2
  env=$cache/$name
  wanted=$(stamp "$python" "$@")
  [[ -f $env/.stamp && $(<"$env/.stamp") == "$wanted" ]] && { say "environment .cache/$name is ready"; return; }
  say "making environment .cache/$name with Python $(version_of "$python") ($*); the first time takes up to a minute"
  rm -rf "$env"
  "$python" -m venv "$env"
  requirements "$python" "$@" >"$env/requirements.txt"
  install "$env" -r "$env/requirements.txt"
  echo "$wanted" >"$env/.stamp"
}

# install ENV ARGUMENT...: pip install that names each package as it comes, and everything it said where it fails
install() {
  local log=$1/pip.log
  # compiled is what a run imports, when it does: less than half of it
  "$1/bin/python" -m pip install --progress-bar off --no-compile "${@:2}" 2>&1 | tee "$log" | sed -u -n 's/^Collecting \([A-Za-z0-9._-]*\).*/         \1/p'
  [[ ${PIPESTATUS[0]} == 0 ]] || { cat "$log" >&2; fail "pip could not install ${*:2} (its output is above)"; }
}

# build_wheel ENV: builds this tree's wheel; sets $wheel to its path
build_wheel() {
  say "building the wheel"
  rm -rf "$cache/wheel"
  "$1/bin/python" -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$cache/wheel" . || fail "the wheel could not be built"
  wheel=$(echo "$cache"/wheel/*.whl)
}

# install_wheel ENV: puts $wheel into an environment that has its requirements
install_wheel() {
  "$1/bin/python" -m pip install -q --no-deps --force-reinstall "$wheel" || fail "$wheel could not be installed into $1"
}
