#!/bin/sh
# Holds for every host of the fleet.
. "$TOTO_LIB/tap.sh"
cmd_ok "the hostname is that of the fleet" test "$(hostname)" = "$TOTO_HOST"
cmd_ok "the message of the day is toto's" grep -q toto /etc/motd
