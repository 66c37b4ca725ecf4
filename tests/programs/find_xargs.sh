# find with every kind of test and action, xargs -P, du over a deep tree.
mkdir -p t/{a,b,c}/{x,y,z}; for f in t/*/*/; do echo "$f" > "$f/f.txt"; : > "$f/empty"; done
ln -s ../a t/b/link; ln -s nowhere t/dangling; chmod 600 t/a/x/f.txt
touch -d '2000-01-01' t/c/x/f.txt; mkdir t/void
find t | sort; find t -type f -name '*.txt' | wc -l; find t -type l | sort; find -L t -type l
find t -empty | sort; find t -perm 600; find t -newermt 2001-01-01 -name f.txt | wc -l
find t -size -1c -type f | wc -l; find t -maxdepth 1 | sort
find t -path '*a*' -prune -o -name f.txt -print | sort; find t -samefile t/a/x/f.txt
find t -links +3 -type d | sort
find t -name f.txt -exec cat {} \; | sort; find t -name f.txt -exec echo {} + | wc -w
find t -name empty -delete; find t -type f | wc -l; find t -printf '%p %y %m %d %l\n' | sort
find t -name 'f.txt' -print0 | xargs -0 -P 4 -n 1 basename | sort | uniq -c
find t -depth -type d | tail -1; find t -regex '.*/[ab]/.*' -type f | sort; find nowhere; echo $?
find t -user "$(id -un)" | wc -l
find t -execdir pwd \; 2>/dev/null | sed 's,.*/t,t,' | sort -u | head -3
find t -inum "$(stat -c %i t/a)"; find t -xdev -mmin -5 -type d | wc -l
find . -name '*.txt' -fprint list; sort list | head -2
grep -rl b/y t; grep -rc . t | sort | head -2; tree t 2>/dev/null | tail -1; ls -R t | head -5
du -a --inodes t | sort -k2 | head -3; rm -rf t; ls
