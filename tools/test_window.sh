#!/usr/bin/env bash
# The tests of tests/window: the extension in installed Blenders, headless and with a window, a
# mouse and a keyboard, and pip's Blender on a system that has nothing of a desktop; used by the
# Makefile. Makes Debian folders for them, as root, and says loudly what could not be tested where
# they cannot be made.
#
#   tools/test_window.sh [--folders] PYTHON [FOLDER]
#       FOLDER keeps them, build/debian otherwise; with --folders they are made, and that is all
#
# OBJAVERSE_TEST_BLENDER_ROOTS names folders that are there already, colon-separated, and
# OBJAVERSE_TEST_BARE_ROOT the one without a desktop.
set -uo pipefail
cd "$(dirname "$0")/.."
only_folders=
if [ "$1" = --folders ]; then
    only_folders=yes
    shift
fi
python=$1
folder=${2:-build/debian}
minutes=10 # that one folder may take

second=
# The folders stay for the next time; a mount in them would be in the way of removing them.
clean() {
    # What runs in the background hears no Ctrl-C.
    [ -z "$second" ] || kill "$second" 2>/dev/null
    for mounted in "$folder"/*/proc; do
        ! mountpoint -q "$mounted" || umount "$mounted"
    done
}
trap clean EXIT

roots=${OBJAVERSE_TEST_BLENDER_ROOTS:-}
bare=${OBJAVERSE_TEST_BARE_ROOT:-}
if [ -z "$roots$bare" ]; then
    if [ "$(id -u)" = 0 ] && ! command -v debootstrap >/dev/null && command -v apt-get >/dev/null; then
        tools/system_packages.sh debootstrap
    fi
    for suite in sid trixie; do
        mkdir -p "$folder"
        if timeout $((minutes * 60)) tools/debian_folder.sh blender $suite "$folder/$suite"; then
            roots=${roots:+$roots:}$(cd "$folder/$suite" && pwd)
        else
            echo "SKIPPED: Blender of Debian $suite is not tested; the reason is above."
        fi
    done
    # The suite whose Python is ours: it gets our packages.
    case $("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
        3.13) suite=trixie ;;
        *) suite=bookworm ;;
    esac
    if timeout $((minutes * 60)) tools/debian_folder.sh bare $suite "$folder/bare-$suite"; then
        bare=$(cd "$folder/bare-$suite" && pwd)
    else
        echo "SKIPPED: a system without a desktop is not tested; the reason is above."
    fi
fi
if [ -z "$roots" ]; then
    echo "SKIPPED: the extension is tested in no installed Blender and in no window."
fi
if [ -n "$only_folders" ] || [ -z "$roots$bare" ]; then
    exit 0
fi
log=$(mktemp)
run() {
    OBJAVERSE_TEST_BLENDER_ROOTS=$roots OBJAVERSE_TEST_BARE_ROOT=$bare "$python" -m pytest --durations=10 "$@"
}
# Much of the time a window waits for a hand: two at once take little more than the longer one. What
# is not named here goes to the second; each takes about half of the time.
first=()
for name in installed looking results scene_cameras second_time window; do
    first+=("tests/window/test_$name.py")
done
beside=$(mktemp)
run tests/window "${first[@]/#/--ignore=}" >"$beside" 2>&1 &
second=$!
run "${first[@]}" | tee "$log"
status=${PIPESTATUS[0]}
wait "$second"
other=$?
second=
[ "$other" -le "$status" ] || status=$other
tee -a "$log" <"$beside"
rm -f "$beside"
# A machine that stalls for seconds loses clicks; what fails twice is no accident. The tests of one
# file go on in one window, so that a file is the least that can be done again.
if [ "$status" = 1 ]; then
    mapfile -t files < <(sed -nE 's/^(FAILED|ERROR) (tests\/window\/[a-z_]+\.py).*/\2/p' "$log" | sort -u)
    echo "AGAIN: something failed; once more, alone: ${files[*]}."
    run "${files[@]}" | tee -a "$log"
    status=${PIPESTATUS[0]}
    [ "$status" = 0 ] && echo "SKIPPED: the first failure of the window tests in ${files[*]}, which passed the second time."
fi
grep -o 'NOT TESTED.*' "$log" | sort -u | sed 's/^NOT TESTED/SKIPPED: not tested/'
rm -f "$log"
exit "$status"
