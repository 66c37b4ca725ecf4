# Words, arrays, arithmetic, functions, here-documents and exit statuses of one bash.
set -u
echo "args: $# [$*]"
echo $((2**40 + 017 + 0x1f)) $((7 % -3)) $((-7 / 2)) $((1 << 33 | 5)) $((5 > 3 ? 10 : 20))
a=(one "two words" three)
a[7]=seven
echo "${#a[@]} ${!a[*]} ${a[1]} ${a[@]:1:2}"
declare -A m=([k]=v [x y]=z)
for k in "${!m[@]}"; do printf '%s=%s\n' "$k" "${m[$k]}"; done | sort
s=abracadabra
echo "${s/a/A} ${s//a/A} ${s#*b} ${s##*b} ${s%a*} ${s%%a*} ${s:3:4} ${#s} ${s^^} ${s^}"
echo "${unset-default} ${unset:-default} ${s:+alternative}"
cat <<END
expanded: $s $((1 + 1)) $(echo command)
END
cat <<'END'
literal: $s $((1 + 1))
END
cat <<-END
	tabs stripped
END
tr a-z A-Z <<< "here string"
f() { local s=local; echo "$s $1"; return 42; }
f x; echo "status $?"
echo "$s"
false; echo "false $?"
true; echo "true $?"
(exit 200); echo "subshell $?"
sh -c 'exit 3'; echo "sh $?"
nonexistent-program-xyz 2>/dev/null; echo "missing $?"
./bash_basics.sh 2>/dev/null; echo "not executable $?"
printf '%5d|%-5s|%05.1f|%x|%q\n' 42 ab 3.14159 255 'a b'
[[ abc == a* && abc =~ ^(a)(.)c$ ]] && echo "${BASH_REMATCH[2]}"
case file.tar.gz in *.gz) echo gz;; *) echo other;; esac
select_me=2; while ((select_me-- > 0)); do echo -n "$select_me "; done; echo
IFS=: read -r x y z <<< "1:2:3:4"; echo "$x $y $z"
mapfile -t lines < <(seq 5); echo "${lines[@]}"
eval 'echo evaluated "$s"'
type -t cd echo f ls if
echo {a..e}{1..3} {10..1..3}
shopt -s extglob nullglob
touch a.c b.c c.h; 
echo *.c !(*.c|*.sh) *.none
