/*
 * What a program that is watched would notice, and what it would try: `watched MODE` prints lines that are the same each
 * time. What is open to it is its own folder; "refused" in it is a file's name that the policy does not grant.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char **args;

static void say(const char *name, long result)
{
    printf("%s: %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
    fflush(stdout);
}

static void must(int good, const char *what)
{
    if (good)
        return;
    printf("FAILED: %s: %s\n", what, strerrorname_np(errno));
    exit(99);
}

static int opened(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0)
        close(fd);
    return fd;
}

static void ended(const char *name, pid_t pid)
{
    int status;
    must(waitpid(pid, &status, 0) == pid, name);
    if (WIFEXITED(status))
        printf("%s: exited %d\n", name, WEXITSTATUS(status));
    else
        printf("%s: killed %d\n", name, WTERMSIG(status));
    fflush(stdout);
}

/* It has no children, and its parent is the caller. */
static void family(void)
{
    say("wait", waitpid(-1, NULL, __WALL));
    say("wait for a stop", waitpid(-1, NULL, WUNTRACED | WCONTINUED | WNOHANG));
    printf("parent: %d\nown: %d\ngroup: %d\nsession: %d\n", getppid(), getpid(), getpgrp(), getsid(0));
    sigset_t pending;
    sigpending(&pending);
    printf("pending:");
    for (int i = 1; i < 65; i++)
        if (sigismember(&pending, i) == 1)
            printf(" %d", i);
    printf("\n");
}

/* Starts a command with SIGCHLD blocked. */
static void blocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    execvp(args[0], args);
}

static volatile sig_atomic_t taken;
static volatile long value, from, code;

static void take(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    value = info->si_value.sival_int, from = info->si_pid, code = info->si_code;
    taken++;
}

static void handle(int signal, int flags)
{
    struct sigaction action = { .sa_sigaction = take, .sa_flags = SA_SIGINFO | flags };
    sigaction(signal, &action, NULL);
    taken = 0;
}

/* Signals its parent again and again, and then does what it waits for; stops before that if it is told. */
static pid_t pester(void (*then)(void), int times)
{
    pid_t parent = getpid(), child = fork();
    if (child)
        return child;
    for (int i = 0; !times || i < times; i++) {
        kill(parent, SIGUSR1);
        usleep(2000);
    }
    then();
    _exit(0);
}

static int ends[2], server;
static void open_fifo(void) { must(open("fifo", O_WRONLY) >= 0, "fifo"); }
static void write_pipe(void) { must(write(ends[1], "x", 1) == 1, "pipe"); }
static void accept_one(void)
{
    for (;;)
        if (accept(server, NULL, NULL) < 0)
            _exit(0);
}

static struct sockaddr_un named = { .sun_family = AF_UNIX, .sun_path = "listening" };

static long wait_open(void) { return open("fifo", O_RDONLY); }
static long wait_read(void) { char c; return read(ends[0], &c, 1); }
static long wait_connect(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&named, sizeof named);
}

static void interrupted(const char *what, long (*call)(void), void (*then)(void))
{
    char name[99];
    handle(SIGUSR1, 0);
    pid_t child = pester(then, 0);
    snprintf(name, sizeof name, "%s, interrupted", what);
    say(name, call());
    kill(child, SIGKILL);
    ended(name, child);
    handle(SIGUSR1, SA_RESTART);
    child = pester(then, 20);
    snprintf(name, sizeof name, "%s, restarted", what);
    say(name, call());
    printf("%s: %s\n", name, taken ? "signals came" : "no signal came");
    if (then == accept_one)
        kill(child, SIGKILL);
    ended(name, child);
}

/* Handlers during calls that wait. */
static void interrupts(void)
{
    must(mkfifo("fifo", 0600) == 0 && pipe(ends) == 0, "fifo");
    interrupted("open", wait_open, open_fifo);
    interrupted("read", wait_read, write_pipe);
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    must(bind(server, (struct sockaddr *)&named, sizeof named) == 0 && listen(server, 0) == 0, "listen");
    must(wait_connect() == 0, "connect");
    interrupted("connect", wait_connect, accept_one);
    unlink("fifo");
    unlink("listening");
}

