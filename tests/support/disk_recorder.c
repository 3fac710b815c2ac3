/* Preloaded into a process, it keeps a journal of what the process does to the files below one
 * directory: every write, every change of a name, every sync, in one order for all threads.
 *
 * Nothing is recorded before disk_record() was called. Calls outside the directory pass. A call that
 * is recorded is made and noted under one lock: so whatever stands in the journal before a sync
 * was done before that sync began. The layout of the journal is beside its reader, in
 * disk_recording.py.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int journal = -1;
static int heard = -1;
static char root[PATH_MAX];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

void disk_record(const char *directory, int to, int hears)
{
    snprintf(root, sizeof root, "%s", directory);
    heard = hears;
    journal = to;
}

/* -- the journal ------------------------------------------------------------------------------- */

struct __attribute__((packed)) head {
    uint8_t kind;
    uint64_t inode, number;
    uint32_t first, second;
};

static void put(const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t done = syscall(SYS_write, journal, at, size);
        if (done < 0) {
            perror("disk_recorder: the journal cannot be written");
            _exit(1);
        }
        at += done;
        size -= (size_t)done;
    }
}

static void note(char kind, uint64_t inode, uint64_t number, const void *first, size_t first_size,
                 const char *second)
{
    size_t second_size = second == NULL ? 0 : strlen(second);
    struct head head = {(uint8_t)kind, inode, number, (uint32_t)first_size, (uint32_t)second_size};
    put(&head, sizeof head);
    put(first, first_size);
    put(second, second_size);
}

static void note_path(char kind, uint64_t inode, const char *path)
{
    note(kind, inode, 0, path, strlen(path), NULL);
}

/* -- which files ------------------------------------------------------------------------------- */

static bool is_below(const char *path)
{
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = '\0';
    return size > 0;
}

static bool is_recorded(int fd)
{
    char path[PATH_MAX];
    int before = errno;
    bool found = journal >= 0 && path_of(fd, path) && is_below(path);
    errno = before;
    return found;
}

/* The absolute path of what a call names; whether it is recorded. */
static bool resolve(int at, const char *path, char *whole)
{
    if (journal < 0 || path == NULL)
        return false;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        char folder[PATH_MAX];
        if (at == AT_FDCWD ? getcwd(folder, sizeof folder) == NULL : !path_of(at, folder))
            return false;
        if (snprintf(whole, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX)
            return false;
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/')
        whole[--length] = '\0';
    return is_below(whole);
}

static uint64_t inode_of(int fd)
{
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

static uint64_t inode_at(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

/* -- files ------------------------------------------------------------------------------------- */

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 && (flags & O_DIRECTORY) == 0;
    if (!changes || !resolve(at, path, whole))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&turn);
    bool was_there = inode_at(whole) != 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && !was_there)
        note_path('C', inode_of(fd), whole);
    else if (fd >= 0 && (flags & O_TRUNC) != 0)
        note('T', inode_of(fd), 0, NULL, 0, NULL);
    pthread_mutex_unlock(&turn);
    return fd;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                                                    \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(at, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    bool is_heard = journal >= 0 && fd == heard;
    if (!is_heard && !is_recorded(fd))
        return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&turn);
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (done > 0 && is_heard)
        note('H', 0, 0, data, (size_t)done, NULL);
    else if (done > 0) /* also where the file is appended to, its place is behind what was written */
        note('W', inode_of(fd), (uint64_t)(lseek(fd, 0, SEEK_CUR) - done), data, (size_t)done, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (!is_recorded(fd))
        return syscall(SYS_writev, fd, parts, count);
    ssize_t done = 0; /* one after the other: a writev may always write less than it was given */
    for (int at = 0; at < count; at++) {
        ssize_t one = write(fd, parts[at].iov_base, parts[at].iov_len);
        if (one < 0)
            return done > 0 ? done : one;
        done += one;
        if ((size_t)one < parts[at].iov_len)
            break;
    }
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (!is_recorded(fd))
        return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&turn);
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0)
        note('W', inode_of(fd), (uint64_t)offset, data, (size_t)done, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

int ftruncate(int fd, off_t size)
{
    if (!is_recorded(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_ftruncate, fd, size);
    if (!failed)
        note('T', inode_of(fd), (uint64_t)size, NULL, 0, NULL);
    pthread_mutex_unlock(&turn);
    return failed;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

static int sync_any(int fd, long number)
{
    if (!is_recorded(fd))
        return (int)syscall(number, fd);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(number, fd);
    if (!failed)
        note('S', inode_of(fd), 0, NULL, 0, NULL);
    pthread_mutex_unlock(&turn);
    return failed;
}

int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}

/* -- names ------------------------------------------------------------------------------------- */

int mkdirat(int at, const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    if (!resolve(at, path, whole))
        return (int)syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_mkdirat, at, path, mode);
    if (!failed)
        note_path('D', inode_at(whole), whole);
    pthread_mutex_unlock(&turn);
    return failed;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int unlinkat(int at, const char *path, int flags)
{
    char whole[PATH_MAX];
    if (!resolve(at, path, whole))
        return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&turn);
    uint64_t inode = inode_at(whole);
    int failed = (int)syscall(SYS_unlinkat, at, path, flags);
    if (!failed)
        note_path('U', inode, whole);
    pthread_mutex_unlock(&turn);
    return failed;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    char whole[PATH_MAX];
    if (!resolve(to, new, whole))
        return (int)syscall(SYS_linkat, from, old, to, new, flags);
    pthread_mutex_lock(&turn);
    int failed = (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (!failed)
        note_path('L', inode_at(whole), whole);
    pthread_mutex_unlock(&turn);
    return failed;
}

int link(const char *old, const char *new)
{
    return linkat(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned int flags)
{
    char before[PATH_MAX], after[PATH_MAX];
    bool leaves = resolve(from, old, before), arrives = resolve(to, new, after);
    if (!leaves && !arrives)
        return (int)syscall(SYS_renameat2, from, old, to, new, flags);
    pthread_mutex_lock(&turn);
    uint64_t moved = inode_at(before), other = inode_at(after);
    int failed = (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (!failed)
        note((flags & RENAME_EXCHANGE) != 0 ? 'X' : 'R', moved, other, before, strlen(before), after);
    pthread_mutex_unlock(&turn);
    return failed;
}

int renameat(int from, const char *old, int to, const char *new)
{
    return renameat2(from, old, to, new, 0);
}

int rename(const char *old, const char *new)
{
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}
