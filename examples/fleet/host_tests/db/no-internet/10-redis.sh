#!/bin/sh
. "$TOTO_LIB/tap.sh"
cmd_ok "redis-server runs" systemctl is-active --quiet redis-server.service
wait_for 20 redis-cli ping
is "$(redis-cli ping)" PONG "it answers"
is "$(redis-cli set toto works)" OK "it takes a value"
is "$(redis-cli get toto)" works "and gives it back"
