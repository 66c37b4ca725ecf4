/* Path resolution: loops, long names, slashes, dots, the root, deleted directories. */
#include "hostile.h"

static void opens(const char *name, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: opened", name);
    if (fd >= 0) close(fd);
}

CASE(loops) {
    struct stat st;
    char name[16], target[16];
    NEED(symlink("self", "self"));
    NEED(symlink("b", "a"));
    NEED(symlink("a", "b"));
    opens("self", "self");
    opens("two", "a");
    opens("below", "a/x");
    CHECK("stat", stat("self", &st));
    CHECK("lstat", lstat("self", &st));
    CHECK("create", open("self", O_CREAT | O_WRONLY, 0644));
    CHECK("nofollow", open("self", O_RDONLY | O_NOFOLLOW));
    CHECK("chdir", chdir("self"));
    CHECK("unlink", unlink("a"));
    put_text("l0", "end");
    for (int i = 1; i <= 45; i++) {
        snprintf(name, sizeof name, "l%d", i);
        snprintf(target, sizeof target, "l%d", i - 1);
        NEED(symlink(target, name));
    }
    opens("40 links", "l40");
    opens("41 links", "l41");
    CHECK("lstat of the 45th", lstat("l45", &st));
}

CASE(lengths) {
    char name[300], path[5000];
    struct stat st;
    memset(name, 'n', sizeof name);
    name[255] = 0;
    CHECK("255", mkdir(name, 0755));
    opens("255", name);
    name[255] = 'n';
    name[256] = 0;
    CHECK("256", mkdir(name, 0755));
    CHECK("stat 256", stat(name, &st));
    CHECK("unlink 256", unlink(name));
    CHECK("symlink to 256", symlink(name, "to"));
    CHECK("rename 256", rename("to", name));
    opens("through it", "to");
    memset(path, '/', sizeof path);
    path[4095] = 0;
    CHECK("4095 slashes", stat(path, &st));
    path[4095] = '/';
    path[4096] = 0;
    CHECK("4096 slashes", stat(path, &st));
    for (int i = 0; i < 4094; i += 2) memcpy(path + i, "./", 2);
    strcpy(path + 4094, ".");
    CHECK("4095 of dots", stat(path, &st));
    strcpy(path + 4094, "./");
    CHECK("4096 of dots", stat(path, &st));
    name[255] = 0;
    NEED(unlink("to") | rmdir(name));
}

CASE(slashes_and_dots) {
    NEED(mkdir("d", 0755));
    put_text("d/f", "x");
    NEED(symlink("d", "s"));
    NEED(symlink("d/", "s2"));
    NEED(symlink("f", "d/l"));
    opens("double", "d//f");
    opens("dots", "./d/./f");
    opens("dot-dot", "d/../d/f");
    opens("dot-dot through link", "s/../d/f");
    opens("missing/..", "none/../d/f");
    opens("file/..", "d/f/..");
    opens("file/.", "d/f/.");
    opens("file/", "d/f/");
    opens("link/", "s/");
    opens("link with slash", "s2");
    opens("link with slash, below", "s2/f");
    opens("relative link", "s/l");
    opens("many slashes", "d////");
    opens("three dots", "...");
    opens("root", "/");
    opens("above the root", "/../../../..");
    opens("root and back", "/../dev/../dev/null");
    opens("dot in root", "/./.");
    opens("space", " ");
    struct stat st;
    CHECK("lstat link/", lstat("s/", &st));
    BOOL("is a directory", S_ISDIR(st.st_mode));
    struct stat root, above;
    NEED(stat("/", &root) | stat("/..", &above));
    BOOL("root is its own parent", root.st_ino == above.st_ino && root.st_dev == above.st_dev);
    put_text("\xff\xfe\x01 odd\n", "x");
    opens("any bytes", "\xff\xfe\x01 odd\n");
    NEED(unlink("\xff\xfe\x01 odd\n"));
}