/* A timer interrupts nothing that does not wait. */
static void timer(void)
{
    handle(SIGALRM, 0);
    struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
    setitimer(ITIMER_REAL, &every, NULL);
    long odd = 0, refused = 0;
    for (long i = 0; i < 10000 || !taken; i++) {
        int fd = open("watched.c", O_RDONLY);
        odd += fd < 0;
        close(fd);
        refused += i < 1000 && open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES;
    }
    printf("not opened: %ld\nrefused: %ld\nticks: %s\n", odd, refused, taken ? "some" : "none");
}

static pthread_t first;

static void *signal_first(void *unused)
{
    (void)unused;
    pthread_kill(first, SIGUSR2);
    return NULL;
}

/* What comes with a signal. */
static void queued(void)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, &old);
    int signals[] = { SIGRTMIN, SIGUSR1 };
    for (int i = 0; i < 2; i++) {
        handle(signals[i], 0);
        pid_t parent = getpid(), child = fork();
        if (!child) {
            union sigval v = { .sival_int = 4711 + i };
            _exit(sigqueue(parent, signals[i], v));
        }
        while (!taken)
            sigsuspend(&old);
        printf("value: %ld\nfrom the child: %s\nby sigqueue: %s\n", value, from == child ? "yes" : "no",
               code == SI_QUEUE ? "yes" : "no");
        ended("it", child);
    }
    handle(SIGUSR2, 0);
    first = pthread_self();
    pthread_t thread;
    pthread_create(&thread, NULL, signal_first, NULL);
    while (!taken)
        sigsuspend(&old);
    pthread_join(thread, NULL);
    printf("from a thread: %s\nby tgkill: %s\n", from == getpid() ? "yes" : "no", code == SI_TKILL ? "yes" : "no");
    /* One that is ignored, and one that only the kernel sends. */
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    raise(SIGUSR1);
    handle(SIGTRAP, 0);
    __asm__ volatile("int3");
    printf("breakpoint: %d times, of the kernel: %s\n", (int)taken, code > 0 ? "yes" : "no");
}

static void waited(const char *name, pid_t child, int options)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    must(waitid(P_PID, child, &info, options) == 0, name);
    printf("%s: code %d, status %d, of it: %s\n", name, info.si_code, info.si_status,
           info.si_pid == child && info.si_uid == getuid() ? "yes" : "no");
    fflush(stdout);
}

/* Stops, as a parent sees them. */
static void stops(void)
{
    char c;
    must(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (!child) {
        raise(SIGSTOP);
        /* Else the next stop could hide from its parent that it went on. */
        must(read(ends[0], &c, 1) == 1, "read");
        raise(SIGSTOP);
        opened("/etc/passwd");
        _exit(7);
    }
    waited("stopped", child, WSTOPPED);
    say("to wait for more", waitpid(child, NULL, WNOHANG | WUNTRACED));
    kill(child, SIGCONT);
    waited("continued", child, WCONTINUED | WEXITED);
    must(write(ends[1], "x", 1) == 1, "write");
    waited("stopped again", child, WSTOPPED);
    kill(child, SIGCONT);
    waited("ended", child, WEXITED);
    child = fork();
    if (!child) {
        raise(SIGSTOP);
        _exit(0);
    }
    waited("another", child, WSTOPPED);
    kill(child, SIGKILL);
    waited("killed while it is stopped", child, WEXITED);
    child = fork();
    if (!child) {
        raise(SIGSTOP);
        _exit(0);
    }
    waited("a third", child, WSTOPPED);
    kill(child, SIGTERM);
    kill(child, SIGCONT);
    waited("ended by a signal that waited", child, WEXITED);
    child = fork();
    if (!child)
        _exit(5);
    waited("a zombie", child, WEXITED | WNOWAIT);
    say("a zombie can be signalled", kill(child, 0));
    waited("a zombie still", child, WEXITED);
    say("it is gone", kill(child, 0));
    signal(SIGCHLD, SIG_IGN);
    child = fork();
    if (!child)
        _exit(5);
    say("a child that nobody waits for", waitpid(child, NULL, 0));
}

static long count[16];

static void *open_many(void *number)
{
    for (int i = 0; i < 300; i++) {
        count[(long)number] += opened("watched.c") >= 0;
        count[(long)number] += open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES;
    }
    return number;
}

static void *execute(void *unused)
{
    (void)unused;
    char *arguments[] = { "watched", "says", "from a thread", NULL };
    execv("./watched", arguments);
    return NULL;
}

static void *wait_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void *last(void *unused)
{
    (void)unused;
    pthread_join(first, NULL);
    say("after the leader", opened("watched.c"));
    say("refused after the leader", opened("/etc/passwd"));
    exit(3);
}

static void threads(void)
{
    pthread_t all[16];
    long sum = 0;
    for (long i = 0; i < 16; i++)
        must(pthread_create(&all[i], NULL, open_many, (void *)i) == 0, "thread");
    /* The first one gets its turn among them. */
    for (int i = 0; i < 100; i++)
        sum += opened("watched.c") >= 0;
    for (int i = 0; i < 16; i++) {
        pthread_join(all[i], NULL);
        sum += count[i];
    }
    printf("as expected: %ld\n", sum);
    fflush(stdout);
    for (int by_leader = 0; by_leader < 2; by_leader++) {
        pid_t child = fork();
        if (!child) {
            pthread_t thread;
            for (int i = 0; i < 8; i++)
                pthread_create(&thread, NULL, i % 2 ? open_many : wait_for_ever, 0);
            if (by_leader)
                execute(NULL);
            pthread_create(&thread, NULL, execute, NULL);
            wait_for_ever(NULL);
        }
        ended("a thread that executes", child);
    }
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        first = pthread_self();
        pthread_create(&thread, NULL, last, NULL);
        pthread_exit(NULL);
    }
    ended("without its leader", child);
}

