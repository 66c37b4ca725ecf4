# ls, cp, mv, rm, ln, stat, touch, chmod, install, truncate, dd, mktemp, split and their like.
# needs: rsync
mkdir -p a/b/c; echo one > a/one; echo two > a/b/two; printf '\0\1\2' > a/b/c/bin
ln -s one a/link; ln a/one a/hard; ln -s nowhere a/dangling; ln -s .. a/b/up; mkfifo a/fifo
chmod 4755 a/b/two; chmod 1777 a/b/c; chmod 640 a/one
find a -exec touch -h -d '2001-02-03 04:05:06.789 UTC' {} +
touch -d '2038-01-19 03:14:08 UTC' a/one; touch -a -d @0 a/b/two; touch -r a/one a/b/c/bin
ls -lAR --time-style=full-iso a | sed 's/^total.*/total/'
ls -1F a; ls -Q a; ls -d a/*; ls -S a/b; ls -t a; ls -U nowhere; echo $?
stat -c '%n %A %a %h %s %F %Y %x %u %g %i' a/one a/hard | sed 's/ [0-9]*$//'
stat -L -c '%n %F' a/link; stat -c '%N %F' a/link a/dangling a/fifo a/b
stat -f -c '%T' . > /dev/null; echo "statfs $?"
cp -a a copy; ls -lAR --time-style=+%s copy | sed 's/^total.*/total/'
cp -r a/b plain; cp --preserve=timestamps a/one kept; stat -c %Y kept; cp -l a/one linked
cp -s "$PWD/a/one" sym; cp -u a/one kept
cp nowhere x; echo $?; cp a x; echo $?; cp -n a/b/two kept; cat kept
cp --sparse=always a/one sparse; cp --reflink=auto a/one ref
mv copy moved; mv moved/one moved/renamed; mv -n a/one a/b/two; mv -b a/b/two kept; ls
mv kept~ kept2; mv -T plain moved; echo $?
rm moved/renamed; rm moved; echo $?; rm -r moved; rm -f nowhere; rmdir a; echo $?; rmdir -p x/y; echo $?
mkdir -m 700 private; mkdir -p p/q/r; mkdir p; echo $?; rmdir -p p/q/r; stat -c %A private
readlink a/link; readlink -f a/b/up/link | sed 's,.*/a/,a/,'
realpath --relative-to=. a/b/up/b/up/one; realpath -e nowhere; echo $?
readlink -m a/none/../other | sed 's,.*/a/,a/,'
install -D -m 750 a/one inst/deep/file; stat -c '%A %s' inst/deep/file; install -d -m 711 inst/dir
stat -c %A inst/dir
truncate -s 10K t; truncate -s -1K t; truncate -s %4096 t; stat -c %s t; truncate -s +5 t; stat -c %s t
dd if=/dev/zero of=d bs=1k count=3 status=none
printf XY | dd of=d bs=1 seek=100 conv=notrunc status=none; stat -c %s d
dd if=d bs=1 skip=99 count=4 status=none | od -c
dd if=/dev/zero of=d bs=1 count=0 seek=1M status=none; stat -c '%s %b' d
dd if=/dev/zero bs=512 count=4 2>&1 of=/dev/null | head -2; echo abc | dd conv=ucase status=none
dd if=nowhere 2>&1; echo $?
m=$(mktemp); [ -f "$m" ] && stat -c '%A' "$m"; rm "$m"; m=$(mktemp -d ./tmp.XXXXXX); stat -c %A "$m"; rmdir "$m"
seq 100 > s; split -l 30 s part-; wc -l part-*; split -b 100 -d s num; ls num*; cat part-* | cmp - s
csplit -s s 50; wc -l xx0*; split -n 3 s n3-; ls n3*
du -a --apparent-size -b a/b/c | sort | head -1; du -s . > /dev/null; echo $?; df . > /dev/null; echo $?
chmod -R u+rwX,go-rwx a 2>/dev/null; stat -c '%A %n' a a/b a/b/c/bin; chmod =r,u+w kept
stat -c %A kept; chmod 0 kept; stat -c %a kept; chmod 644 kept
test -e a/dangling; echo $?; test -L a/dangling; echo $?; test a/one -ef a/hard; echo $?
test -p a/fifo; echo $?; test s -nt a/one; echo $?
[ -r s ] && [ ! -x s ] && [ -s s ] && [ -d a ] && [ -c /dev/null ] && echo tests
sync; sync s; sync -f .; echo "sync $?"
shred -u -n 1 t; test -e t; echo $?; unlink linked; link s s2; stat -c %h s; pathchk -p 'a b'
echo $?; basename /x/y.c .c; dirname /x/y
mkdir many; (cd many; touch $(seq 300)); ls many | wc -l; rm -r many; echo done
rsync -a a/ synced/; rsync -ani a/ synced/ | wc -l; diff -r --no-dereference a/b synced/b && echo same
