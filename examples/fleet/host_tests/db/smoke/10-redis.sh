#!/bin/sh
. "$TOTO_LIB/tap.sh"
is "$(redis-cli ping)" PONG "redis answers"
