# needs: awk free fuser killall lsof pgrep pidof pkill pmap prtstat ps pstree pwdx setsid sysctl taskset top uptime w
# timeout: 120
# What the tools of procps, psmisc, util-linux and lsof read of /proc.
set -u
export LC_ALL=C
title() { echo "== $*"; }

mkdir here && cd here
export MARK=seen
exec 7>written 8</etc/passwd
bash -c 'exec -a napper sleep 300' &
nap=$!
trap 'kill $nap 2>/dev/null' EXIT
while [ "$(tr '\0' ' ' < /proc/$nap/cmdline)" != 'napper 300 ' ]; do sleep 0.1; done
sleep 0.3

title ps
ps -p $nap -o comm=,stat=,nlwp=,ni=,pri=,cls=,tty=,args=
ps -p $nap -o ppid= | grep -cx " *$$"
ps -p $nap -o pid=,sid=,pgid= | awk -v p=$nap '{print ($1 == p), ($2 > 1), ($3 > 1)}'
ps e -p $nap -o args= | grep -o 'MARK=seen'
ps -T -p $nap -o spid= | grep -cx " *$nap"
ps -L -p $nap -o lwp=,nlwp= | awk -v p=$nap '{print ($1 == p), $2}'
ps -p $nap -o user= | grep -cx "$(id -un)"
ps -p $nap -o pending=,blocked=,caught=
ps -p $nap -o etimes= | awk '{print ($1 < 100)}'
ps -C sleep -o pid= | grep -cx " *$nap"
ps -p 99999999 -o pid=; echo $?

title pgrep
pgrep -P $$ -x sleep | grep -cx $nap
pgrep -P $$ -f 'napper 300' | grep -cx $nap
pgrep -P $$ -a sleep | sed "s/^$nap/PID/"
pidof sleep | tr ' ' '\n' | grep -cx $nap
pwdx $nap | sed "s/^$nap/PID/; s|: .*/|: |"

title trees
pstree $$ | head -1 | sed 's/^[a-z.-]*//; s/---pstree.*//; s/-+-.*sleep/ and sleep/'
prtstat $nap | sed -n '1p' | tr -s ' \t' ' '
prtstat -r $nap | awk -F: '/^ *(pid|comm|state|ppid|num_threads)/{gsub(" ", ""); print $1}' | tr '\n' ' '

title files
pmap $nap | awk 'NR == 1 {print $2, $3} NR > 1 && $4 ~ /^(sleep|libc.so.6|ld-linux.*)$/ {print $2, $3, $4}'
pmap -x $nap | awk '$NF == "sleep" {print $2, ($3 <= $2), $5, $NF}'
pmap $nap | tail -1 | awk '{print $1, ($2 + 0 > 1000)}'
lsof -p $nap -a -d cwd,rtd,txt,0,7,8 -F ftn | sed "s/^p$nap/pPID/; s|^n/.*/|n.../|"
fuser -v written 2>&1 | awk '/sleep/{print $(NF - 1), $NF}'
fuser written 2>/dev/null | tr ' ' '\n' | grep -cx $nap
readlink /proc/$nap/fd/7 | sed 's|.*/||'
cat /proc/$nap/fd/8 | head -1 | cut -d: -f1
awk '/^(pos|flags)/' /proc/$nap/fdinfo/8 | tr -s '\t' ' '

title limits
taskset -p $nap | sed 's/.*: //' | grep -c .
chrt -p $nap 2>/dev/null | sed 's/.*: //'
(ulimit -n 50; awk '/open files/{print $4, $5}' /proc/self/limits)

title machine
free | awk '{print NF}' | tr '\n' ' '
uptime | sed 's/[0-9.:]\+/N/g; s/ *N user/ N user/; s/up.*,  *N/up N/'
w -h >/dev/null; echo $?
top -bn1 -p $nap | awk -v p=$nap '$1 == p {print $8, $NF}'
nproc | grep -c '^[1-9]'
for name in kernel/ostype kernel/cap_last_cap vm/overcommit_memory kernel/random/boot_id fs/nr_open net/core/somaxconn; do
    [ -s /proc/sys/$name ] || grep -q . /proc/sys/$name; echo "$name $?"
done
sysctl -n kernel.ostype kernel.ngroups_max
[ "$(cat /proc/sys/kernel/random/uuid)" != "$(cat /proc/sys/kernel/random/uuid)" ]; echo $?
grep -c '^processor' /proc/cpuinfo | grep -cx "$(nproc --all)"
awk '/^(MemTotal|SwapFree|Cached)/{print $1, $3}' /proc/meminfo
awk '/^cpu /{print NF}' /proc/stat
awk '{print NF}' /proc/uptime /proc/loadavg
grep -cw proc /proc/filesystems
awk '$2 == "/proc" {print $3, ($4 ~ /^rw/)}' /proc/mounts | head -1
awk '$5 == "/proc" {for (i = 7; $i != "-"; i++); print $(i + 1), NF - i}' /proc/self/mountinfo | head -1

title ends
kill -0 $nap; echo $?
killall -e -q no-such-program; echo $?
kill $nap; wait $nap 2>/dev/null; echo $?
ls /proc/$nap 2>/dev/null | wc -l
