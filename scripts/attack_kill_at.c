// Preloaded by scripts/attack.py: kills the process at its ATTACK_KILL_AT-th call of fsync, rename or
// mkdir, before the call takes effect. Only in a process whose program is named ATTACK_PROGRAM.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long count;

static void step(void) {
  const char* const at = getenv("ATTACK_KILL_AT");
  const char* const program = getenv("ATTACK_PROGRAM");
  if (at == NULL || program == NULL || strcmp(program_invocation_short_name, program) != 0) return;
  if (++count == atol(at)) kill(getpid(), SIGKILL);
}

int fsync(int fd) {
  step();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int rename(const char* from, const char* to) {
  step();
  return ((int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename"))(from, to);
}

int mkdir(const char* path, mode_t mode) {
  step();
  return ((int (*)(const char*, mode_t))dlsym(RTLD_NEXT, "mkdir"))(path, mode);
}
