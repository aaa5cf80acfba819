# Keeps one server: runs what its standard input says, line by line, and answers each with a line. At
# the end of the input, which also comes when whoever started us was killed, the server goes too.
#
#   start PORT      starts the server (the arguments) there; answers its process id
#   stop SIGNAL     signals it and waits for its end; answers its exit code
set -u
folder=$1
shift
pid=

# To the server, and to its children, which a stopped server cannot wake.
wake() {
    kill -CONT "$pid"
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        # pid (name) state parent ...
        rest=${line##*) }
        rest=${rest#* }
        [ "${rest%% *}" != "$pid" ] || kill -CONT "${line%% *}"
    done
} 2>/dev/null

stop() {
    ended=0
    if [ -n "$pid" ]; then
        kill "-$1" "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        ended=$?
        pid=
    fi
}

# The system sends SIGHUP to a group of processes that loses its parent while one of them is stopped.
trap '' HUP
while read -r what how; do
    case $what in
    start)
        "$@" -p "$how" >>"$folder/server.log" 2>&1 </dev/null &
        pid=$!
        echo "$pid"
        ;;
    stop)
        stop "$how"
        echo "$ended"
        ;;
    esac
done
if [ -n "$pid" ]; then
    wake
    stop QUIT
fi
rm -rf -- "$folder"