static char stack[65536] __attribute__((aligned(16)));
static int in_clone(void *unused) { return opened("/etc/passwd") < 0 && errno == EACCES ? 4 : unused ? 6 : 5; }

/* Each way to start a process. */
static void starts(void)
{
    char *arguments[] = { "watched", "says", "started", NULL };
    pid_t child = vfork();
    if (!child) {
        execv("./watched", arguments);
        _exit(1);
    }
    ended("vfork", child);
    child = vfork();
    if (!child) {
        execv("./nosuch", arguments);
        _exit(errno == ENOENT ? 2 : 1);
    }
    ended("vfork that fails", child);
    must(posix_spawn(&child, "./watched", NULL, NULL, arguments, environ) == 0, "spawn");
    ended("posix_spawn", child);
    printf("posix_spawn: %s\n", strerrorname_np(posix_spawn(&child, "./nosuch", NULL, NULL, arguments, environ)));
    fflush(stdout);
    child = clone(in_clone, stack + sizeof stack, SIGCHLD, NULL);
    ended("clone", child);
    child = clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
    ended("clone with the same memory", child);
    child = clone(in_clone, stack + sizeof stack, CLONE_PTRACE | SIGCHLD, NULL);
    ended("clone to be traced", child);
    uint64_t how[8] = { 0, 0, 0, 0, SIGCHLD };
    child = syscall(SYS_clone3, how, sizeof how);
    if (!child)
        _exit(in_clone(NULL));
    ended("clone3", child);
    /* Its end is told by another signal, or by none. */
    handle(SIGUSR1, 0);
    child = syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
    if (!child)
        _exit(6);
    int status;
    while (!taken)
        usleep(100);
    say("one that ends with SIGUSR1", waitpid(child, &status, 0));
    say("of a clone", waitpid(child, &status, __WALL));
    child = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (!child)
        _exit(6);
    say("one that ends without a signal", waitpid(child, &status, __WCLONE));
    printf("it exited %d\n", WEXITSTATUS(status));
}

static void put(const char *name, const char *content, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    must(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content), name);
    must(fchmod(fd, mode) == 0 && close(fd) == 0, name);
}

