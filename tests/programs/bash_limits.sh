# ulimit, umask, times, exec and recursion.
ulimit -n 77; ulimit -n; ulimit -Hn
bash -c 'ulimit -n 20; exec 30> x' 2>/dev/null; echo "fd $?"
ulimit -f 1; trap '' XFSZ; head -c 5000 /dev/zero > big 2>/dev/null; echo "file size $? $(stat -c %s big)"; 
bash -c 'trap - XFSZ; head -c 5000 /dev/zero > big2' 2>/dev/null; echo "file size $? $(stat -c %s big2)"
ulimit -f
ulimit -St 1000; ulimit -St
ulimit -c 0; ulimit -c
umask; umask 027; touch masked; mkdir maskedd; stat -c '%A %n' masked maskedd; umask -S
fib() { if (($1 < 2)); then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 7
i=0; while ((i < 20000)); do ((i++)); done; echo $i
exec bash -c 'echo "exec $0 $1"; exit 4' zero one
