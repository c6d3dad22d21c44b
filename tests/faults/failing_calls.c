/* Calls of the C library that fail, or end the process, at the n-th change below a folder. For LD_PRELOAD.
 *
 * It lies idle until `fail_calls` is called. What changes a folder is counted: opening to write, writing, syncing,
 * renaming, making and cutting files and folders. Removing is not, as it works on a full disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = -1 };

static char folder[PATH_MAX];
static size_t length;
static atomic_long seen, first = 0, last = 0;
static atomic_int armed = 0, code = 0;

/* From the `from`-th change below `root` on, counted from 1, so many calls fail with `error`; with -1 the process is
 * killed. `from` 0 only counts. */
void fail_calls(const char *root, long from, long calls, int error) {
  length = strlen(root);
  memcpy(folder, root, length + 1);
  atomic_store(&seen, 0);
  atomic_store(&first, from);
  atomic_store(&last, from + calls - 1);
  atomic_store(&code, error);
  atomic_store(&armed, 1);
}

void stop_failing(void) { atomic_store(&armed, 0); }

long calls_seen(void) { return atomic_load(&seen); }

static int below(const char *path) {
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int is_below(int at, const char *path) {
  char link[64], whole[2 * PATH_MAX];
  ssize_t size;
  if (!atomic_load(&armed)) return 0;
  if (path && path[0] == '/') return below(path);
  if (at == AT_FDCWD) {
    if (!getcwd(whole, PATH_MAX)) return 0;
    size = strlen(whole);
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    size = readlink(link, whole, PATH_MAX - 1);
    if (size < 0) return 0;
    whole[size] = 0;
  }
  if (path) snprintf(whole + size, sizeof whole - size, "/%s", path);
  return below(whole);
}

/* The error of this call, 0 where it goes on. `*start` is whether it is the first that fails. */
static int fault(int at, const char *path, int *start) {
  long number;
  int kept = errno, error = 0;
  if (is_below(at, path)) {
    number = atomic_fetch_add(&seen, 1) + 1;
    if (number >= atomic_load(&first) && number <= atomic_load(&last) && atomic_load(&first)) {
      error = atomic_load(&code);
      if (error == KILL) kill(getpid(), SIGKILL);
      if (start) *start = number == atomic_load(&first);
    }
  }
  errno = error ? error : kept;
  return error;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) {
  REAL(open); MODE
  return WRITES(flags) && fault(AT_FDCWD, path, 0) ? -1 : real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  REAL(open64); MODE
  return WRITES(flags) && fault(AT_FDCWD, path, 0) ? -1 : real(path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
  REAL(openat); MODE
  return WRITES(flags) && fault(at, path, 0) ? -1 : real(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
  REAL(openat64); MODE
  return WRITES(flags) && fault(at, path, 0) ? -1 : real(at, path, flags, mode);
}
FILE *fopen(const char *path, const char *mode) {
  REAL(fopen);
  return strpbrk(mode, "wa+") && fault(AT_FDCWD, path, 0) ? 0 : real(path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
  REAL(fopen64);
  return strpbrk(mode, "wa+") && fault(AT_FDCWD, path, 0) ? 0 : real(path, mode);
}
/* A disk that fills up takes a part of what it is given first. */
static int is_short(int fd, size_t size, int *error) {
  int start = 0;
  *error = fault(fd, 0, &start);
  return *error == ENOSPC && start && size > 1;
}
ssize_t write(int fd, const void *data, size_t size) {
  int error;
  REAL(write);
  if (is_short(fd, size, &error)) return real(fd, data, size / 2);
  return error ? -1 : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  int error;
  REAL(pwrite);
  if (is_short(fd, size, &error)) return real(fd, data, size / 2, at);
  return error ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  int error;
  REAL(pwrite64);
  if (is_short(fd, size, &error)) return real(fd, data, size / 2, at);
  return error ? -1 : real(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  return fault(fd, 0, 0) ? -1 : real(fd, parts, count);
}
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
  REAL(fwrite);
  return fault(fileno(stream), 0, 0) ? 0 : real(data, size, count, stream);
}
ssize_t sendfile(int out, int in, off_t *at, size_t count) {
  REAL(sendfile);
  return fault(out, 0, 0) ? -1 : real(out, in, at, count);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) {
  REAL(sendfile64);
  return fault(out, 0, 0) ? -1 : real(out, in, at, count);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned int flags) {
  REAL(copy_file_range);
  return fault(out, 0, 0) ? -1 : real(in, from, out, to, count, flags);
}
int fsync(int fd) {
  REAL(fsync);
  return fault(fd, 0, 0) ? -1 : real(fd);
}
int fdatasync(int fd) {
  REAL(fdatasync);
  return fault(fd, 0, 0) ? -1 : real(fd);
}
int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  return fault(fd, 0, 0) ? -1 : real(fd, size);
}
int ftruncate64(int fd, off64_t size) {
  REAL(ftruncate64);
  return fault(fd, 0, 0) ? -1 : real(fd, size);
}
int rename(const char *old, const char *new) {
  REAL(rename);
  return fault(AT_FDCWD, new, 0) ? -1 : real(old, new);
}
int renameat(int from, const char *old, int at, const char *new) {
  REAL(renameat);
  return fault(at, new, 0) ? -1 : real(from, old, at, new);
}
int renameat2(int from, const char *old, int at, const char *new, unsigned int flags) {
  REAL(renameat2);
  return fault(at, new, 0) ? -1 : real(from, old, at, new, flags);
}
int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return fault(AT_FDCWD, path, 0) ? -1 : real(path, mode);
}
int mkdirat(int at, const char *path, mode_t mode) {
  REAL(mkdirat);
  return fault(at, path, 0) ? -1 : real(at, path, mode);
}
int link(const char *old, const char *new) {
  REAL(link);
  return fault(AT_FDCWD, new, 0) ? -1 : real(old, new);
}
int symlink(const char *target, const char *path) {
  REAL(symlink);
  return fault(AT_FDCWD, path, 0) ? -1 : real(target, path);
}
