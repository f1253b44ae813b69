#!/bin/sh
. "$TOTO_LIB/tap.sh"
cmd_ok "redis-server runs" systemctl is-active --quiet redis-server.service
is "$(redis-cli config get appendonly | tail -n 1)" yes "what it keeps survives a restart"
