# tar, gzip, bzip2, xz, zstd, cpio-like round trips; times, modes, links and sparse files survive.
# needs: tar gzip bzip2 xz zstd
mkdir -p d/sub; seq 20000 > d/numbers; head -c 100000 /dev/zero > d/zeros; ln d/numbers d/hard
ln -s numbers d/soft; mkfifo d/fifo; truncate -s 5M d/sparse
printf x | dd of=d/sparse bs=1 seek=3M conv=notrunc status=none; chmod 4711 d/zeros
chmod 2750 d/sub; echo 'name with  space' > 'd/a b'; find d -exec touch -h -d @1500000000.5 {} +
tar cf p.tar --sort=name --numeric-owner --owner=0 --group=0 d; md5sum < p.tar
tar tvf p.tar --full-time | awk '{print $1, $3, $4, $5, $6, $7, $8}'
for z in gzip bzip2 xz zstd; do
    tar c --sort=name --owner=0 --group=0 -f p.tar.$z --use-compress-program=$z d
    mkdir out-$z
    tar xpf p.tar.$z -C out-$z
    diff -r --no-dereference d/sub out-$z/d/sub && cmp d/numbers out-$z/d/numbers && stat -c '%A %h %s %Y' out-$z/d/*
    $z -t p.tar.$z 2>/dev/null
    echo "$z $?"
    rm -r out-$z
done
tar cSf s.tar --format=posix d/sparse; stat -c %s s.tar | awk '{print ($1 < 100000)}'; mkdir o
tar xSf s.tar -C o; cmp o/d/sparse d/sparse && stat -c '%s' o/d/sparse
tar xOf p.tar d/numbers | tail -1; tar xf p.tar --wildcards '*/num*' -C o; ls o/d
tar cf - d | (cd o; tar xf -); tar df p.tar && echo equal; tar rf p.tar 'd/a b'
tar tf p.tar | wc -l; tar --delete -f p.tar d/fifo; tar tf p.tar | grep -c fifo
tar --exclude=zeros -cf - d | tar t | grep -c zeros; tar xf nowhere 2>&1; echo $?
gzip -k d/numbers 2>&1; gzip -kf d/a*; gzip -l d/numbers.gz 2>/dev/null | wc -l
gunzip -c 'd/a b.gz'; zcat < d/'a b.gz'; gzip -9n < d/numbers | md5sum; xz -k d/zeros
unxz -c d/zeros.xz | cmp - d/zeros && echo xz; xz -T2 -c d/numbers | xz -dc | md5sum
bzip2 -c d/numbers | bunzip2 | md5sum; zstd -q -T2 -19 d/numbers -o n.zst; zstd -dqc n.zst | md5sum
zstdcat n.zst | head -1; echo corrupt | gunzip 2>&1; echo $?; md5sum d/numbers
find d -exec touch -h -d @1500000000 {} +; rm -f p.tar.* s.tar n.zst p.tar; rm -rf o
