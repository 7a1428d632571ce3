// What a program that is explained does to get away, or to have another thing said of it. Each prints the error number, or 0.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int said(long result)
{
    printf("%d\n", result < 0 ? errno : 0);
    return 0;
}

static void *at(unsigned long address, const char *text)
{
    void *page = mmap((void *)address, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return page == MAP_FAILED ? NULL : strcpy(page, text);
}

// The process that traces this one.
static int tracer(void)
{
    char line[256];
    int number = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && !number && fgets(line, sizeof line, status))
        sscanf(line, "TracerPid: %d", &number);
    return number;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *path = argc > 2 ? argv[2] : "", *other = argc > 3 ? argv[3] : "";
    if (!strcmp(what, "selector")) {
        // A selector that can be loaded, and that PTRACE_SETREGS does not take.
        __asm__ volatile("mov %0, %%es" : : "r"((unsigned short)1));
        return said(socket(AF_PACKET, SOCK_RAW, 0));
    }
    if (!strcmp(what, "whole registers")) {
        // int $0x80 takes the lower half of the address: there is another path at the whole one.
        long result;
        if (!at(0x10000000, path) || !at(0x110000000, other))
            return 1;
        __asm__ volatile("int $0x80"
                         : "=a"(result)
                         : "a"(5), "b"(0x110000000), "c"(0L), "d"(0L)
                         : "memory", "r8", "r9", "r10", "r11");
        errno = (int)-result;
        return said(result);
    }
    if (!strcmp(what, "ftruncate"))
        return said(ftruncate(open(path, O_WRONLY), 0));
    if (!strcmp(what, "followed link"))
        return said(linkat(AT_FDCWD, "/proc/self/fd/0", AT_FDCWD, path, AT_SYMLINK_FOLLOW));
    if (!strcmp(what, "in root")) {
        struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
        return said(syscall(SYS_openat2, open(path, O_PATH | O_DIRECTORY), other, &how, sizeof how));
    }
    if (!strcmp(what, "limits")) {
        // The watcher's alone: a number that is guessed is a thread of the tests sooner or later.
        struct rlimit none = {0, 0};
        int watcher = tracer();
        long limited = watcher > 0 ? prlimit(watcher, RLIMIT_NOFILE, &none, NULL) : -1;
        printf("%d\n", watcher > 0 ? limited < 0 ? errno : 0 : -1);
        return said(open(path, O_RDONLY));
    }
    if (!strcmp(what, "own filter")) {
        // What the watcher's own filter says, of a call that it does not stop.
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 0x7061),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {4, filter};
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            return 1;
        return said(syscall(SYS_getppid));
    }
    return 2;
}
