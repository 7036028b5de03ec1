#!/bin/sh
# Make a Python environment and install into it; used by the Makefile.
#
#   tools/environment.sh --find "3.13 3.11"
#       print the first of these Pythons that really runs; exit code 3 where there is none
#   tools/environment.sh FOLDER "3.13 3.11" [-e SPEC] [-g GROUP] [REQUIREMENT ...]
#       make FOLDER if needed, install SPEC editable, the dependency groups of pyproject.toml and
#       the requirements, with uv where there is one, else with venv and pip
#
# PYTHON=/path/to/python overrules the search.
set -eu

version_of() { # what the interpreter says, and nothing where it (a shim, say) does not run
    "$1" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

find_python() { # "3.13 3.11"
    if [ -n "${PYTHON:-}" ]; then
        found=$(version_of "$PYTHON")
        case " $1 " in *" ${found:-none} "*) echo "$PYTHON"; return ;; esac
        echo "PYTHON=$PYTHON is ${found:+Python }${found:-no Python that runs}; it has to be $(or "$1")." >&2
        return 3
    fi
    for version in $1; do
        for candidate in "python$version" \
            "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python \
            "$HOME"/.local/share/uv/python/cpython-"$version".*/bin/python \
            /usr/bin/python"$version" /usr/local/bin/python"$version" \
            /opt/homebrew/bin/python"$version" python3 python; do
            [ "$(version_of "$candidate")" = "$version" ] || continue
            command -v "$candidate"
            return
        done
    done
    if [ -n "$may_install" ] && has_no_venv "$1" && command -v apt-get >/dev/null; then
        # Debian's Python comes without it.
        "$(dirname "$0")"/system_packages.sh "python$bare-venv" >&2 || return 3
        may_install=
        find_python "$1"
        return
    fi
    echo "This needs Python $(or "$1") (with its venv module): install one, or name it with PYTHON=/path/to/python." >&2
    return 3
}

has_no_venv() { # sets the first of these versions that the system has, without what makes environments
    for bare in $1; do
        /usr/bin/python"$bare" -c '' 2>/dev/null && return
    done
    return 1
}

or() { echo "$1" | sed 's/ / or /g'; }

show() { # of pip's many lines, those that tell that something happens; all of them go to the log
    : >"$log"
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        case $line in
            Collecting\ *) rest=${line#Collecting }; printf '  %s\n' "${rest%% (from*}" ;;
            "Installing collected"*) echo "  unpacking ..." ;;
        esac
    done
}

install() {
    status=$folder/status
    if [ -e "$folder/with-uv" ] && uv pip install --python "$folder/bin/python" "$@"; then
        return
    elif [ -e "$folder/with-uv" ]; then
        echo "uv could not; trying pip."
        "$folder/bin/python" -m ensurepip >/dev/null
        rm "$folder/with-uv"
    fi
    { "$folder/bin/python" -m pip install --no-input --disable-pip-version-check "$@" 2>&1 \
        && echo 0 >"$status" || echo 1 >"$status"; } | show
    if [ "$(cat "$status")" != 0 ]; then
        tail -n 15 "$log" >&2
        echo "Installing failed; all of pip's words are in $log." >&2
        exit 1
    fi
}

may_install=yes
if [ "$1" = --find ]; then
    may_install=
    find_python "$2"
    exit
fi

folder=$1 versions=$2
shift 2
log=$folder/install.log
if ! [ -x "$folder/bin/python" ] || ! "$folder/bin/python" -c '' 2>/dev/null; then
    python=$(find_python "$versions")
    echo "Making $folder with $("$python" --version) ($python)"
    rm -rf "$folder"
    if command -v uv >/dev/null && uv venv --quiet --python "$python" "$folder"; then
        touch "$folder/with-uv"
    else
        "$python" -m venv "$folder"
    fi
fi

requirements=$folder/requirements.txt
: >"$requirements"
while [ $# -gt 0 ]; do
    case $1 in
        -e) echo "-e $2" >>"$requirements"; shift 2 ;;
        -g)
            # pip knows dependency groups only since 25.1.
            "$folder/bin/python" - "$2" >>"$requirements" <<'CODE'
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["dependency-groups"][sys.argv[1]], sep="\n")
CODE
            shift 2 ;;
        *) echo "$1" >>"$requirements"; shift ;;
    esac
done
if grep -qF '[bpy]' "$requirements" && [ ! -e "$folder/ready" ]; then
    echo "Installing into $folder; Blender is a download of 300 to 400 MB"
else
    echo "Installing into $folder"
fi
install -r "$requirements"
