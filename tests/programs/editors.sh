# vim -es, ed, less without a terminal, and tmux with a server of its own.
# needs: vim ed less tmux bc sqlite3
seq 10 > f; printf '%s\n' '3d' '1,2s/^/x/' '$a' 'last' '.' 'w' 'q' | ed -s f; cat f
printf 'H\nz\nq\n' | ed f; echo $?
vim -N -u NONE -i NONE -es -c '%s/x/y/' -c 'g/5/d' -c 'normal Goadded' -c 'wq' f; echo $?; cat f
vim -N -u NONE -i NONE -es -c 'set nomore' -c 'redir >> out' -c 'echo strftime("%Y", 0) system("echo sh")' -c '!echo bang >> f' -c 'r !seq 3' -c 'w copy' -c 'cq' f
echo $?; cat copy; vi -N -u NONE -i NONE -n -es -c 'x' f; echo $?; cat out | tr -d '\0'; ls -A
less f; less -N f | head -2; cat f | less | wc -l; more f | wc -l; LESSOPEN='|cat %s | tac' less f | head -1
printf '%s\n' 'define f(n) {' 'if (n < 2) return (1);' 'return (n * f(n - 1));' '}' 'f(20)' '2^64; 10/3; scale=5; 10/3' | bc
bc -l <<< 'e(1)'
sqlite3 x.db 'create table t (a, b); insert into t values (1, "x"), (2, "y"); select sum(a), group_concat(b) from t;' 2>&1
sqlite3 -json x.db 'select * from t'; sqlite3 x.db 'pragma integrity_check; vacuum' .dump | tail -3
rm x.db
