# gcc and g++: compile, link and run; debug information, static and shared libraries.
# needs: gcc g++ ar ldd nm
# timeout: 180
# varies: (?<=: line )\d+: +\d+
# volatile: *.o *.a *.so prog* written
export TMPDIR=$PWD
gcc -c -O2 -Wall helper.c && gcc -Wall -O2 -o prog main.c helper.o -lm && ./prog x; echo "$?"
gcc -g -o prog-g main.c helper.c -lm && ./prog-g a b; echo "$?"
gcc -static -o prog-static main.c helper.c -lm && ./prog-static; echo "$?"
gcc -static-pie -o prog-static-pie main.c helper.c -lm && ./prog-static-pie; echo "$?"
gcc -no-pie -O3 -flto -o prog-lto main.c helper.c -lm && ./prog-lto; echo "$?"
gcc -shared -fPIC -o libhelper.so helper.c && gcc -o prog-so main.c -L. -lhelper -lm && LD_LIBRARY_PATH=. ./prog-so
echo "$?"
./prog-so 2>&1; echo "$?"
ar rcs libhelper.a helper.o && gcc -o prog-a main.c libhelper.a -lm && ./prog-a; nm helper.o
size -A helper.o | grep -c text
LD_LIBRARY_PATH=. ldd ./prog-so | awk '{print $1}' | grep -v linux-vdso | sort  # emulated guests have no vDSO
file prog-static 2>/dev/null | grep -c ELF; strip prog-g && ./prog-g
g++ -std=c++17 -O1 -o prog-cpp classes.cpp && { ./prog-cpp; echo "$?"; }
echo 'int main(void) { return undefined_thing; }' | gcc -x c - 2>&1 | grep -o "'undefined_thing' undeclared"
echo 'int main(void) { return missing(); }' | gcc -x c -w - 2>&1 | grep -o "undefined reference to .missing'"
gcc -E -P - <<< '#define X(a) a + 1
X(2)'; gcc -S -O1 -o - helper.c | grep -c ret; gcc -dumpmachine; gcc -pipe -xc -o prog-pipe - <<< 'int main(){return 3;}'; ./prog-pipe; echo $?
ls | grep -v '^prog'
