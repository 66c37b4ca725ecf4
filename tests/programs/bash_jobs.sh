# Job control without a terminal: set -m, jobs, fg, bg, wait -n, kill %n, stop and continue.
set -m
stopped() { until [ "$(jobs -s | wc -l)" = "$1" ]; do sleep 0.05; done; }
started() { until [ "$(cat "/proc/$1/comm")" = "$2" ]; do sleep 0.05; done; }
sleep 100 & started $! sleep
jobs
kill -STOP %1; stopped 1; jobs
kill -CONT %1; stopped 0; jobs
kill %1; wait %1; echo "killed $?"
(sleep 0.2; exit 3) & (sleep 2; exit 4) &
wait -n; echo "first $?"; wait -n; echo "second $?"; wait -n; echo "none $?"
bash -c 'kill -STOP $BASHPID; echo resumed; exit 8' & 
stopped 1; jobs -s | sed 's/ *$//'
fg %1; echo "fg $?"
bash -c 'kill -STOP $BASHPID; echo resumed; exit 9' &
stopped 1; bg %1; wait $!; echo "bg $?"
# A job stopped in the foreground gives the shell its prompt back, with 128+SIGSTOP.
bash -c 'kill -TSTP $$; echo continued; exit 11'; echo "stopped $?"; fg; echo "fg $?"
sleep 50 & sleep 51 & sleep 52 & started $! sleep
jobs -r | wc -l
disown %2
jobs | sed 's/^\[\(.\)\]./\1/'
kill %1; wait %1; kill %3; wait %3; kill %2 2>/dev/null || echo "no job $?"
# Each job is its own process group, led by its first process.
sleep 30 | sleep 30 & started $! sleep
p=$(jobs -p | tail -1); [ "$(ps -o pgid= -p "$p" | tr -d ' ')" = "$p" ] && echo leader
kill -- -"$p"; wait $!; echo "group $?"
set +m
sleep 30 & p=$!; started $p sleep
[ "$(ps -o pgid= -p $p | tr -d ' ')" = "$(ps -o pgid= -p $$ | tr -d ' ')" ] && echo same group
kill $p; wait $p; echo $?
for p in $(ps -o pid=,args= --ppid $$ | awk '/sleep 51/ {print $1}'); do kill "$p"; done
