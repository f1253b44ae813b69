
own() {
    files | while read -r mode owner path; do
        [ -n "$path" ] || continue
        if ! chown -h "$owner" "$path"; then
            echo "$package: $path: the host has no owner $owner; is its package missing?" >&2
            exit 1
        fi
        chmod "$mode" "$path"
    done
}

# The diversions of paths that this version no longer has: the file that waited comes back.
give_back() {
    wanted=$(paths)
    diverted | while read -r path; do
        listed "$path" "$wanted" || undivert "$path"
    done
}

enable_units() {
    units | while read -r unit; do
        [ -n "$unit" ] || continue
        systemctl is-enabled --quiet "$unit" 2>/dev/null && continue
        if ! systemctl --quiet enable "$unit"; then
            echo "$package: the unit $unit cannot be enabled; is its package or its file missing?" >&2
            exit 1
        fi
        mkdir -p "${ours%/*}"
        grep -qxF -e "$unit" "$ours" 2>/dev/null || printf '%s\n' "$unit" >>"$ours"
    done
}

# Units that only the leaving version had: what toto had enabled is disabled, the others stay, and are restarted with
# this version's, since their configuration may be another now.
drop_units() {
    [ -s "$leaving" ] || return 0
    sort -u "$leaving" | while read -r unit; do
        if units | grep -qxF -e "$unit"; then continue; fi
        if ! grep -qxF -e "$unit" "$ours" 2>/dev/null; then
            if systemctl cat -- "$unit" >/dev/null 2>&1; then printf '%s\n' "$unit" >>"$leaving.stay"; fi
            continue
        fi
        if running; then systemctl --quiet stop "$unit" || :; fi
        systemctl --quiet disable "$unit" || :
        { grep -vxF -e "$unit" "$ours" || :; } >"$ours.new"
        mv "$ours.new" "$ours"
    done
}

restart_units() {
    systemctl daemon-reload
    # Every unit of this version, and of the one that left: both may have read files that are different now.
    wanted=$({ units; cat "$leaving.stay" 2>/dev/null || :; } | sort -u)
    [ -n "$wanted" ] || return 0
    # shellcheck disable=SC2086 # one word each: unit names have no blanks
    systemctl reset-failed $wanted 2>/dev/null || :
    # shellcheck disable=SC2086 # as above
    systemctl restart $wanted || echo "$package: not all of its units restarted: $wanted" >&2
}

case $1 in
    configure | abort-*)
        give_back
        own
        if command -v systemctl >/dev/null; then
            if running; then systemctl daemon-reload; fi
            drop_units
            enable_units
            if running; then restart_units; fi
        fi
        rm -f "$leaving" "$leaving.stay"
        ;;
esac
exit 0
