
# Each of the host's files stands in the place of whatever else is or will be there: another package's file, or one that
# somebody made by hand, waits under $store and comes back when the host no longer has its own.
case $1 in
    install | upgrade)
        held=$(diverted)
        paths | while read -r path; do
            if listed "$path" "$held"; then continue; fi
            case $path in
                /usr/*) ;;
                /bin/* | /sbin/* | /lib*/*)
                    top=${path#/}
                    top=${top%%/*}
                    mkdir -p "$store/usr/$top"
                    [ -L "$store/$top" ] || ln -s "usr/$top" "$store/$top"
                    ;;
            esac
            mkdir -p "$store${path%/*}"
            dpkg-divert --quiet --package "$package" --rename --divert "$store$path" --add "$path"
        done
        ;;
esac
exit 0
