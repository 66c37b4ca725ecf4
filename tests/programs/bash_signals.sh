# Traps, deaths by signal and the statuses that a shell makes of them.
# varies: (?<=: ) *\d+ +(?=[A-Z])
trap 'echo exit-trap' EXIT
trap 'echo usr1' USR1
trap 'echo term' TERM
kill -USR1 $$
kill -TERM $$
bash -c 'kill -KILL $$'; echo "kill $?"
for s in HUP INT QUIT ILL ABRT FPE USR2 SEGV PIPE ALRM TERM BUS SYS VTALRM PROF XCPU; do
    bash -c "ulimit -c 0; trap - $s; kill -$s \$\$" > /dev/null; echo "$s $?"
done
bash -c 'trap "" TERM; kill -TERM $$; echo ignored'
bash -c 'trap "echo in-child; exit 5" INT; kill -INT $$; sleep 1'; echo "int $?"
started() { until [ "$(cat "/proc/$1/comm")" = "$2" ]; do sleep 0.05; done; }
sleep 100 & p=$!; started $p sleep; kill $p; wait $p; echo "wait $?"
sleep 100 & p=$!; started $p sleep; kill -9 $p; wait $p; echo "wait $?"
trap "echo usr1" USR1; sleep 100 & w=$!; started $w sleep
bash -c "sleep 0.3; kill -USR1 $$" & wait $w; echo "interrupted wait $?"; kill $w; wait $w; echo "$?"
bash -c 'trap "echo child" CHLD; set -m; true & wait' 2> /dev/null  # bash says "Done" or not, as it sees the end
trap 'echo err $?' ERR; false; trap - ERR
trap 'echo debug' DEBUG; :; trap - DEBUG
trap
kill -l 9 15 137
kill -0 $$ && echo alive
kill -0 999999999 2>/dev/null || echo dead
timeout 0.2 sleep 5; echo "timeout $?"
timeout -s KILL 0.2 sleep 5; echo "timeout -s KILL $?"
timeout -k 0.2 3 bash -c 'trap "" TERM; sleep 5; sleep 5'; echo "timeout -k $?"
timeout 20 sh -c 'exit 6'; echo "timeout passes $?"
timeout --preserve-status 0.2 sleep 5; echo "preserve $?"
env --ignore-signal=USR1 bash -c 'kill -USR1 $$; echo survived'
nohup bash -c 'kill -HUP $$; echo survived hup' 2>/dev/null
