# Text tools: sort, uniq, cut, tr, join, comm, paste, fmt, od, base64, checksums, seq, factor and their like.
# needs: gawk
printf 'pear 3\napple 10\nfig 2\napple 1\n' > f
sort f; sort -k2n f; sort -u -k1,1 f; sort -r f | head -1; sort -c f; echo $?
sort -V <<< $'v1.10\nv1.9'; sort -h <<< $'1K\n1M\n10'
cut -d' ' -f2 f | paste -sd, ; cut -c1-3 f; tr -d aeiou < f; tr -s p < f; uniq -c <<< $'a\na\nb'
nl f; tac f; rev f; head -c 5 f; echo; tail -n +3 f; tail -c 4 f
sort f -o f; comm <(sort f) <(printf 'apple 1\nzoo\n')
join <(sort f) <(printf 'apple red\nfig blue\n'); paste f f; fold -w 4 f
fmt -w 10 <<< "the quick brown fox jumps"; expand <<< $'a\tb'; unexpand -a <<< '        x'
column -t f; pr -t -2 -l 2 f
wc f; wc -l < f; wc -L f; od -An -tx1 f | head -2; od -c <<< 'mitou' ; hexdump -C f | head -2
xxd f 2>/dev/null | head -1; base64 f; base64 -d <<< bWl0b3U=; echo; base32 <<< x
md5sum f; sha1sum f; sha256sum f; sha512sum f | cut -c1-20; b2sum f | cut -c1-20; cksum f; sum f
md5sum f > sums; md5sum -c sums
seq 1 3 10; seq -w 8 11; seq -s, 3; factor 1234567890123456789 97; numfmt --to=iec 1048576
expr 6 '*' 7; expr abc : 'a\(.\)'; test 1 -lt 2; echo $?
shuf -i 1-10 --random-source=<(yes) | paste -sd' '; shuf -n 3 --random-source=<(yes 7) f
grep -n apple f; grep -c p f; grep -v p f; grep -E 'a+p{2}' f; grep -o '[0-9]*' f; grep -q zzz f
echo $?; grep -r apple . | sort; grep -l fig f; grep x nowhere; echo $?; grep -P '\d{2}' f
fgrep '1' f 2>/dev/null; grep -A1 -B1 apple\ 10 f; grep -w fig f; grep -F -x 'fig 2' f
sed 's/p/P/g; 2d' f; sed -n '2,3p' f; sed -i.orig 's/apple/APPLE/' f; cat f f.orig
sed -e '/fig/a\' -e 'after' f; sed '$!N;s/\n/+/' f; sed -E 's/(\w+) (\d*)/\2<\1>/' f
sed y/abc/xyz/ f; sed '1~2d' f; sed -n '$=' f
awk '{s += $2; a[$1]++} END {print s; for (k in a) print k, a[k] | "sort"}' f
awk -F: '{print $1}' /etc/passwd | head -1
awk 'BEGIN {printf "%.3f %d %s\n", atan2(0,-1), 3.9, substr("hello", 2, 3); while (("echo from command" | getline l) > 0) print toupper(l)}'
awk 'NR==2' f; awk '{print > $1 ".out"}' f; ls *.out
gawk 'BEGIN {print strftime("%Y-%m-%d", 0, 1), length("x"), gensub(/a(.)/, "<\\1>", "g", "abac")}'
diff f f.orig; diff -u --label a --label b f f.orig; echo $?; cmp f f.orig; echo $?
diff -u --label a --label b f f.orig > p; cp f g; patch -s g p && cmp g f.orig && echo patched
echo 'scale=20; 4*a(1); 2^100' | bc -l; printf '3 4 + p\n' | dc 2>/dev/null; printf '%s\n' 'a' '1,$p' 'q' > /dev/null
xargs < f -n 2 echo got; xargs -I{} echo '<{}>' < f; echo a b c | xargs -n1 | tac
seq 5 | xargs -P 3 -n 1 echo | sort; printf 'a b\0c' | xargs -0 -n 1 echo; echo | xargs -r echo no
echo x | xargs false; echo $?; echo x | xargs sh -c 'exit 255'; echo $?
echo x | xargs nowhere 2>/dev/null; echo $?
iconv -f utf-8 -t utf-16le <<< 'é' | od -An -tx1; printf 'é\n' | wc -m
tr '[:upper:]' '[:lower:]' <<< ABC; strings <<< 'long enough'; tsort <<< $'a b\nb c'
ptx <<< 'a b' | head -1; look x /dev/null; echo $?
date -u -d @1600000000 +%FT%T.%N; date -u -d '2020-02-30' 2>&1; TZ=Asia/Tokyo date -d @0 +%c
cal 2 2020 2>/dev/null | head -2; printf '%(%F)T\n' 0
