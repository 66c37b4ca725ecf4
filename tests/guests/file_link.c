/* link, symlink, readlink, rename, renameat2, unlink, rmdir, mkdir, mknod: results and errors. */
#include "hostile.h"

static void listing(const char *name, const char *path) {
    struct stat st;
    if (lstat(path, &st)) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: %06o links %ld", name, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_nlink);
}

static void content(const char *path) {
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        say("%s: %s", path, strerrorname_np(errno));
        return;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    say("%s: %ld \"%s\"", path, (long)n, text);
    close(fd);
}

CASE(hard_links) {
    put_text("a", "a");
    NEED(mkdir("d", 0755));
    NEED(symlink("a", "s"));
    NEED(symlink("none", "dangling"));
    CHECK("link", link("a", "b"));
    listing("b", "b");
    CHECK("exists", link("a", "b"));
    CHECK("onto a directory", link("a", "d"));
    CHECK("of a directory", link("d", "e"));
    CHECK("missing", link("none", "x"));
    CHECK("missing folder", link("a", "none/x"));
    CHECK("through a file", link("a", "b/x"));
    CHECK("empty", link("", "x"));
    CHECK("trailing slash", link("a", "x/"));
    CHECK("of a link", link("s", "of-link"));
    listing("is a link itself", "of-link");
    CHECK("follow", linkat(AT_FDCWD, "s", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    listing("followed", "followed");
    CHECK("follow dangling", linkat(AT_FDCWD, "dangling", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    CHECK("bad flag", linkat(AT_FDCWD, "a", AT_FDCWD, "x", 0x10));
    CHECK("other file system", link("/proc/version", "x"));
    CHECK("bad pointer", link("a", BAD_POINTER));
    content("b");
}

CASE(symbolic_links) {
    char text[PATH_MAX];
    CHECK("symlink", symlink("target with spaces", "s"));
    CHECK("exists", symlink("x", "s"));
    CHECK("empty target", symlink("", "e"));
    CHECK("empty name", symlink("x", ""));
    CHECK("missing folder", symlink("x", "none/s"));
    CHECK("trailing slash", symlink("x", "t/"));
    memset(text, 'x', sizeof text);
    text[4095] = 0;
    CHECK("longest target", symlink(text, "long"));
    text[4095] = 'x';
    char *longer = malloc(5000);
    memset(longer, 'x', 4999);
    longer[4999] = 0;
    CHECK("too long", symlink(longer, "longer"));
    CHECK("readlink", readlink("s", text, sizeof text));
    say("%.18s", text);
    CHECK("short buffer", readlink("s", text, 6));
    CHECK("no buffer", readlink("s", text, 0));
    CHECK("negative", syscall(SYS_readlinkat, AT_FDCWD, "s", text, -1));
    CHECK("bad buffer", readlink("s", BAD_POINTER, 10));
    CHECK("longest", readlink("long", text, sizeof text));
    put_text("file", "x");
    CHECK("of a file", readlink("file", text, sizeof text));
    CHECK("of a directory", readlink(".", text, sizeof text));
    CHECK("missing", readlink("none", text, sizeof text));
    CHECK("lchown", lchown("s", -1, -1));
    struct stat st;
    NEED(lstat("s", &st));
    say("%o size %ld", st.st_mode, (long)st.st_size);
}

CASE(renaming) {
    put_text("a", "a");
    put_text("b", "b");
    NEED(mkdir("d", 0755) | mkdir("e", 0755) | mkdir("full", 0755) | mkdir("d/sub", 0755));
    put_text("full/x", "x");
    NEED(symlink("a", "s"));
    CHECK("replace", rename("a", "b"));
    content("b");
    listing("a is gone", "a");
    CHECK("missing", rename("a", "c"));
    CHECK("itself", rename("b", "b"));
    CHECK("file onto directory", rename("b", "d"));
    CHECK("directory onto file", rename("d", "b"));
    CHECK("directory onto empty", rename("d", "e"));
    listing("moved", "e/sub");
    CHECK("directory onto full", rename("e", "full"));
    CHECK("below itself", rename("e", "e/sub/x"));
    CHECK("ancestor", rename("e/sub", "e"));
    CHECK("dot", rename(".", "x"));
    CHECK("onto dot-dot", rename("b", ".."));
    CHECK("link", rename("s", "t"));
    listing("still a link", "t");
    CHECK("hard links of one file", (NEED(link("b", "c")), rename("b", "c")));
    listing("both stay", "b");
    CHECK("file, trailing slash", rename("b", "z/"));
    CHECK("directory, trailing slash", rename("e/", "f/"));
    CHECK("to missing folder", rename("b", "none/x"));
    CHECK("through a file", rename("b/x", "y"));
    CHECK("empty", rename("", "x"));
    CHECK("other file system", rename("b", "/proc/x") == -1);
    CHECK("bad pointer", rename(BAD_POINTER, "x"));
}

CASE(renaming_between_descriptors) {
    NEED(mkdir("one", 0755));
    NEED(mkdir("two", 0755));
    NEED(mkdir("one/x", 0755));
    NEED(mkdir("two/x", 0755));
    put_text("one/x/a", "a");
    int one = NEED(open("one", O_PATH | O_DIRECTORY)), two = NEED(open("two", O_PATH | O_DIRECTORY));
    CHECK("same path, another directory", renameat(one, "x/a", two, "x/b"));
    listing("arrived", "two/x/b");
    CHECK("same directory", renameat(two, "x/b", two, "x/c"));
    CHECK("its directory", renameat(two, "x/c", two, "x/."));
    CHECK("from its directory", renameat(two, "x/..", two, "x/d"));
    CHECK("nothing", renameat(two, "x/", two, "x/"));
    CHECK("bad descriptor", renameat(two, "x/c", 99, "x/d"));
    char first[PATH_MAX], second[PATH_MAX];
    NEED(snprintf(first, sizeof first, "%s/two/x/c", getcwd(second, sizeof second)));
    strcat(second, "/two/x/d");
    CHECK("whole paths", renameat(99, first, 98, second));
    listing("as well", "two/x/d");
    CHECK("linked", link("two/x/d", "two/x/e"));
    listing("beside it", "two/x/e");
    NEED(symlink("two/x/d", "s"));
    CHECK("link of a link", link("s", "t"));
    listing("two links", "t");
}

CASE(renameat2_flags) {
    put_text("a", "a");
    put_text("b", "b");
    NEED(mkdir("d", 0755));
    CHECK("noreplace, exists", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    CHECK("noreplace, free", renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
    CHECK("both", renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
    CHECK("unknown", renameat2(AT_FDCWD, "b", AT_FDCWD, "d", 0x80));
    CHECK("none", renameat2(AT_FDCWD, "d", AT_FDCWD, "e", 0));
}

CASE(renameat2_exchange) {
    put_text("b", "b");
    put_text("c", "a");
    NEED(mkdir("d", 0755));
    CHECK("exchange", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE));
    content("b");
    content("c");
    CHECK("exchange kinds", renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE));
    listing("b", "b");
    listing("d", "d");
    CHECK("exchange missing", renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE));
    CHECK("exchange below", renameat2(AT_FDCWD, "b", AT_FDCWD, "b/x", RENAME_EXCHANGE));
}

CASE(removing) {
    put_text("file", "x");
    NEED(mkdir("empty", 0755) | mkdir("full", 0755));
    put_text("full/x", "x");
    NEED(symlink("empty", "link"));
    CHECK("unlink directory", unlink("empty"));
    CHECK("rmdir file", rmdir("file"));
    CHECK("rmdir full", rmdir("full"));
    CHECK("rmdir link", rmdir("link"));
    CHECK("rmdir link/", rmdir("link/"));
    CHECK("rmdir dot", rmdir("."));
    CHECK("rmdir dot-dot", rmdir("full/.."));
    CHECK("rmdir x/.", rmdir("empty/."));
    CHECK("unlink file/", unlink("file/"));
    CHECK("unlink missing", unlink("none"));
    CHECK("unlink empty", unlink(""));
    CHECK("unlink through file", unlink("file/x"));
    CHECK("unlink link", unlink("link"));
    CHECK("rmdir empty/", rmdir("empty/"));
    CHECK("root", rmdir("/"));
    CHECK("unlink root", unlink("/"));
    CHECK("bad pointer", unlink(BAD_POINTER));
    int fd = NEED(open("file", O_RDWR));
    CHECK("unlink open", unlink("file"));
    CHECK("still writes", pwrite(fd, "later", 5, 0));
    char text[8] = "";
    CHECK("still reads", pread(fd, text, 8, 0));
    say("%s", text);
    int dir = NEED(open("full", O_RDONLY));
    NEED(unlink("full/x") | rmdir("full"));
    CHECK("create in removed", openat(dir, "y", O_CREAT | O_RDWR, 0644));
    CHECK("mkdir in removed", mkdirat(dir, "y", 0755));
}

CASE(making) {
    umask(027);
    CHECK("mkdir", mkdir("d", 0777));
    listing("d", "d");
    CHECK("sticky", mkdir("t", 01777));
    listing("t", "t");
    CHECK("setgid", mkdir("g", 02777));
    listing("g", "g");
    CHECK("exists", mkdir("d", 0755));
    CHECK("missing parent", mkdir("none/d", 0755));
    CHECK("trailing slash", mkdir("slash/", 0755));
    CHECK("dot", mkdir(".", 0755));
    CHECK("root", mkdir("/", 0755));
    CHECK("empty", mkdir("", 0755));
    CHECK("fifo", mkfifo("fifo", 0666));
    listing("fifo", "fifo");
    CHECK("mknod fifo", mknod("fifo2", S_IFIFO | 0600, 0));
    CHECK("mknod socket", mknod("sock", S_IFSOCK | 0666, 0));
    listing("socket", "sock");
    CHECK("mknod file", mknod("file", S_IFREG | 0666, 0));
    listing("file", "file");
    CHECK("mknod no kind", mknod("file2", 0644, 0));
    listing("file2", "file2");
    CHECK("mknod directory", mknod("dir", S_IFDIR | 0755, 0));
    CHECK("mknod link", mknod("lnk", S_IFLNK | 0755, 0));
    CHECK("mknod exists", mknod("file", S_IFREG | 0666, 0));
    NEED(symlink("nowhere", "dangling"));
    CHECK("mknod dangling", mknod("dangling", S_IFREG | 0666, 0));
    CHECK("open socket", open("sock", O_RDWR));
    umask(022);
}

CASE(sticky_and_setgid) {
    if (getuid()) return;
    NEED(mkdir("sticky", 01777));
    NEED(chmod("sticky", 01777));
    put_text("sticky/roots", "x");
    NEED(mkdir("group", 0755));
    NEED(chown("group", 0, 65534));
    NEED(chmod("group", 02755));
    put_text("group/file", "x");
    NEED(mkdir("group/sub", 0755));
    struct stat st;
    NEED(stat("group/file", &st));
    say("file gid %d mode %o", (int)st.st_gid, st.st_mode);
    NEED(stat("group/sub", &st));
    say("dir gid %d mode %o", (int)st.st_gid, st.st_mode);
    IN_CHILD("as nobody") {
        NEED(setresuid(65534, 65534, 65534));
        CHECK("unlink other's in sticky", unlink("sticky/roots"));
        CHECK("rename other's in sticky", rename("sticky/roots", "sticky/x"));
        CHECK("make own", mknod("sticky/own", S_IFREG | 0600, 0));
        CHECK("unlink own", unlink("sticky/own"));
        CHECK("mknod device", mknod("sticky/dev", S_IFCHR | 0600, 0x103));
    }
}
