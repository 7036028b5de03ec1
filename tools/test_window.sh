#!/usr/bin/env bash
# The tests of tests/window: the extension in installed Blenders, headless and with a window, a
# mouse and a keyboard; used by the Makefile. Makes Debian folders for them, as root, and says
# loudly what could not be tested where they cannot be made.
#
#   tools/test_window.sh PYTHON [FOLDER]     FOLDER keeps them, build/debian otherwise
#
# OBJAVERSE_TEST_BLENDER_ROOTS names folders that are there already, colon-separated.
set -uo pipefail
cd "$(dirname "$0")/.."
python=$1
folder=${2:-build/debian}
minutes=10 # that one folder may take

# The folders stay for the next time; a mount in them would be in the way of removing them.
unmount() {
    for mounted in "$folder"/*/proc; do
        ! mountpoint -q "$mounted" || umount "$mounted"
    done
}
trap unmount EXIT

roots=${OBJAVERSE_TEST_BLENDER_ROOTS:-}
if [ -z "$roots" ]; then
    if [ "$(id -u)" = 0 ] && ! command -v debootstrap >/dev/null && command -v apt-get >/dev/null; then
        apt-get install -q -y --no-install-recommends debootstrap \
            || { apt-get update -q && apt-get install -q -y --no-install-recommends debootstrap; }
    fi
    for suite in sid trixie; do
        mkdir -p "$folder"
        if timeout $((minutes * 60)) tools/debian_blender.sh $suite "$folder/$suite"; then
            roots=${roots:+$roots:}$(cd "$folder/$suite" && pwd)
        else
            echo "SKIPPED: Blender of Debian $suite is not tested; the reason is above."
        fi
    done
fi
if [ -z "$roots" ]; then
    echo "SKIPPED: the extension is tested in no installed Blender and in no window."
    exit 0
fi
log=$(mktemp)
run() {
    OBJAVERSE_TEST_BLENDER_ROOTS=$roots "$python" -m pytest tests/window | tee "$log"
    return "${PIPESTATUS[0]}"
}
run
status=$?
# A machine that stalls for seconds loses clicks. What fails twice is no accident.
if [ "$status" = 1 ]; then
    echo "AGAIN: something failed; once more, from the start."
    run
    status=$?
    [ "$status" = 0 ] && echo "SKIPPED: the first failure of the window tests, which passed the second time."
fi
grep -o 'NOT TESTED.*' "$log" | sort -u | sed 's/^NOT TESTED/SKIPPED: not tested/'
rm -f "$log"
exit "$status"
