// Preloaded by scripts/attack.py: counts the calls of fsync, rename, mkdir and the like, of a process whose
// program is named ATTACK_PROGRAM, and kills it at the ATTACK_KILL_AT-th, before the call takes effect. The
// calls of every process are written to the file ATTACK_LOG, a line each.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long count;

static void step(const char* call) {
  const int error = errno;
  const char* const log = getenv("ATTACK_LOG");
  const char* const at = getenv("ATTACK_KILL_AT");
  const char* const program = getenv("ATTACK_PROGRAM");
  if (log != NULL) {
    const int file = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    dprintf(file, "%s %s\n", program_invocation_short_name, call);
    close(file);
  }
  if (at != NULL && program != NULL && strcmp(program_invocation_short_name, program) == 0) {
    if (++count == atol(at)) kill(getpid(), SIGKILL);
  }
  errno = error;
}

#define INTERPOSE(call, parameters, arguments) \
  int call parameters {                        \
    step(#call);                               \
    int(*const next) parameters = (int(*) parameters)dlsym(RTLD_NEXT, #call); \
    return next arguments;                     \
  }

INTERPOSE(fsync, (int fd), (fd))
INTERPOSE(rename, (const char* from, const char* to), (from, to))
INTERPOSE(mkdir, (const char* path, mode_t mode), (path, mode))
INTERPOSE(ftruncate, (int fd, off_t size), (fd, size))
INTERPOSE(unlink, (const char* path), (path))
INTERPOSE(unlinkat, (int folder, const char* path, int flags), (folder, path, flags))
INTERPOSE(rmdir, (const char* path), (path))
INTERPOSE(remove, (const char* path), (path))
