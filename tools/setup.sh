#!/usr/bin/env bash
# Set-up of a machine for working on Noah. Both commands do nothing when there is nothing to do.
#
#   tools/setup.sh venv DIR         Python environment with Noah (editable) and its developer tools
#   tools/setup.sh need COMMAND...  programs from Debian's packages: installed when root, else named
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'set-up: %s\n' "$@" >&2
    exit 1
}

# Prints what is not there, one package a line.
missing_packages() {
    local command
    for command in "$@"; do
        case $command in
            libc6-dev) [ -e /usr/include/stdio.h ] || echo libc6-dev ;;
            aarch64-linux-gnu-gcc) command -v "$command" >/dev/null || echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
            python3-venv) find_python >/dev/null || echo python3-venv ;;
            htpasswd) command -v "$command" >/dev/null || echo apache2-utils ;;
            qemu-system-x86_64) command -v "$command" >/dev/null || echo qemu-system-x86 ;;
            *) command -v "$command" >/dev/null || echo "$command" ;;
        esac
    done
}

need() {
    local packages
    read -r -d '' -a packages <<<"$(missing_packages "$@")" || true # read ends at the end of its input
    [ ${#packages[@]} -eq 0 ] && return
    if ! command -v apt-get >/dev/null; then
        die "these programs are missing, and this is not a Debian system: ${packages[*]}"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        die "some programs are missing; install them as root, then run this again:" "    apt-get install ${packages[*]}"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends "${packages[@]}" && return
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${packages[@]}"
}

# The first Python on the path that is new enough and can make an environment with pip in it.
find_python() {
    local python
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

venv() {
    local dir=$1 python
    if ! "$dir/bin/python" -c 'import pip' 2>/dev/null; then
        need python3-venv
        python=$(find_python) || die "no Python 3.11 or later with venv and ensurepip; PYTHON=/path/to/python3 names one"
        rm -rf "$dir"
        "$python" -m venv "$dir"
    fi
    "$dir/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev]' </dev/null
    "$dir/bin/python" -m compileall -q src
    "$dir/bin/python" tools/bundle.py
}

case ${1-} in
    venv) venv "$2" ;;
    need) need "${@:2}" ;;
    *) die "usage: tools/setup.sh venv DIR | need COMMAND..." ;;
esac
