/*
 * The static helper that the injector puts into pods, and that the image starts by: it needs no shell, no library and no Node in the container.
 *
 *   helper ready FILE                       exit 0 when FILE exists, else 1 (a startup probe)
 *   helper copy DST                         copies this program to DST, mode 0755 (an init container)
 *   helper exec ENVFILE... -- CMD ARG...    adds the variables of the files to the environment, becomes CMD
 *   helper nodump CMD ARG...                becomes CMD, which the kernel makes no core dump of (the image's entry point)
 *
 * Format of an ENVFILE ("Nul" in src/common/agent-config.ts): records NAME=value, each ended by a NUL byte, so a value
 * may hold anything but NUL. A later record, or file, replaces an earlier one and what the environment had.
 * Exit codes of a failed exec are the shell's: 127 when CMD is not found, 126 for every other reason; 2 for wrong
 * usage. Messages name files and variables; they must never hold a value.
 *
 * Built by tools/image/build-helper: `musl-gcc -std=c11 -Os -static -s`, which makes about 40 KiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* Kubernetes keeps at most 1 MiB in a Secret, so no file of variables that came from one is larger. */
#define FILE_BYTES_MAX (1024 * 1024)
/* Linux refuses one string of more than 128 KiB at exec (MAX_ARG_STRLEN), with an error that does not name it. */
#define RECORD_BYTES_MAX (128 * 1024)
/* Pods in the field have some hundreds of variables, most of them service links. */
#define VARIABLES_MAX 8192

enum { EXIT_USAGE = 2, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };

