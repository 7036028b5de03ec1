#!/bin/sh
# Install packages of the system, as root or through a sudo that asks nothing. Where that cannot be,
# end with the line to type.
#
#   tools/system_packages.sh PACKAGE ...
set -eu

if [ $# = 0 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if command -v apt-get >/dev/null; then
    manager=apt-get
    line="apt-get install -y --no-install-recommends $*"
elif command -v dnf >/dev/null; then
    manager=dnf
    line="dnf install -y $*"
else
    echo "Install these with the system's package manager, then try again: $*" >&2
    exit 1
fi

if [ "$(id -u)" = 0 ]; then
    sudo=
    typed=$line
elif sudo -n true 2>/dev/null; then
    sudo="sudo -n"
    typed="sudo $line"
else
    echo "Packages of the system are missing. Type this, then try again:" >&2
    echo "sudo $line" >&2
    exit 1
fi

echo "=== Installing: $*"
# One at a time: they would be in each other's way.
if command -v flock >/dev/null; then
    exec 9<"$0"
    flock 9
fi
# Without fresh lists a container's apt knows no package.
if [ $manager = apt-get ]; then
    $sudo apt-get update -q 9<&- || true
fi
if ! $sudo env DEBIAN_FRONTEND=noninteractive $line 9<&-; then
    echo "That did not work. Type this, then try again:" >&2
    echo "$typed" >&2
    exit 1
fi
