/* What wants a rule that it has not earned: `learn MODE`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void must(int good, const char *what)
{
    if (good)
        return;
    printf("FAILED: %s: %s\n", what, strerrorname_np(errno));
    exit(99);
}

static char path[16];

static void put(const char *name)
{
    strncpy(path, name, sizeof path);
    __asm__ volatile("" ::: "memory");
    for (volatile int i = 0; i < 300; i++)
        ;
}

static void *change(void *unused)
{
    for (;;) {
        put("./secret/abcdef");
        put("./box/ab/cd/efg");
        put(".");
        put("./box/ab/cd/efg");
    }
    return unused;
}

/* Changes what it asks for while it asks. */
static void race(void)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, change, NULL) == 0, "thread");
    for (int i = 0, done = 0; done < 300 && i < 20000; i++) {
        done += mkdir(path, 0700) == 0;
        rmdir(path);
        close(open(path, O_WRONLY | O_CREAT, 0600));
        unlink(path);
    }
    exit(0);
}

/* Copies itself, and opens and executes the copy by its descriptor. */
static void executes(int fd)
{
    static char buffer[1 << 16];
    char link[64];
    int own = open("/proc/self/exe", O_RDONLY);
    for (ssize_t read_now; (read_now = read(own, buffer, sizeof buffer)) > 0;)
        must(write(fd, buffer, read_now) == read_now, "write");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = open(link, O_RDONLY);
    must(again >= 0 && close(fd) == 0, link);
    pid_t child = fork();
    if (!child) {
        fexecve(again, (char *[]){ "learn", "nothing", NULL }, environ);
        _exit(99);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "fexecve");
}

/* A file of memory. */
static void memory(void)
{
    int fd = memfd_create("x", 0);
    must(fd >= 0, "memfd_create");
    executes(fd);
}

static void nothing(void) {}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } modes[] = {
        { "race", race }, { "memory", memory }, { "nothing", nothing },
    };
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (argc > 1 && !strcmp(argv[1], modes[i].name))
            return modes[i].run(), 0;
    return 99;
}
