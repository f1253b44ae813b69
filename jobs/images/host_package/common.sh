#!/bin/sh
# @package@ @version@, made by toto: @script@
set -e
LC_ALL=C
export LC_ALL
package=@package@
store=/var/lib/toto/diverted            # where other packages' files stand while this host has its own in their place
ours=/var/lib/toto/enabled              # units that were not enabled before toto enabled them
leaving=/run/toto/leaving               # units of the version that leaves

# The host's files: mode, owner, path.
files() {
    cat <<'TOTO-FILES'
@files@
TOTO-FILES
}

# The units that the host enables.
units() {
    cat <<'TOTO-UNITS'
@units@
TOTO-UNITS
}

# What is diverted: the path of each file, and its other name where Debian's merged /usr gives it two, since a package may
# own it under that one. Where the diverted file waits, both names lead to the same place too.
paths() {
    files | while read -r _ _ path; do
        case $path in
            "") continue ;;
            /usr/bin/* | /usr/sbin/* | /usr/lib/* | /usr/lib32/* | /usr/lib64/* | /usr/libx32/*)
                printf '%s\n' "${path#/usr}"
                ;;
        esac
        printf '%s\n' "$path"
    done
}

# Paths that this package diverts now.
diverted() {
    dpkg-divert --list "*" | sed -n "s|^diversion of \(.*\) to $store.* by $package\$|\1|p"
}

undivert() {
    # dpkg removes a folder that is empty but for what waits elsewhere, when it knows the folder by its other name.
    if [ -e "$store$1" ] || [ -L "$store$1" ]; then mkdir -p "${1%/*}/"; fi
    dpkg-divert --quiet --package "$package" --rename --remove "$1"
    rmdir --ignore-fail-on-non-empty --parents "$store${1%/*}" 2>/dev/null || :
}

listed() {
    printf '%s\n' "$2" | grep -qxF -e "$1"
}

running() {
    [ -d /run/systemd/system ]
}
