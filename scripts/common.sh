# Read by the other scripts: finding Python, asking apt, and pip without surprises from the surroundings.

say() { printf '%s\n' "ferry: $*"; }
die() { printf '%s\n' "ferry: $*" >&2; exit 1; }

# A set-up must not depend on what the caller's shell is used for.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PYTHONNOUSERSITE=1

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null; }

# Prints a Python that is new enough: $PYTHON, or the first of the names given.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for candidate in "$@" python3 python3.13 python3.12 python3.11 python3.14; do
        if is_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo none)
    die "Python 3.11 or newer is needed, found: $found. Debian 12 has it: apt-get install python3; or name one: make PYTHON=/path/to/python3.12 …"
}

# as_root COMMAND…: directly, or through sudo. Fails where neither is possible.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        return 1
    fi
}

# need_packages "WHY" PACKAGE…: installs those that are missing, saying which and why.
need_packages() {
    why=$1
    shift
    missing=
    for package in "$@"; do
        # ${db:Status-Status} is dpkg-query's own format, not a variable of ours.
        # shellcheck disable=SC2016
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        die "missing:$missing ($why). This is not a Debian system: install what corresponds, then try again"
    say "installing Debian packages:$missing ($why)"
    # An index that already knows them is new enough; a fresh container has none.
    # shellcheck disable=SC2086
    apt-get install --simulate --quiet --quiet $missing >/dev/null 2>&1 ||
        as_root apt-get update --quiet --quiet </dev/null ||
        die "cannot read the package lists. As root: apt-get update && apt-get install$missing"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends $missing </dev/null ||
        die "cannot install them. As root: apt-get update && apt-get install$missing"
}

# make_venv PYTHON FOLDER: a new virtual environment; Debian keeps the module that fills it in a package of its own.
make_venv() {
    if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        need_packages "Debian keeps python3's venv module apart" \
            "$("$1" -c 'import sys; print(f"python3.{sys.version_info.minor}-venv")')"
    fi
    "$1" -m venv --clear "$2"
}

# pip_install VENV ARGUMENT…: pinned files with hashes, or the clone itself. On a terminal a bar shows how far it is.
pip_install() {
    venv=$1
    shift
    packages=$(packages_in "$@")
    if [ "$packages" -eq 0 ] || [ ! -t 1 ] || [ "${TERM:-dumb}" = dumb ]; then
        "$venv/bin/python" -m pip install --quiet --progress-bar off "$@" </dev/null
        return
    fi
    # A pipe has the exit code of its end, so pip's own comes through a file.
    { "$venv/bin/python" -u -m pip install --progress-bar off "$@" </dev/null || echo $? >"$venv/.pip-failed"; } |
        show_progress "$packages"
    [ -f "$venv/.pip-failed" ] || return 0
    failed=$(cat "$venv/.pip-failed")
    rm -f "$venv/.pip-failed"
    return "$failed"
}

# packages_in ARGUMENT…: how many packages the requirement files among pip's arguments have.
packages_in() {
    while [ $# -gt 0 ]; do
        if [ "$1" = -r ]; then
            grep -c '==' "$2" || true
            return
        fi
        shift
    done
    echo 0
}

# show_progress COUNT: a bar of pip's lines, of which each package has one that begins with Collecting.
show_progress() {
    LC_ALL=C awk -v count="$1" '
        function bar(done, what,    full) {
            full = int(30 * done / count)
            printf "\r  [%s%s] %d/%d %-28.28s", substr(hashes, 1, full), substr(spaces, 1, 30 - full), done, count, what
            fflush()
        }
        BEGIN {
            hashes = "##############################"
            spaces = "                              "
            bar(0, "")
        }
        $1 == "Collecting" {
            if (seen < count) seen++
            what = $2
            sub(/[=<>!~;].*/, "", what)
            bar(seen, what)
        }
        /^Installing collected packages/ { bar(count, "writing files") }
        END { printf "\r%70s\r", "" }
    '
}

digest() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

# commit_here: prints ` (COMMIT)` where this folder is a git checkout, and nothing elsewhere. root may ask in the checkout
# of another user.
commit_here() {
    if [ ! -e .git ] || ! commit=$(git -c safe.directory="$PWD" rev-parse --short=8 HEAD 2>/dev/null); then
        return 0
    fi
    git -c safe.directory="$PWD" diff --quiet HEAD -- src pyproject.toml requirements || commit="$commit and changes"
    printf '%s' " ($commit)"
}