CASE(working_directory) {
    char path[PATH_MAX], top[PATH_MAX];
    NEED(mkdir("d", 0755) | mkdir("d/e", 0755) | mkdir("gone", 0755));
    NEED(symlink("d/e", "s"));
    BOOL("getcwd", getcwd(top, sizeof top) != NULL);
    CHECK("chdir", chdir("s"));
    BOOL("physical", strcmp(getcwd(path, sizeof path) + strlen(top), "/d/e") == 0);
    CHECK("length", syscall(SYS_getcwd, path, sizeof path) - (long)strlen(top));
    CHECK("too short", syscall(SYS_getcwd, path, 3));
    CHECK("zero", syscall(SYS_getcwd, path, 0));
    CHECK("bad pointer", syscall(SYS_getcwd, BAD_POINTER, 100));
    CHECK("up", chdir("../.."));
    int fd = NEED(open("d", O_RDONLY));
    CHECK("fchdir", fchdir(fd));
    CHECK("relative", access("e", F_OK));
    CHECK("missing", chdir("none"));
    put_text("file", "x");
    CHECK("file", chdir("file"));
    CHECK("fchdir file", fchdir(NEED(open("file", O_RDONLY))));
    CHECK("fchdir bad", fchdir(99));
    CHECK("empty", chdir(""));
    NEED(unlink("file") | chdir("../gone"));
    IN_CHILD("child inherits") CHECK("parent's", access("../d", F_OK));
    NEED(rename("../gone", "../moved"));
    BOOL("follows a rename", strcmp(getcwd(path, sizeof path) + strlen(top), "/moved") == 0);
    NEED(rmdir("../moved"));
    errno = 0;
    CHECK("deleted", syscall(SYS_getcwd, path, sizeof path));
    CHECK("open in deleted", open("x", O_CREAT | O_RDWR, 0644));
    CHECK("dot of deleted", access(".", F_OK));
    CHECK("out of deleted", chdir(".."));
    CHECK("back", chdir(top));
    CHECK("root", chdir("/"));
    CHECK("above", chdir(".."));
    say("%s", getcwd(path, sizeof path));
    NEED(chdir(top));
    IN_CHILD("chdir in a child") NEED(chdir("/dev"));
    BOOL("parent stays", strcmp(getcwd(path, sizeof path), top) == 0);
}

CASE(closed_directories) {
    NEED(mkdir("x", 0755) | mkdir("x/y", 0755));
    put_text("x/y/f", "f");
    int inside = NEED(open("x/y", O_RDONLY));
    IN_CHILD("as nobody") {
        if (getuid()) _exit(0);
        NEED(chmod("x", 0700));
        NEED(setresgid(65534, 65534, 65534));
        NEED(setresuid(65534, 65534, 65534));
        opens("no search permission", "x/y/f");
        CHECK("chdir", chdir("x"));
        CHECK("through a descriptor", openat(inside, "f", O_RDONLY) >= 0);
        CHECK("up from there", openat(inside, "../y/f", O_RDONLY));
    }
    NEED(chmod("x", 0755));
    if (getuid() == 0) IN_CHILD("chroot") {
        put_text("x/inner", "i");
        CHECK("chroot", chroot("x"));
        CHECK("root's inside", access("/inner", F_OK));
        CHECK("cwd is outside", access("x/inner", F_OK));
        CHECK("chdir", chdir("/"));
        CHECK("no way up", access("../../inner", F_OK));
        CHECK("missing", chroot("none"));
        char path[64];
        say("%s", getcwd(path, sizeof path));
    }
    CHECK("chroot file", chroot("x/y/f"));
}

CASE(working_directory_beyond_path_max) {
    char name[201], path[2 * PAGE];
    memset(name, 'n', 200);
    name[200] = 0;
    for (int i = 0; i < 22; i++) {
        NEED(mkdir(name, 0755));
        NEED(chdir(name));
    }
    CHECK("getcwd", syscall(SYS_getcwd, path, sizeof path));
    CHECK("too small as well", syscall(SYS_getcwd, path, 10));
    CHECK("stat of it", access(".", F_OK));
    for (int i = 0; i < 22; i++) {
        NEED(chdir(".."));
        NEED(rmdir(name));
    }
    CHECK("back", syscall(SYS_getcwd, path, sizeof path) > 0);
}

CASE(directories_that_move) {
    char path[PATH_MAX], link[32];
    NEED(mkdir("old", 0755));
    NEED(mkdir("old/inside", 0755));
    put_text("old/inside/file", "x");
    NEED(symlink("file", "old/inside/link"));
    int old = NEED(open("old", O_RDONLY | O_DIRECTORY));
    int inside = NEED(openat(old, "inside", O_PATH | O_DIRECTORY));
    NEED(rename("old", "new"));
    int file = NEED(openat(inside, "file", O_RDONLY));
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = NEED(readlink(link, path, sizeof path - 1));
    path[length] = 0;
    say("file: %s", strstr(path, "/new/") ? strstr(path, "/new/") : path);
    CHECK("through a link", openat(old, "inside/link", O_RDONLY) > 0);
    CHECK("no link to be followed", openat(inside, "link", O_RDONLY | O_NOFOLLOW));
    CHECK("nor a directory", openat(inside, "link", O_RDONLY | O_DIRECTORY));
    CHECK("link itself", ({ struct stat st; NEED(fstatat(inside, "link", &st, AT_SYMLINK_NOFOLLOW)); S_ISLNK(st.st_mode); }));
    CHECK("target", ({ struct stat st; NEED(fstatat(inside, "link", &st, 0)); S_ISREG(st.st_mode); }));
    NEED(fchdir(inside));
    NEED(rename("../../new", "../../newer"));
    say("%s", strstr(getcwd(path, sizeof path), "/newer"));
    CHECK("up", access("../../newer/inside/file", F_OK));
    int root = NEED(open("/", O_PATH));
    CHECK("a mount by descriptor", openat(root, "proc/self/status", O_RDONLY) > 0);
    CHECK("its root", ({ struct stat st; NEED(fstatat(root, "proc", &st, 0)); st.st_ino; }));
}