/* Programs that cannot be executed, and those that take a detour. */
static void executes(void)
{
    char *arguments[] = { "watched", "says", "executed", NULL };
    static char long_one[1 << 18];
    memset(long_one, 'x', sizeof long_one - 1);
    char *too_long[] = { "watched", long_one, NULL };
    put("text", "no program\n", 0700);
    put("closed", "#!/bin/sh\n", 0600);
    put("inner", "#!./watched says\n", 0700);
    put("outer", "#!./inner\n", 0700);
    put("lost", "#!./nosuch\n", 0700);
    say("nosuch", execv("./nosuch", arguments));
    say("text", execv("./text", arguments));
    say("closed", execv("./closed", arguments));
    say("lost", execv("./lost", arguments));
    say("below a file", execv("./text/x", arguments));
    say("a folder", execv(".", arguments));
    say("too long", execv("./watched", too_long));
    say("no address", syscall(SYS_execve, 8L, arguments, environ));
    say("refused", execv("/bin/true", arguments));
    pid_t child = fork();
    if (!child) {
        execv("./outer", (char *[]){ "outer", NULL });
        _exit(errno);
    }
    ended("a script of a script", child);
    child = fork();
    if (!child) {
        int fd = open("watched", O_RDONLY);
        syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
        _exit(errno);
    }
    ended("execveat", child);
    child = fork();
    if (!child) {
        must(chmod("watched", 0111) == 0, "chmod");
        execv("./watched", (char *[]){ "watched", "hidden", NULL });
        _exit(errno);
    }
    ended("a program that cannot be read", child);
    chmod("watched", 0755);
}

/* Hides its memory from others. */
static void hidden(void)
{
    prctl(PR_SET_DUMPABLE, 0);
    say("hidden, own", opened("watched.c"));
    say("hidden, refused", opened("/etc/passwd"));
}

static long filter_says(int number, uint32_t action, unsigned flags)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void *open_two(void *unused)
{
    say("in a thread, open", opened("watched.c"));
    say("in a thread, socket", socket(AF_INET, SOCK_DGRAM, 0));
    return unused;
}

/* Its own filters. */
static void filters(void)
{
    say("a filter", filter_says(SYS_mkdir, SECCOMP_RET_ERRNO | EROFS, 0));
    say("mkdir", mkdir("made", 0700));
    say("own", opened("watched.c"));
    say("refused", opened("/etc/passwd"));
    for (int data = 0; data < 2; data++) {
        say("a filter that says trace", filter_says(SYS_socket, SECCOMP_RET_TRACE | data, 0));
        say("socket", socket(AF_INET, SOCK_DGRAM, 0));
        say("socket, once more", socket(AF_PACKET, SOCK_RAW, 0));
    }
    say("a filter that logs", filter_says(SYS_socket, SECCOMP_RET_LOG, SECCOMP_FILTER_FLAG_TSYNC));
    say("socket", socket(AF_INET, SOCK_DGRAM, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, open_two, NULL);
    pthread_join(thread, NULL);
    say("a filter that says trace to open", filter_says(SYS_openat, SECCOMP_RET_TRACE, 0));
    say("own", opened("watched.c"));
    say("refused", opened("/etc/passwd"));
    pid_t child = fork();
    if (!child) {
        filter_says(SYS_openat, SECCOMP_RET_KILL_PROCESS, 0);
        opened("watched.c");
        _exit(0);
    }
    ended("a filter that kills", child);
}

static void listener(void)
{
    say("listener", filter_says(SYS_socket, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER));
    say("listener, with TSYNC", filter_says(SYS_socket, SECCOMP_RET_USER_NOTIF,
                                            SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC |
                                                SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
}

/* Runs a command while somebody listens to a filter above it, which allows everything. */
static void listened(void)
{
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    must(filter_says(-1, SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER) >= 0, "listener");
    pid_t child = fork();
    if (!child) {
        execv(args[0], args);
        _exit(99);
    }
    int status;
    waitpid(child, &status, 0);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
}

/* What nobody watches can do nothing, and nobody but the watcher watches. */
static void untraced(void)
{
    fflush(stdout);
    pid_t child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
    if (!child) {
        say("open", opened("watched.c"));
        say("refused", opened("/etc/passwd"));
        say("socket", socket(AF_INET, SOCK_DGRAM, 0));
        say("tcp", socket(AF_INET, SOCK_STREAM, 0));
        say("execve", execv("./watched", args));
        say("to be traced", ptrace(PTRACE_TRACEME, 0, 0, 0));
        child = fork();
        if (!child) {
            say("its child, open", opened("watched.c"));
            _exit(0);
        }
        waitpid(child, NULL, 0);
        _exit(0);
    }
    ended("untraced", child);
    must(pipe(ends) == 0, "pipe");
    child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
    if (!child) {
        char c;
        must(read(ends[0], &c, 1) == 1, "read");
        say("socket of one that the program traces", socket(AF_INET, SOCK_DGRAM, 0));
        _exit(0);
    }
    say("to trace it", ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL));
    must(write(ends[1], "x", 1) == 1, "write");
    int status;
    while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status))
        ptrace(PTRACE_CONT, child, 0, 0);
    child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
    if (!child)
        wait_for_ever(NULL);
    say("to attach to another", ptrace(PTRACE_ATTACH, child, 0, 0));
    kill(child, SIGKILL);
    ended("another", child);
}

