# Scripts as programs: #! lines, arguments, nesting, missing interpreters, execve errors.
printf '#!/bin/sh\necho "plain $0 $*"\n' > plain
printf '#!/bin/sh -eu\necho "option $-" | tr -d s; false; echo not reached\n' > option
printf '#! /usr/bin/env   bash\necho "env $BASH_VERSINFO" | cut -c1-5\n' > viaenv
printf '#!./plain extra words\n' > nested
printf '#!/nowhere/interpreter\n' > missing
printf '#!\n' > empty
printf 'echo no shebang $0\n' > bare
printf '\177ELF' > elf
mkdir directory
chmod 755 plain option viaenv nested missing empty bare elf
for p in plain option viaenv nested missing bare directory nowhere; do ./$p a b; echo "$p $?"; done
./elf 2>/dev/null; echo "elf $?"
chmod 644 plain; ./plain; echo "$?"; sh ./plain; sh plain x
touch zero; chmod 755 zero; ./zero; echo "empty file $?"
printf '#!/bin/sh\necho "$1"\n' > "with space"; chmod 755 "with space"; "./with space" "a  b"
(exec -a renamed sh -c 'echo $0'); (exec -a renamed bash -c 'cat /proc/$$/comm')
PATH=.:$PATH viaenv
env -i /bin/sh -c 'echo "[$HOME]"'; env A=1 B=2 sh -c 'echo $A$B'; env -u HOME sh -c 'echo "[${HOME-unset}]"'
