
# Each of the host's files stands in the place of whatever else is or will be there: another package's file, or one that
# somebody made by hand, waits under $store and comes back when the host no longer has its own.
case $1 in
    install | upgrade)
        held=$(diverted)
        files | while read -r _ _ path; do
            [ -n "$path" ] || continue
            if printf '%s\n' "$held" | grep -qxF -e "$path"; then continue; fi
            mkdir -p "$store${path%/*}"
            dpkg-divert --quiet --package "$package" --rename --divert "$store$path" --add "$path"
        done
        ;;
esac
exit 0
