# id, env, nice, tty, uname, nproc, tail -f, tee, timeout, mkfifo, nohup, stdbuf, ps and /proc.
id -u; id -g; id -un; whoami; groups; id nobody | sed 's/ groups.*//'; logname 2>/dev/null
getent passwd 0; getent group 0; getent hosts localhost | awk '{print $2}'
uname -s; uname -m; uname -o; arch; hostname > /dev/null; echo $?; nproc > /dev/null; echo $?
pwd -P | sed 's,.*/,,'; tty; echo $?
nice; nice -n 5 nice; nice -n 5 sh -c 'cut -d" " -f19 /proc/self/stat'; renice -n 3 $$ > /dev/null; nice
env -i A=1 B=2 env; printenv HOME > /dev/null; echo $?; printenv NOTHING; echo $?
tail -f --pid=$$ /dev/null & t=$!; kill $t; wait $t 2>/dev/null; echo "tail $?"
(for i in 1 2 3; do sleep 0.3; echo line $i >> log; done) & touch log; timeout 4 tail -f -n +1 log
echo "tail -f $?"; wait
(sleep 0.3; echo end) | tee -a t1 t2; cat t1 t2; echo x | tee /dev/full; echo $?
mkfifo p; (echo through > p) & timeout 5 cat p; wait; timeout 0.3 cat p; echo "no writer $?"
nohup echo kept; nohup sh -c 'echo out; echo err >&2' > n 2>&1; cat n
stdbuf -o0 echo unbuffered; stdbuf -oL sh -c 'echo line'; sleep 0.1; sleep x; echo $?; true x
false x; echo $?; yes x | head -2
ps -o comm= -p $$; ps -o args= -p $$; ps -o stat= -p $$ | cut -c1; ps -o ppid= -p $$ | grep -c .
ps --no-headers -C nothing; echo $?
cat /proc/self/comm; tr '\0' ' ' < /proc/self/cmdline; echo; readlink /proc/self/exe | sed 's,.*/,,'
readlink /proc/self/cwd | sed 's,.*/,,'; readlink /proc/self/root; readlink /proc/$$/fd/0
ls /proc/self/fd | wc -l
grep -E '^(Name|Umask|Threads|NoNewPrivs)' /proc/self/status; cut -d' ' -f2,3 /proc/self/stat
tr '\0' '\n' < /proc/self/environ | grep -c ^PATH=; grep -c '\[stack\]' /proc/self/maps
for size in 5 5000; do  # a long environment of another process comes another way
    env -i A="$(printf "%0${size}d" 7)" sleep 20 &
    until grep -q sleep /proc/$!/comm; do sleep 0.05; done
    tr '\0' '\n' < /proc/$!/environ | wc
    kill $!
done
cat /proc/sys/kernel/ostype; head -c 0 /proc/meminfo; grep -c ^processor /proc/cpuinfo > /dev/null
echo $?; cat /proc/uptime > /dev/null; echo $?
echo /dev/std*
ls -l /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty | awk '{print $1, $5, $6, $NF}'
echo x > /dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 100 /dev/urandom | wc -c
cat /dev/null; echo to-stderr > /dev/stderr; echo from-fd | cat /dev/fd/0; : < /dev/tty 2>/dev/null
echo $?
free > /dev/null; echo $?; uptime > /dev/null; echo $?; vmstat > /dev/null 2>&1; who > /dev/null
echo $?; mount > /dev/null; echo $?; getconf PAGESIZE; getconf ARG_MAX > /dev/null; echo $?
locale | head -1; ldd /bin/true | grep -c libc; pidof nothing; echo $?
setsid -w sh -c 'test "$(ps -o sid= -p $$)" -eq $$ && echo own session'
sh -c 'echo $PPID' | grep -qx $$ && echo parent; flock lock echo locked
flock -n lock sh -c 'flock -n lock true; echo $?'
(umask 077; touch u; stat -c %a u); chroot . true 2>/dev/null; echo $?
kill -l | head -1 | cut -c1-10; logger x 2>/dev/null
script -qc 'echo in a pty; tty | cut -c1-9' /dev/null < /dev/null
prlimit --nofile=50 sh -c 'ulimit -n'
{ time -p true; } 2>&1 | wc -l; times > /dev/null; echo $SECONDS | grep -c '^[0-9]'
ionice true; echo $?; taskset -p $$ > /dev/null; echo $?; chrt -p $$ > /dev/null; echo $?
lscpu > /dev/null; echo $?; namei -m /bin | tail -1 | cut -c1-4
