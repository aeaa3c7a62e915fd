#!/usr/bin/env bash
# Makes .venv from requirements.lock and pyproject.toml; `make setup` calls it before every command.
#
# .venv/complete is written last and says for which folder and which files the environment was made.
# With it, the environment is only brought up to date. Without it pip was interrupted and may have left
# half a package, and a .venv that was copied or moved still points at its old folder: both are made anew.
#
#   setup.sh         make .venv, or bring it up to date, or do nothing
#   setup.sh lock    write requirements.lock anew

set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")"

readonly PYTHON=${PYTHON:-python3.11}
readonly NEEDED_GB=${NEEDED_GB:-5}
readonly VENV_PYTHON=.venv/bin/python
readonly COMPLETE=.venv/complete
readonly LOG=.venv/install.log

# An environment must not be made with the python of the environment that it replaces.
PATH=":$PATH:"
PATH=${PATH//":$PWD/.venv/bin:"/:}
PATH=${PATH#:}
export PATH=${PATH%:}
# Where people read, also while the output of pip goes to the log.
exec 3>&2
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PYTHONUNBUFFERED=1

main() {
    if is_current; then return; fi
    trap 'fail "Interrupted. Run the same command again; it starts with what pip has already fetched."' INT TERM
    if is_reusable; then
        echo "Bringing .venv up to date"
    else
        make_venv
    fi
    if ! grep -qxF "$(packages_state)" "$COMPLETE" 2>/dev/null; then
        install_packages
    fi
    install_project
    complete_state >"$COMPLETE.part"
    mv "$COMPLETE.part" "$COMPLETE"
}

packages_state() { cksum requirements.lock; }
complete_state() {
    pwd -P
    packages_state
    cksum pyproject.toml
}

is_current() { is_reusable && [ "$(cat "$COMPLETE")" = "$(complete_state)" ]; }
is_reusable() {
    [ "$(head -n 1 "$COMPLETE" 2>/dev/null)" = "$(pwd -P)" ] && "$VENV_PYTHON" -c '' 2>/dev/null
}

make_venv() {
    check_path
    check_python
    check_disk
    echo "Making .venv with $("$PYTHON" --version) (a few seconds)"
    rm -f "$COMPLETE"
    local said
    if ! said=$("$PYTHON" -m venv --clear .venv 2>&1); then
        fail "The folder .venv could not be made: ${said##*$'\n'}"
    fi
}

check_path() {
    case $PWD in
    *:*) fail "The project's path holds a colon, which no environment can have in PATH. Move it elsewhere: $PWD" ;;
    esac
}

check_python() {
    # Run, not only looked up: a version manager's shim exists without the version behind it.
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
        fail "Python 3.11 is needed and '$PYTHON' is not it. Install it (Debian 12: apt install python3.11" \
            "python3.11-venv; macOS: brew install python@3.11) or name it: make setup PYTHON=/path/to/python3.11"
    fi
    if ! "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        fail "$PYTHON lacks its venv or ensurepip module. On Debian and Ubuntu: apt install python3.11-venv"
    fi
}

check_disk() {
    local free_kb
    # The number before the percentage: names of file systems and mount points may hold spaces.
    free_kb=$(df -Pk . | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) { print $(i - 1); exit } }')
    if [ "$((free_kb / 1048576))" -lt "$NEEDED_GB" ]; then
        fail "The set-up needs $NEEDED_GB GB of free disk and there are $((free_kb / 1048576)) GB. Free some," \
            "or insist: make setup NEEDED_GB=$((free_kb / 1048576))"
    fi
}

install_packages() {
    local count
    count=$(grep -c '==' requirements.lock)
    ask_registry
    rm -f "$COMPLETE"
    echo "Installing $count packages into .venv (2 to 5 minutes)"
    if ! pip install --requirement requirements.lock 2>&1 | tee "$LOG" | show_progress "$count"; then
        explain_failure
    fi
}

# One small package first, with short time-outs: pip itself tries for minutes before it gives up.
ask_registry() {
    local first
    first=$(grep -m 1 '==' requirements.lock)
    if ! pip install --dry-run --ignore-installed --no-deps --timeout 15 --retries 1 "$first" >"$LOG" 2>&1; then
        explain_failure
    fi
}

install_project() {
    # Without isolation the build uses the setuptools of requirements.lock and needs no network.
    if ! pip install --no-deps --no-build-isolation --editable . >"$LOG" 2>&1; then
        explain_failure
    fi
}

pip() { "$VENV_PYTHON" -m pip "$@"; }

# A line for every fifty of the $1 packages, instead of pip's thousand.
show_progress() {
    local line found=0
    while IFS= read -r line; do
        case $line in
        Collecting* | Processing*)
            found=$((found + 1))
            if [ $((found % 50)) -eq 0 ]; then echo "  found $found of $1"; fi
            ;;
        "Installing collected packages"*) echo "  unpacking them (about a minute)" ;;
        esac
    done
}

explain_failure() {
    local error
    error=$(grep -E '^(ERROR|OSError|error):' "$LOG" | tail -n 1 || true)
    if grep -q 'No space left on device' "$LOG"; then
        fail "The disk is full. Free some room (here and in ${TMPDIR:-/tmp}) and run it again. pip said more in $LOG"
    fi
    if grep -qE 'Retrying \(Retry|Connection(Error|Refused)|TimeoutError|timed out|name resolution' "$LOG"; then
        fail "pip could not reach its package registry. Check the network (or PIP_INDEX_URL and the proxy)" \
            "and run it again. pip said more in $LOG"
    fi
    fail "pip could not install the packages: ${error:-no reason given}. It said more in $LOG"
}

# The newest versions that pyproject.toml allows, found in an environment of their own.
lock() {
    check_python
    folder=$(mktemp -d)  # not local: the trap needs it after the function's end
    trap 'rm -rf "$folder"' EXIT
    echo "Resolving pyproject.toml in a fresh environment (3 to 6 minutes)"
    "$PYTHON" -m venv --upgrade-deps "$folder"
    if ! "$folder/bin/python" -m pip install -qq --editable '.[dev]'; then
        fail "requirements.lock is as it was: pip found no versions that fit together, for the reason above."
    fi
    {
        sed -n '/^#/p' requirements.lock
        # CUDA's own packages follow from the build of torch; the list serves machines without a GPU too.
        "$folder/bin/python" -m pip list --format=freeze --exclude pip --exclude takeoff |
            sed 's/+.*//' | grep -vE '^(triton|cuda-|nvidia-(cu|nccl|nv))'
    } >"$folder/requirements.lock"
    cp "$folder/requirements.lock" requirements.lock
    echo "Wrote requirements.lock: $(grep -c '==' requirements.lock) packages. See what moved: git diff requirements.lock"
}

fail() {
    echo "$*" >&3
    exit 1
}

case ${1:-} in
'') main ;;
lock) lock ;;
*) fail "setup.sh knows no '$1'. Call it alone, or with: lock" ;;
esac
