# make: dependencies, parallel jobs, recursion, failures.
# needs: make gcc
# timeout: 120
# volatile: *.o program
make CC=gcc --no-print-directory 2>&1; echo "$?"
make CC=gcc --no-print-directory; touch two.c; sleep 0.01; make CC=gcc -q program; echo "stale $?"
make CC=gcc program run
make fail 2>&1; echo "$?"; make -n clean; make clean; make CC=gcc -j2 -s --no-print-directory all
echo "$?"; make -k fail run CC=gcc 2>&1; echo "$?"; make nothing 2>&1
make -p -n 2>/dev/null | grep -c '^# '  > /dev/null; make clean CC=gcc -s
printf 'a b c d e f g h:\n\t@echo made $@\n' > many; make -f many -j4 a b c d e f g h | sort
