#!/usr/bin/env bash
# Make a Debian folder with Blender, a screen without a monitor and a mouse without a hand, for
# the tests in tests/window: debian_blender.sh SUITE FOLDER. As root; about 90 seconds and 1.6 GB.
# Suite sid has Blender 5.2, trixie 4.3. A folder that is complete is left alone.
set -euo pipefail

suite=$1
folder=$2
packages="blender xvfb xauth libegl1 libgl1-mesa-dri python3-numpy python3-requests python3-zstandard python3-cattr python3-attr xdotool imagemagick"

mount_into() {
    mountpoint -q "$folder/$1" || mount --rbind "/$1" "$folder/$1"
}

if [ "$(id -u)" != 0 ]; then
    echo "$0 needs root for chroot." >&2
    exit 1
fi
if [ ! -e "$folder/complete" ]; then
    if ! command -v debootstrap >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap
    fi
    if [ ! -x "$folder/usr/bin/apt-get" ]; then
        debootstrap --variant=minbase "$suite" "$folder"
    fi
    mount_into proc
    mount_into dev
    DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install -q -y --no-install-recommends $packages
    touch "$folder/complete"
fi
mount_into proc
mount_into dev
chroot "$folder" blender --version | head -n 1
