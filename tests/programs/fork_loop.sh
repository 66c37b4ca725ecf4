# Many short processes, and deep trees of them.
for ((i = 0; i < 60; i++)); do /bin/true || echo "failed $i"; done
for ((i = 0; i < 60; i++)); do (:); done
seq 40 | xargs -n 1 -P 4 sh -c 'echo "$0"' | sort -n | paste -sd' '
nest() { if (($1)); then ( nest $(($1 - 1)) ); else echo bottom $BASH_SUBSHELL; fi; }
nest 25
x=0; for i in $(seq 30); do x=$((x + $(echo "$i"))); done; echo $x
for i in 1 2 3 4 5 6; do (sleep 0.$i; echo "$i" >> order) & done; wait; sort order > sorted; mv sorted order; cat order
