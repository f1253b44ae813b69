#!/bin/sh
# With a way out: the machine has an address and a route.
. "$TOTO_LIB/tap.sh"
cmd_ok "there is a default route" sh -c 'ip route show default | grep -q .'
is "$(http_status http://127.0.0.1/)" 200 "the page is still served"
