#!/usr/bin/env bash
# Sets this checkout up for use: a virtual environment with the pinned dependencies and the project
# itself (editable), and a GL library for drawing without a display where none loads.
#
# usage: bash install.sh [FOLDER]      the environment's folder, .venv by default
# PYTHON=python3.12                    the interpreter to make it from
# TORCH_INDEX=https://...              a further package index, to take torch from
# CONSTRAINTS=FILE                     other versions than those of constraints.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${1:-.venv}
python=${PYTHON:-python3}
constraints=${CONSTRAINTS:-constraints.txt}
torch=$(grep '^torch==' "$constraints" || echo torch)
cpu_index=https://download.pytorch.org/whl/cpu
gl_packages=(libegl1 libgl1 libgl1-mesa-dri libosmesa6)

fail() {
    echo "error: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.10 to 3.13, or set PYTHON"
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$("$python" --version) is not one of 3.10 to 3.13; set PYTHON, as in: make test PYTHON=python3.12"

if [ ! -x "$venv/bin/pip" ]; then
    "$python" -m venv "$venv" ||
        fail "no virtual environment could be made; on Debian or Ubuntu run: sudo apt-get install -y python3-venv"
fi
pip() {
    # Mirrors and folders named in the machine's own pip configuration stay in force.
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@" \
        2> >(grep -v "Location '.*' is ignored" >&2)
}

# PyPI's torch for Linux on x86 brings gigabytes of CUDA. Without an NVIDIA GPU the CPU build does,
# from PyTorch's own index where that can be reached. pip prefers 2.13.0+cpu to 2.13.0, so another
# index beside those of pip's configuration is enough.
torch_from=()
if [ -n "${TORCH_INDEX:-}" ]; then
    torch_from=(--extra-index-url "$TORCH_INDEX")
elif [ "$(uname -sm)" = "Linux x86_64" ] && ! nvidia-smi -L >/dev/null 2>&1 &&
    "$venv/bin/python" - "$cpu_index/torch/" <<'PYTHON' >/dev/null 2>&1
import sys
import urllib.request
urllib.request.urlopen(sys.argv[1], timeout=10).close()
PYTHON
then
    torch_from=(--extra-index-url "$cpu_index")
fi
echo "installing $torch ..."
pip install "$torch" --constraint "$constraints" "${torch_from[@]}"
echo "installing selfflow_robotics and its other dependencies ..."
pip install --use-pep517 --editable '.[dev]' --constraint "$constraints"

choose_gl='from selfflow_robotics.machine.gl import choose_gl; choose_gl()'
if ! "$venv/bin/python" -c "$choose_gl" >/dev/null 2>&1; then
    apt="apt-get install -y ${gl_packages[*]}"
    if ! command -v apt-get >/dev/null; then
        fail "no OpenGL library loads; install EGL or OSMesa (Mesa) with this system's package manager"
    elif [ "$(id -u)" = 0 ]; then
        sudo=()
    elif sudo -n true 2>/dev/null; then
        sudo=(sudo -n)
    else
        fail "no OpenGL library loads; run: sudo $apt"
    fi
    echo "installing a GL library: $apt"
    { "${sudo[@]}" apt-get update -qq &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive $apt -qq >/dev/null; } ||
        fail "no OpenGL library loads, and this failed: $apt"
    "$venv/bin/python" -c "$choose_gl"
fi
touch "$venv/installed"
