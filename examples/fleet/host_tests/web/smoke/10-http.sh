#!/bin/sh
. "$TOTO_LIB/tap.sh"
cmd_ok "nginx runs" systemctl is-active --quiet nginx.service
is "$(http_status http://127.0.0.1/health)" 200 "the health page answers with 200"
