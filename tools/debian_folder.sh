#!/usr/bin/env bash
# A Debian of its own in a folder, for tests/window.
#
#   tools/debian_folder.sh blender SUITE FOLDER
#       with that suite's Blender and what it takes to try an extension in it: a screen without a
#       monitor, a mouse, photographs; about 2 GB. sid has Blender 5.2, trixie 4.3
#   tools/debian_folder.sh bare SUITE FOLDER
#       with make and Python and nothing of a desktop; 0.3 GB. trixie has Python 3.13, bookworm 3.11
#
# Needs root and debootstrap, and some minutes; what is there already is kept. /proc is mounted in
# it: unmount that before removing the folder.
set -euo pipefail

packages=()
wanted=()
case "${1-} $#" in
    "blender 3")
        packages=(
            blender xvfb xauth xdotool imagemagick libegl1 libgl1-mesa-dri
            python3-numpy python3-requests
            # Blender's own add-ons import these; Debian only suggests them.
            python3-zstandard python3-cattr python3-attr
        )
        wanted=(blender Xvfb xdotool import) ;;
    "bare 3")
        packages=(make python3 python3-venv ca-certificates)
        wanted=(make python3) ;;
    *)
        sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
        exit 2 ;;
esac
suite=$2
root=$3

fail() {
    echo "No Debian $suite in $root: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "that needs root."
mkdir -p "$root"
root=$(cd "$root" && pwd)

# Asked inside: some of these are links that lead elsewhere out here.
complete() {
    [ -x "$root/bin/sh" ] || return 1
    for program in "${wanted[@]}"; do
        chroot "$root" sh -c "command -v $program" >/dev/null || return 1
    done
}

if ! complete && { [ ! -x "$root/usr/bin/apt-get" ] || [ -d "$root/debootstrap" ]; }; then
    command -v debootstrap >/dev/null || fail "debootstrap is not installed (apt-get install debootstrap)."
    debootstrap --variant=minbase "$suite" "$root" || fail "debootstrap did not get through."
fi
if ! mountpoint -q "$root/proc"; then
    mount -t proc proc "$root/proc" || mount --bind /proc "$root/proc" \
        || fail "/proc cannot be mounted there."
fi
if ! complete; then
    get="DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends ${packages[*]}"
    # debootstrap left fresh lists of packages; after a while they are stale.
    chroot "$root" sh -c "$get || { apt-get update -q && $get; }" \
        || fail "its packages cannot be installed."
fi
chroot "$root" "${wanted[0]}" --version | head -n 1
