#!/bin/sh
# The page must be served by the machine alone: no network is there.
. "$TOTO_LIB/tap.sh"
cmd_ok "nginx accepts its configuration" nginx -t -q
cmd_ok "nginx runs" systemctl is-active --quiet nginx.service
is "$(http_status http://127.0.0.1/)" 200 "port 80 answers with 200"
is "$(http_status http://127.0.0.1/health)" 200 "the health page answers with 200"
is "$(http_status http://127.0.0.1/no-such-page)" 404 "what is not there is not found"
