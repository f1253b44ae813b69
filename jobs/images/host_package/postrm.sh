
case $1 in
    remove | disappear | abort-install)
        diverted | while read -r path; do undivert "$path"; done
        for name in bin sbin lib lib32 lib64 libx32; do
            [ ! -L "$store/$name" ] || rm -f "${store:?}/$name"
        done
        find "$store" -depth -type d -empty -delete 2>/dev/null || :
        if command -v systemctl >/dev/null; then
            if running; then systemctl daemon-reload; fi
            if [ -s "$leaving" ]; then
                while read -r unit; do
                    if grep -qxF -e "$unit" "$ours" 2>/dev/null; then
                        if running; then systemctl --quiet stop "$unit" || :; fi
                        systemctl --quiet disable "$unit" || :
                    elif running; then
                        systemctl try-restart "$unit" || :
                    fi
                done <"$leaving"
            fi
        fi
        rm -f "$leaving" "$ours"
        ;;
esac
exit 0
