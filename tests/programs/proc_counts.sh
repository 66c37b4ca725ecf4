# needs: flock pkill ps vmstat
# host: linux
# What only the host's own /proc tells: memory in use, locks, paging, the network.
set -u
export LC_ALL=C
sleep 300 &
nap=$!
trap 'kill $nap 2>/dev/null' EXIT
until [ "$(cat /proc/$nap/comm)" = sleep ]; do sleep 0.1; done
sleep 0.3
ps -p $nap -o rss=,vsz= | awk '{print ($1 > 500 && $1 < $2), ($2 < 20000)}'
flock held sleep 300 &
holder=$!
sleep 0.5
awk -v p=$holder '$5 == p {print $2, $3, $4}' /proc/locks
pkill -P $holder sleep; wait $holder 2>/dev/null
vmstat | awk '{print NF}' | tr '\n' ' '
vmstat -s | sed 's/^ *[0-9]* //' | head -5
head -1 /proc/net/dev | tr -s ' '
awk 'NR == 1 {print NF}' /proc/net/tcp /proc/net/unix /proc/net/route
awk '$2 == "lo" {print $2, $3}' /proc/net/igmp6
cut -d" " -f1 /proc/net/sockstat6
