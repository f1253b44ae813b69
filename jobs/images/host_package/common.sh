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

# Paths that this package diverts now.
diverted() {
    dpkg-divert --list "*" | sed -n "s|^diversion of \(.*\) to $store.* by $package\$|\1|p"
}

undivert() {
    dpkg-divert --quiet --package "$package" --rename --remove "$1"
    rmdir --ignore-fail-on-non-empty --parents "$store${1%/*}" 2>/dev/null || :
}

running() {
    [ -d /run/systemd/system ]
}
