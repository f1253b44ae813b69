#!/bin/sh
# On the real machine, after the switch: the page that people see.
. "$TOTO_LIB/tap.sh"
is "$(http_status http://127.0.0.1/)" 200 "the page is served"
