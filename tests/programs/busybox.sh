# busybox: one static program, its own shell and applets.
# needs: busybox
b=busybox
$b sh -c 'echo hello | $0 cat | $0 grep -o ell; for i in 1 2; do echo $i; done; echo $((6*7)); (exit 5); echo $?; trap "echo bye" EXIT' $b
$b seq 5 | $b tac | $b tr '\n' ' '; echo; $b ls /nowhere; echo $?; $b printf '%03d\n' 7
seq 1000 | $b md5sum; $b awk 'BEGIN {print 2^10}'; $b sed s/a/b/ <<< cat; mkdir d; $b touch d/f
$b find d; $b cp -a d e; $b tar cf - d | $b tar tf -; echo text | $b gzip | $b zcat
$b stat -c %A d/f; $b ln -s f d/l; $b readlink d/l; $b mv e g; $b rm -r g; $b sh -c 'kill -TERM $$'
echo $?; $b timeout 1 $b sleep 9; echo $?; $b env -i A=b $b env
$b dd if=/dev/zero bs=1k count=1 2>/dev/null | $b wc -c; $b sort -r <<< $'a\nb'
$b ash -c 'set -m; sleep 100 & kill $!; wait $!; echo $?' 2>/dev/null; $b vi --help 2>&1 | head -c 0
$b sha256sum < d/f; $b test -d d; echo $?; $b expr 1 + 2; $b id -u; $b mkfifo d/p; $b stat -c %F d/p
$b xargs echo <<< 'a b'; $b yes | $b head -n 2; $b diff d/f d/f; echo $?; $b uname -s
$b nosuch 2>&1; echo $?
