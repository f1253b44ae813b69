# shellcheck shell=sh disable=SC2030,SC2031  # a subtest's counts are meant to stay in its subshell
# TAP for authors of tests in POSIX sh:   . "$TOTO_LIB/tap.sh"
#
#   plan N                        say at the start how many checks follow (else the plan is printed at the end)
#   ok "what" / not_ok "what"     a check that holds / does not
#   is GOT WANTED "what"          isnt GOT UNWANTED "what"
#   like TEXT PATTERN "what"      the text holds an extended regular expression (grep -E)
#   cmd_ok "what" COMMAND…        the command ends with 0; its output is shown where it does not
#   skip "what" WHY               this check cannot be made here
#   todo WHY                      the next check may fail
#   diag TEXT…                    a comment
#   subtest "what" FUNCTION ARG…  the checks of FUNCTION as one check (it runs in a subshell)
#   bail_out WHY                  nothing more makes sense: ends the test
#   skip_all WHY                  nothing of this test can be checked here: ends the test
#   done_testing                  the end is reached: prints the plan, ends the test
#   wait_for SECONDS COMMAND…     try the command every half second until it ends with 0
#   http_status URL               prints the status an http:// URL answers with, 000 for none (curl, wget, python3 or bash)
#
# A test that dies before its end is not green: without `plan`, the plan is printed only where the script ends with 0 or
# by `done_testing`; with `plan`, the missing checks are missed. The exit code is 1 where a check failed.

tap_count=0
tap_failed=0
tap_plan=
tap_todo=
tap_over=
tap_margin=${tap_margin-}

tap_say() { printf '%s%s\n' "$tap_margin" "$*"; }

tap_line() { printf '%s' "$*" | tr '\n\r' '  '; }
tap_quote() { tap_line "$*" | sed 's/#/\\#/g'; } # what TAP would read as a directive is escaped

tap_point() { # ok|not ok, description, [directive]
	tap_count=$((tap_count + 1))
	tap_tail=${3-}
	if [ -n "$tap_todo" ] && [ -z "$tap_tail" ]; then
		tap_tail=" # TODO $(tap_line "$tap_todo")"
	elif [ "$1" = 'not ok' ]; then
		tap_failed=$((tap_failed + 1))
	fi
	tap_todo=
	tap_say "$1 $tap_count - $(tap_quote "$2")$tap_tail"
	[ "$1" = ok ]
}

plan() {
	tap_plan=$1
	tap_say "1..$1"
}
ok() { tap_point ok "${1-}"; }
not_ok() { tap_point 'not ok' "${1-}" || :; }
diag() { printf '%s\n' "$*" | sed "s/^/$tap_margin# /"; }
todo() { tap_todo=${1:-later}; }
skip() { tap_point ok "${1-}" " # SKIP $(tap_line "${2-}")"; }

is() {
	if [ "$1" = "$2" ]; then tap_point ok "${3-}"; else
		tap_point 'not ok' "${3-}" || :
		diag "     got: $1"
		diag "expected: $2"
	fi
}
isnt() {
	if [ "$1" != "$2" ]; then tap_point ok "${3-}"; else
		tap_point 'not ok' "${3-}" || :
		diag "got what it must not be: $1"
	fi
}
like() {
	if printf '%s\n' "$1" | grep -qE -e "$2"; then tap_point ok "${3-}"; else
		tap_point 'not ok' "${3-}" || :
		diag "          got: $1"
		diag "does not hold: $2"
	fi
}
cmd_ok() {
	tap_what=$1
	shift
	if tap_output=$("$@" 2>&1 </dev/null); then tap_point ok "$tap_what"; else
		tap_code=$?
		tap_point 'not ok' "$tap_what" || :
		diag "exit code $tap_code of: $*"
		[ -z "$tap_output" ] || diag "$(printf '%s\n' "$tap_output" | tail -n 50)"
	fi
}
subtest() {
	tap_what=$1
	shift
	tap_say "# Subtest: $(tap_quote "$tap_what")"
	case $- in *e*) tap_flag=-e ;; *) tap_flag=+e ;; esac
	set +e
	(
		tap_margin="$tap_margin    " tap_count=0 tap_failed=0 tap_plan='' tap_todo='' tap_over=''
		trap tap_at_exit EXIT
		set "$tap_flag"
		"$@"
		tap_code=$?
		[ "$tap_code" -eq 0 ] || [ "$tap_count" -gt 0 ] || exit "$tap_code"
		done_testing
	)
	tap_code=$?
	set "$tap_flag"
	if [ "$tap_code" -eq 0 ]; then tap_point ok "$tap_what"; else tap_point 'not ok' "$tap_what" || :; fi
}
bail_out() {
	tap_over=1
	tap_say "Bail out! $(tap_line "$@")"
	exit 255
}
skip_all() {
	tap_over=1
	tap_say "1..0 # SKIP $(tap_line "$@")"
	exit 0
}
done_testing() {
	[ -n "$tap_plan" ] || tap_say "1..$tap_count"
	tap_over=1
	[ "$tap_failed" -eq 0 ] || exit 1
	[ -z "$tap_plan" ] || [ "$tap_plan" -eq "$tap_count" ] || exit 1
	exit 0
}
tap_at_exit() {
	tap_code=$?
	[ -z "$tap_over" ] || exit "$tap_code"
	if [ "$tap_code" -ne 0 ] || [ "$tap_count" -eq 0 ]; then
		diag "the test ended with exit code $tap_code before its end, after $tap_count checks"
		[ "$tap_code" -ne 0 ] || exit 1
		exit "$tap_code"
	fi
	done_testing
}
trap tap_at_exit EXIT

wait_for() {
	tap_until=$(($(tap_now) + $1))
	shift
	until "$@" >/dev/null 2>&1 </dev/null; do
		[ "$(tap_now)" -lt "$tap_until" ] || return 1
		sleep 0.5
	done
}
tap_now() { # seconds since boot: setting the clock does not disturb it
	read -r tap_up _ </proc/uptime
	echo "${tap_up%.*}"
}
http_status() {
	if command -v curl >/dev/null 2>&1; then
		curl -sS -o /dev/null -m 10 -w '%{http_code}\n' "$1" 2>/dev/null || :
		return 0
	fi
	if command -v python3 >/dev/null 2>&1; then
		tap_status=$(python3 -I -c '
import sys, urllib.error, urllib.request
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given): return None
try:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
    print(opener.open(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except Exception:
    print("000")' "$1")
	elif command -v bash >/dev/null 2>&1; then
		tap_rest=${1#http://}
		tap_host=${tap_rest%%/*}
		case $tap_rest in */*) tap_path=/${tap_rest#*/} ;; *) tap_path=/ ;; esac
		case $tap_host in *:*) tap_port=${tap_host##*:} ;; *) tap_port=80 ;; esac
		# shellcheck disable=SC2016  # bash reads it, not this shell
		tap_status=$(timeout 10 bash -c '
exec 3<>"/dev/tcp/$1/$2" || exit
printf "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n" "$3" "$4" >&3
read -r _ status _ <&3 && echo "$status"' tap "${tap_host%%:*}" "$tap_port" "$tap_path" "$tap_host" 2>/dev/null) || :
	else
		tap_status=$(wget -S -T 10 -O /dev/null "$1" 2>&1 | sed -n 's/^ *HTTP\/[0-9.]* \([0-9]*\).*/\1/p' | tail -n 1)
	fi
	echo "${tap_status:-000}"
}