static void *open_once(void *unused) { return opened("/etc/passwd"), unused; }

/* Many processes and threads. */
static void many(void)
{
    long good = 0;
    for (int round = 0; round < 10; round++) {
        pid_t all[100];
        for (int i = 0; i < 100; i++) {
            all[i] = fork();
            must(all[i] >= 0, "fork");
            if (!all[i])
                _exit(opened("/etc/passwd") < 0 && errno == EACCES ? 7 : 8);
        }
        for (int i = 0, status; i < 100; i++)
            good += waitpid(all[i], &status, 0) == all[i] && WEXITSTATUS(status) == 7;
        pthread_t threads[100];
        for (int i = 0; i < 100; i++)
            must(pthread_create(&threads[i], NULL, open_once, NULL) == 0, "thread");
        for (int i = 0; i < 100; i++)
            good += pthread_join(threads[i], NULL) == 0;
    }
    printf("as expected: %ld\n", good);
}

static char path[] = "/etc/passwd";
static volatile int stop;

static void *change(void *unused)
{
    for (int i = 0; !stop; i++)
        path[10] = i % 2 ? 'd' : 'x';
    return unused;
}

/* Changes what it asks for while it asks. */
static void changes(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, change, NULL);
    long refused = 0, missing = 0;
    while (refused < 1000) {
        int fd = open(path, O_RDONLY);
        must(fd < 0, "open");
        refused += errno == EACCES;
        missing += errno == ENOENT;
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("refused: %ld\n", refused);
}

/* Names that are to deceive who reads them. */
static void names(void)
{
    static const char *const all[] = {
        "/etc/a\npalisade: refused nothing", "/etc/\033[2J\033]0;x\007", "/etc/\xe2\x80\xae""gpj.exe", "/etc/\xff\xfe",
        "/etc/\"}],\"x\":[{\"", "/etc/ \\n'$(x)`", "/etc/\r\t\x7f",
    };
    static char longest[4096];
    prctl(PR_SET_NAME, "a\n\033[1m\xff\xe2\x80\xae", 0, 0, 0);
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        say("name", open(all[i], O_WRONLY | O_CREAT, 0600));
    strcpy(longest, "/etc");
    for (int i = 4; i < 4095; i++)
        longest[i] = i % 2 ? 'x' : '/';
    longest[4094] = '/';
    say("longest", mkdir(longest, 0700));
    /* 4095 bytes that lead to one place. */
    for (int i = 0; i < 4088; i++)
        longest[i] = "/etc/.."[i % 7];
    strcpy(longest + 4088, "/etc/xx");
    say("long", mkdir(longest, 0700));
}