static _Noreturn void fail(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("coffer-helper: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(code);
}

static _Noreturn void usage(void) {
  fail(EXIT_USAGE, "usage: helper ready FILE | copy DST | exec ENVFILE... -- CMD ARG... | nodump CMD ARG...");
}

/* Reads until `size` bytes are there or the file ends; returns how many, or -1. */
static ssize_t read_all(int fd, char *into, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = read(fd, into + have, size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    have += (size_t)got;
  }
  return (ssize_t)have;
}

/* 0, or -1 with errno. */
static int write_all(int fd, const char *from, size_t size) {
  while (size > 0) {
    ssize_t put = write(fd, from, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return -1;
    from += put;
    size -= (size_t)put;
  }
  return 0;
}

/* ---- copy: beside the target, then renamed, so that nobody ever sees half a program. */

static int copy_bytes(int from, int to) {
  char buffer[16384];
  for (;;) {
    ssize_t got = read_all(from, buffer, sizeof buffer);
    if (got <= 0) return (int)got;
    if (write_all(to, buffer, (size_t)got) < 0) return -1;
  }
}

static int copy_self(const char *target) {
  char partial[4096];
  if ((size_t)snprintf(partial, sizeof partial, "%s.partial", target) >= sizeof partial)
    fail(EXIT_CANNOT, "copy: the path is longer than 4095 bytes");
  int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (from < 0) fail(EXIT_CANNOT, "copy: cannot read /proc/self/exe: %s", strerror(errno));
  int to = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
  if (to < 0) fail(EXIT_CANNOT, "copy: cannot create %s: %s", partial, strerror(errno));
  /* fchmod because the mode given to open is cut by the umask. */
  if (copy_bytes(from, to) < 0 || fchmod(to, 0755) < 0 || close(to) < 0 || rename(partial, target) < 0) {
    int reason = errno;
    unlink(partial);
    fail(EXIT_CANNOT, "copy: cannot write %s: %s", target, strerror(reason));
  }
  return 0;
}

/* ---- exec */

static char *variables[VARIABLES_MAX + 1]; /* ended by NULL, as exec wants it */
static size_t variables_count;

/* Sets one NAME=value record, whose name is `name_size` bytes long. */
static void set_variable(char *record, size_t name_size) {
  for (size_t i = 0; i < variables_count; i++) {
    if (strncmp(variables[i], record, name_size + 1) == 0) {
      variables[i] = record;
      return;
    }
  }
  if (variables_count == VARIABLES_MAX)
    fail(EXIT_CANNOT, "exec: more than %d variables in the environment and the files together", VARIABLES_MAX);
  variables[variables_count++] = record;
}

static void set_record(const char *file, char *record, size_t number) {
  const char *equals = strchr(record, '=');
  if (equals == NULL || equals == record)
    fail(EXIT_CANNOT, "exec: %s: record %zu is not NAME=value", file, number);
  size_t name_size = (size_t)(equals - record);
  for (size_t i = 0; i < name_size; i++) {
    if (record[i] < '!' || record[i] > '~')
      fail(EXIT_CANNOT, "exec: %s: the name of record %zu holds a byte that is no printable ASCII", file, number);
  }
  if (strlen(record) + 1 > RECORD_BYTES_MAX)
    fail(EXIT_CANNOT, "exec: %s: variable %.*s is larger than %d bytes, which Linux does not pass on; use a file",
         file, name_size > 256 ? 256 : (int)name_size, record, RECORD_BYTES_MAX);
  set_variable(record, name_size);
}

/* The file's bytes stay allocated: the environment points into them until the exec. */
static void set_file(const char *file) {
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(EXIT_CANNOT, "exec: cannot read %s: %s", file, strerror(errno));
  char *bytes = malloc(FILE_BYTES_MAX + 1);
  if (bytes == NULL) fail(EXIT_CANNOT, "exec: out of memory");
  ssize_t size = read_all(fd, bytes, FILE_BYTES_MAX + 1);
  if (size < 0) fail(EXIT_CANNOT, "exec: cannot read %s: %s", file, strerror(errno));
  if (size > FILE_BYTES_MAX) fail(EXIT_CANNOT, "exec: %s is larger than %d bytes", file, FILE_BYTES_MAX);
  close(fd);
  if (size > 0 && bytes[size - 1] != '\0')
    fail(EXIT_CANNOT, "exec: %s does not end with a NUL byte; is it NUL-separated and complete?", file);
  size_t number = 1;
  for (char *record = bytes; record < bytes + size; record += strlen(record) + 1) set_record(file, record, number++);
}

static _Noreturn void exec_with(char **arguments) {
  char **files = arguments;
  while (*arguments != NULL && strcmp(*arguments, "--") != 0) arguments++;
  if (arguments == files || arguments[0] == NULL || arguments[1] == NULL) usage();
  char **command = arguments + 1;
  for (char **variable = environ; *variable != NULL; variable++) {
    const char *equals = strchr(*variable, '=');
    if (equals != NULL) set_variable(*variable, (size_t)(equals - *variable));
  }
  for (char **file = files; file < arguments; file++) set_file(*file);
  /* execvp looks for the command in the PATH of `environ`, which a file may have set. */
  environ = variables;
  execvp(command[0], command);
  if (errno == ENOENT || errno == ENOTDIR) fail(EXIT_NOT_FOUND, "exec: %s: command not found", command[0]);
  if (errno == E2BIG) fail(EXIT_CANNOT, "exec: %s: environment and arguments are too large together", command[0]);
  fail(EXIT_CANNOT, "exec: %s: %s", command[0], strerror(errno));
}

/* ---- nodump: a core dump of a server holds every key it has. */

static _Noreturn void become_undumped(char **command) {
  /*
   * Children inherit it, and nobody without CAP_SYS_RESOURCE raises it again. One byte, not none: a dump to a file must be
   * larger than that, and of one to a program, for which the kernel looks at no other limit, exactly this one means
   * "none" (fs/coredump.c: cprm.limit == 1).
   */
  struct rlimit one = {1, 1};
  if (setrlimit(RLIMIT_CORE, &one) < 0) {
    /* A hard limit of 0 that was set before cannot be raised to 1, and is all there can be. */
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0) fail(EXIT_CANNOT, "nodump: cannot limit core dumps: %s", strerror(errno));
  }
  execvp(command[0], command);
  if (errno == ENOENT || errno == ENOTDIR) fail(EXIT_NOT_FOUND, "nodump: %s: command not found", command[0]);
  fail(EXIT_CANNOT, "nodump: %s: %s", command[0], strerror(errno));
}

int main(int count, char **arguments) {
  if (count < 3) usage();
  if (strcmp(arguments[1], "ready") == 0 && count == 3) return access(arguments[2], F_OK) == 0 ? 0 : 1;
  if (strcmp(arguments[1], "copy") == 0 && count == 3) return copy_self(arguments[2]);
  if (strcmp(arguments[1], "exec") == 0) exec_with(arguments + 2);
  if (strcmp(arguments[1], "nodump") == 0) become_undumped(arguments + 2);
  usage();
}
