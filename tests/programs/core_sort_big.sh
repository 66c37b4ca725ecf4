# sort with temporary files, parallel threads and a million lines; head closing pipes early.
# timeout: 120
seq 300000 | awk '{print ($1 * 7919) % 300007, $1}' > big
sort -n -S 1M -T . big | md5sum; sort -k2 --parallel=2 -S 2M big | md5sum
sort -R --random-source=big big | wc -l
sort -m <(sort big) <(sort big) | uniq -c | awk '$1 != 2' | wc -l
ls; wc big; seq 3000000 | tail -1; seq 1000000 | head -1; seq 100000 | tac | head -2
seq 10000 | shuf --random-source=big | sort -n | cmp - <(seq 10000) && echo sorted
split -n l/7 big p; cat p* | cmp - big && echo whole
gzip -1 < big | zcat | cmp - big && echo zipped; rm p*