/* Attacks its watcher. */
static void attacks(void)
{
    char line[256], file[64], c;
    int watcher = 0;
    FILE *status = fopen("/proc/self/status", "r");
    must(status != NULL, "/proc/self/status");
    while (fgets(line, sizeof line, status))
        sscanf(line, "TracerPid: %d", &watcher);
    must(watcher > 0, "TracerPid");
    int pidfd = syscall(SYS_pidfd_open, watcher, 0);
    if (atoi(args[0])) {
        union sigval v = { 0 };
        say("signal 0", kill(watcher, 0));
        say("kill", kill(watcher, SIGKILL));
        say("stop", kill(watcher, SIGSTOP));
        say("tgkill", syscall(SYS_tgkill, watcher, watcher, SIGKILL));
        say("sigqueue", sigqueue(watcher, SIGTERM, v));
        say("kill by pidfd", syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
    }
    say("its descriptors", syscall(SYS_pidfd_getfd, pidfd, 2, 0));
    say("seize", ptrace(PTRACE_SEIZE, watcher, 0, 0));
    say("attach", ptrace(PTRACE_ATTACH, watcher, 0, 0));
    struct iovec local = { &c, 1 }, remote = { file, 1 };
    say("its memory", process_vm_readv(watcher, &local, 1, &remote, 1, 0));
    static const char *const entries[] = { "mem", "environ", "auxv", "fd/2", "cwd/.", "root/.", "exe", "maps", "syscall" };
    for (unsigned i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        snprintf(file, sizeof file, "/proc/%d/%s", watcher, entries[i]);
        c = 0;
        int fd = open(file, O_RDONLY);
        say(entries[i], fd < 0 ? fd : read(fd, &c, 1));
    }
}

/* The capabilities of the watcher and its own. */
static void capabilities(void)
{
    char line[256], file[64] = "/proc/self/status";
    int watcher = 0;
    for (int i = 0; i < 2; i++) {
        FILE *status = fopen(file, "r");
        must(status != NULL, file);
        while (fgets(line, sizeof line, status)) {
            sscanf(line, "TracerPid: %d", &watcher);
            if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Uid", 3))
                fputs(line, stdout);
        }
        must(i == 1 || watcher > 0, "TracerPid");
        snprintf(file, sizeof file, "/proc/%d/status", watcher);
    }
}

#ifdef __x86_64__
static long int80(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    errno = result < 0 ? -(int)result : 0;
    return (int)result < 0 ? -1 : (int)result;
}

/* By calls of i386. */
static void narrow(void)
{
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    enum { OPEN = 5, UNLINK = 10, KILL = 37, MKDIR = 39, SOCKET = 359, SECCOMP = 354 };
    strcpy(low, "watched.c");
    strcpy(low + 64, "/etc/passwd");
    say("own", int80(OPEN, (long)low, O_RDONLY, 0));
    say("refused", int80(OPEN, (long)low + 64, O_RDONLY, 0));
    say("mkdir", int80(MKDIR, (long)low + 64, 0700, 0));
    say("socket", int80(SOCKET, AF_INET, SOCK_DGRAM, 0));
    say("socket, tcp", int80(SOCKET, AF_INET, SOCK_STREAM, 0));
    say("signal", int80(KILL, getpid(), 0, 0));
    say("listener", int80(SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, (long)low));
}
#endif

/* Writes so much as does not fit, where nobody waits for it. */
static void floods(void)
{
    char name[256];
    fcntl(2, F_SETFL, fcntl(2, F_GETFL) | O_NONBLOCK);
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "/etc/%0200d", i);
        mkdir(name, 0700);
    }
}

static void says(void) { exit(printf("%s\n", args[0]) < 0 ? 99 : 11); }

/* It is alive as long as nobody ends it. */
static void lives(void)
{
    for (int i = 0; i < 3; i++)
        if (!fork())
            break;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    printf("%d\n", getpid());
    fflush(stdout);
    for (;;)
        opened("/etc/passwd");
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } modes[] = {
        { "family", family }, { "blocked", blocked }, { "interrupts", interrupts }, { "timer", timer },
        { "queued", queued }, { "stops", stops }, { "threads", threads }, { "starts", starts },
        { "executes", executes }, { "hidden", hidden }, { "filters", filters }, { "listener", listener },
        { "untraced", untraced }, { "many", many }, { "changes", changes }, { "names", names },
        { "attacks", attacks }, { "capabilities", capabilities }, { "floods", floods }, { "says", says },
        { "listened", listened }, { "lives", lives },
#ifdef __x86_64__
        { "narrow", narrow },
#endif
    };
    args = argv + 2;
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (argc > 1 && !strcmp(argv[1], modes[i].name))
            return modes[i].run(), 0;
    fprintf(stderr, "watched: %s?\n", argc > 1 ? argv[1] : "");
    return 99;
}
