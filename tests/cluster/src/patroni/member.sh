# Runs Patroni, "$@", in the folder $1. Patroni's server outlives it, so at the end, a SIGQUIT, both are killed:
# Patroni first, which would start the server again.
folder=$1
shift

of_parent() {
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        # pid (name) state parent ...
        rest=${line##*) }
        rest=${rest#* }
        [ "${rest%% *}" != "$1" ] || echo "${line%% *}"
    done
}

end() {
    kill -9 "$patroni" 2>/dev/null
    read -r server <"$folder/data/postmaster.pid" || exit
    # A file that a killed server left may have the number of another process.
    [ "$(readlink "/proc/$server/cwd")" = "$folder/data" ] || exit
    kill -STOP "$server"
    kill -9 $(of_parent "$server") "$server"
    exit
} 2>/dev/null

trap end QUIT
# The keeper adds `-p PORT`, which is in the configuration already.
"$1" "$folder/patroni.yml" </dev/null &
patroni=$!
wait "$patroni"
