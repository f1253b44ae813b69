
# The next version, or the next to clean up, restarts or disables what this one had.
mkdir -p "${leaving%/*}"
units | grep . >>"$leaving" || :
exit 0
