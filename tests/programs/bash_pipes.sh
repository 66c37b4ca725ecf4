# Pipelines, subshells, process substitution, coproc and redirections.
printf 'mi\ntou\nmitou\n' > file
cat file | grep mitou
cat file | grep -v mitou | sort -r | tee copy | wc -l
cat copy
true | false | sh -c 'exit 7' | true; echo "${PIPESTATUS[@]}"
set -o pipefail; sh -c 'exit 9' | true; echo "pipefail $?"; set +o pipefail
diff <(seq 1 5) <(seq 2 6); echo "diff $?"
tee >(wc -c > count) < file > /dev/null; until [ -s count ]; do sleep 0.1; done; cat count
coproc up { while read -r line; do echo "${line^^}"; done; }
echo hello >&"${up[1]}"; read -r answer <&"${up[0]}"; echo "$answer"
exec {w}>&"${up[1]}"; eval "exec ${up[1]}>&-"; exec {w}>&-
wait
exec 3> three 4<> four; echo to-three >&3; echo to-four >&4; exec 3>&- 4>&-
cat three four
exec 5< file; read -r a <&5; read -r b <&5; echo "$a-$b"; exec 5<&-
{ echo out; echo err >&2; } 2>&1 | sort
{ echo out; echo err >&2; } 2>/dev/null
echo append >> three; cat three
ls nowhere 2> errors; echo "ls $?"; cat errors
set -C; echo no > three; echo "noclobber $?"; echo yes >| three; cat three; set +C
x=$(echo inner; exit 5); echo "$x $?"
( cd /; pwd ); pwd | sed 's,.*/,,'
echo $(( $(seq 100 | paste -sd+) ))
yes | head -3
yes > /dev/full; echo "full $?"
read -t 0.2 line < <(sleep 2); echo "read -t $([ $? -gt 128 ] && echo timeout)"
read -n 3 x <<< abcdef; echo "$x"
read -d : x <<< "a b:c"; echo "$x"
for i in 1 2 3; do echo "$i"; done | while read -r n; do echo "got $n"; done
mkfifo pipe; (seq 3 > pipe) & cat < pipe; wait; echo "fifo $?"
cat < nowhere; echo "open $?"
echo {1..2000} | xargs -n 100 | wc
seq 1 200 | (head -1; cat > /dev/null)
exec 6>&1 1> redirected; echo hidden; exec 1>&6 6>&-; cat redirected
