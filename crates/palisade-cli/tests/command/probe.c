/*
 * What is open to a program, by raw system calls: one line each, `name: ok` or `name: ERRNO`.
 *
 *   probe native|int80|socketcall|x32 [TCP-PORT UDP-PORT UNIX-SOCKET]    which sockets and calls are open, by that ABI
 *   probe self                      what the process started with: capabilities, descriptors, signals
 *   probe pty COMMAND...            COMMAND on a new controlling terminal
 *   probe typing                    typing into the terminal that is standard input
 *   probe blocked COMMAND...        COMMAND with SIGUSR1 blocked
 *   probe outer COMMAND...          COMMAND below a filter that answers every x32 call with ESTALE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pty.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH (1L << 40)
#define X32 0x40000000L
enum { IO_URING_SETUP = 425, TYPE_IN = 0x5412, LINUX_CONSOLE = 0x541c };

enum call { SOCKET, SOCKETPAIR, SENDTO, SENDMSG, SENDMMSG, IOCTL, IO_URING };
enum abi { NATIVE, INT80, SOCKETCALL, X32_CALLS } abi;

static const long native_number[] = { SYS_socket,   SYS_socketpair, SYS_sendto, SYS_sendmsg,
                                      SYS_sendmmsg, SYS_ioctl,      IO_URING_SETUP };

#ifdef __x86_64__
static const long i386_number[] = { 359, 360, 369, 370, 345, 54, IO_URING_SETUP };
static const long in_socketcall[] = { 1, 8, 11, 16, 20 };

long call_int80(long number, long a, long b, long c, long d, long e, long f);
__asm__(".text\n"
        "call_int80:\n"
        "  push %rbx\n"
        "  push %rbp\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rbx\n"
        "  mov %rcx, %r10\n"
        "  mov %rdx, %rcx\n"
        "  mov %r10, %rdx\n"
        "  mov %r8, %rsi\n"
        "  mov %r9, %rdi\n"
        "  mov 24(%rsp), %rbp\n"
        "  int $0x80\n"
        "  pop %rbp\n"
        "  pop %rbx\n"
        "  movslq %eax, %rax\n"
        "  ret\n");

static long int80(long number, long a, long b, long c, long d, long e, long f)
{
    long result = call_int80(number, a, b, c, d, e, f);
    if (result < 0 && result > -4096) {
        errno = -result;
        return -1;
    }
    return result;
}
#endif

/* Memory below 4 GiB, for pointers of the i386 ABI. */
static char *low;

static long call(enum call which, long a, long b, long c, long d, long e, long f)
{
    switch (abi) {
#ifdef __x86_64__
    case INT80:
        return int80(i386_number[which], a, b, c, d, e, f);
    case SOCKETCALL:
        if (which <= SENDMMSG) {
            uint32_t *arguments = (uint32_t *)(low + 3072);
            long from[] = { a, b, c, d, e, f };
            for (int i = 0; i < 6; i++)
                arguments[i] = from[i];
            return int80(102, in_socketcall[which] | HIGH, (long)arguments, 0, 0, 0, 0);
        }
        return int80(i386_number[which], a, b, c, d, e, f);
    case X32_CALLS:
        return syscall(native_number[which] | X32, a, b, c, d, e, f);
#endif
    default:
        return syscall(native_number[which], a, b, c, d, e, f);
    }
}

/* Structures of the i386 ABI. */
struct iovec32 { uint32_t base, len; };
struct msghdr32 { uint32_t name, namelen, iov, iovlen, control, controllen, flags; };
struct mmsghdr32 { struct msghdr32 hdr; uint32_t len; };

static void say(const char *name, long result)
{
    printf("%s: %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
    fflush(stdout);
}

/* A socket, which is closed at once. */
static void made(const char *name, long family, long type, long protocol)
{
    long fd = call(SOCKET, family, type, protocol, 0, 0, 0);
    say(name, fd);
    if (fd >= 0)
        close(fd);
}

static void paired(const char *name, long family, long type)
{
    long result = call(SOCKETPAIR, family, type, 0, (long)low, 0, 0);
    say(name, result);
    if (result >= 0) {
        close(((int *)low)[0]);
        close(((int *)low)[1]);
    }
}

static struct sockaddr_in *local(int port)
{
    struct sockaddr_in *address = (struct sockaddr_in *)(low + 256);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Sends one byte by one of three calls. The socket is made by the native call, which has its own line. */
static void sent(const char *name, enum call which, int type, int port, long flags)
{
    int fd = syscall(SYS_socket, AF_INET, type, 0);
    if (fd < 0) {
        say(name, -1);
        return;
    }
    struct sockaddr_in *to = local(port);
    low[0] = 'x';
    long header = (long)(low + 512), result;
    if (abi == INT80 || abi == SOCKETCALL) {
        struct iovec32 *iov = (struct iovec32 *)(low + 1024);
        *iov = (struct iovec32){ (uint32_t)(uintptr_t)low, 1 };
        struct mmsghdr32 *h = (struct mmsghdr32 *)header;
        *h = (struct mmsghdr32){ { (uint32_t)(uintptr_t)to, sizeof *to, (uint32_t)(uintptr_t)iov, 1, 0, 0, 0 }, 0 };
    } else {
        struct iovec *iov = (struct iovec *)(low + 1024);
        *iov = (struct iovec){ low, 1 };
        struct mmsghdr *h = (struct mmsghdr *)header;
        memset(h, 0, sizeof *h);
        h->msg_hdr = (struct msghdr){ .msg_name = to, .msg_namelen = sizeof *to, .msg_iov = iov, .msg_iovlen = 1 };
    }
    flags |= MSG_NOSIGNAL;
    if (which == SENDTO)
        result = call(SENDTO, fd, (long)low, 1, flags, (long)to, sizeof *to);
    else if (which == SENDMSG)
        result = call(SENDMSG, fd, header, flags, 0, 0, 0);
    else
        result = call(SENDMMSG, fd, header, 1, flags, 0, 0);
    say(name, result);
    close(fd);
}

static void tcp_connected(int port)
{
    int fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in *to = local(port);
    say("tcp connect", fd < 0 ? -1 : connect(fd, (struct sockaddr *)to, sizeof *to));
    close(fd);
}

static void unix_connected(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    int fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    say("unix connect", fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to));
    close(fd);
}

static void ioctls(int fd)
{
    low[0] = 'x';
    say("tiocsti", call(IOCTL, fd, TYPE_IN, (long)low, 0, 0, 0));
    say("tiocsti, high bits", call(IOCTL, fd, TYPE_IN | HIGH, (long)low, 0, 0, 0));
    low[0] = 3; /* pastes the selection */
    say("tioclinux", call(IOCTL, fd, LINUX_CONSOLE, (long)low, 0, 0, 0));
}

static void sockets(char **args)
{
    enum { MPTCP = 262, SCTP = 132, UDPLITE = 136, SMC = 256, AUDIT = 9, ALL_FRAMES = 0x300 };
    made("tcp", AF_INET, SOCK_STREAM, 0);
    made("tcp by number", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    made("tcp6", AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    made("mptcp", AF_INET, SOCK_STREAM, MPTCP);
    made("mptcp6", AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, MPTCP);
    made("mptcp, high bits", AF_INET | HIGH, SOCK_STREAM | HIGH, MPTCP | HIGH);
    made("smc", AF_INET, SOCK_STREAM, SMC);
    made("smc family", AF_SMC, SOCK_STREAM, 0);
    made("sctp", AF_INET, SOCK_STREAM, SCTP);
    made("sctp packets", AF_INET6, SOCK_SEQPACKET, SCTP);
    made("udp", AF_INET, SOCK_DGRAM, 0);
    made("udp by number", AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
    made("udp6", AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    made("udp, high bits", AF_INET | HIGH, SOCK_DGRAM | HIGH, HIGH);
    made("udplite", AF_INET, SOCK_DGRAM, UDPLITE);
    made("ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    made("ping6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
    made("raw", AF_INET, SOCK_RAW, IPPROTO_ICMP);
    made("raw6, high bits", AF_INET6, SOCK_RAW | HIGH, IPPROTO_ICMPV6);
    made("packet", AF_PACKET, SOCK_RAW, ALL_FRAMES);
    made("packet, high bits", AF_PACKET | HIGH, SOCK_DGRAM, ALL_FRAMES);
    made("vsock", AF_VSOCK, SOCK_STREAM, 0);
    made("crypto", AF_ALG, SOCK_SEQPACKET, 0);
    made("netlink route", AF_NETLINK, SOCK_RAW, 0);
    made("netlink audit", AF_NETLINK, SOCK_RAW, AUDIT);
    made("netlink audit, high bits", AF_NETLINK | HIGH, SOCK_RAW, AUDIT | HIGH);
    made("unix", AF_UNIX, SOCK_STREAM, 0);
    made("unix packets", AF_UNIX, SOCK_SEQPACKET, 0);
    made("unix datagrams", AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    made("unix, high bits", AF_UNIX | HIGH, SOCK_STREAM | HIGH, 0);
    paired("pair of streams", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC);
    paired("pair of packets", AF_UNIX, SOCK_SEQPACKET);
    paired("pair of datagrams", AF_UNIX, SOCK_DGRAM);
    paired("pair of raw datagrams", AF_UNIX, SOCK_RAW);
    paired("pair of datagrams, high bits", AF_UNIX | HIGH, SOCK_DGRAM | HIGH);
    paired("pair of tipc", AF_TIPC, SOCK_STREAM);
    memset(low, 0, 256);
    long ring = call(IO_URING, 1, (long)low, 0, 0, 0, 0);
    say("io_uring", ring);
    close(ring);
    ioctls(0);
    if (!args[0])
        return;
    int tcp = atoi(args[0]), udp = atoi(args[1]);
    sent("fast open by sendto", SENDTO, SOCK_STREAM, tcp, MSG_FASTOPEN);
    sent("fast open by sendmsg", SENDMSG, SOCK_STREAM, tcp, MSG_FASTOPEN);
    sent("fast open by sendmmsg", SENDMMSG, SOCK_STREAM, tcp, MSG_FASTOPEN);
    sent("fast open, high bits", SENDTO, SOCK_STREAM, tcp, MSG_FASTOPEN | HIGH);
    sent("sendto, not connected", SENDTO, SOCK_STREAM, tcp, 0);
    sent("sendmsg, not connected", SENDMSG, SOCK_STREAM, tcp, 0);
    sent("udp sendto", SENDTO, SOCK_DGRAM, udp, 0);
    sent("udp sendmmsg", SENDMMSG, SOCK_DGRAM, udp, 0);
    tcp_connected(tcp);
    unix_connected(args[2]);
}

static void self(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    syscall(SYS_capget, &header, data);
    unsigned long bounding = 0, ambient = 0;
    for (int i = 0; i < 64; i++) {
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            bounding |= 1ul << i;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
            ambient |= 1ul << i;
    }
    printf("no_new_privs: %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("effective: %x%08x\n", data[1].effective, data[0].effective);
    printf("permitted: %x%08x\n", data[1].permitted, data[0].permitted);
    printf("inheritable: %x%08x\n", data[1].inheritable, data[0].inheritable);
    printf("bounding: %lx\nambient: %lx\ndescriptors:", bounding, ambient);
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    printf("\nignored:");
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int i = 1; i < 65; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            printf(" %d", i);
    }
    printf("\nblocked:");
    for (int i = 1; i < 65; i++)
        if (sigismember(&blocked, i) == 1)
            printf(" %d", i);
    printf("\npid: %d\n", getpid());
}

static int run(char **command)
{
    execvp(command[0], command);
    perror(command[0]);
    return 99;
}

static int on_a_terminal(char **command)
{
    int master;
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    if (child < 0)
        return perror("forkpty"), 99;
    if (child == 0)
        return run(command);
    char buffer[4096];
    ssize_t n;
    while ((n = read(master, buffer, sizeof buffer)) > 0)
        if (write(1, buffer, n) != n)
            return 99;
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int below_a_filter(char **command)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ESTALE),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
        return perror("seccomp"), 99;
    return run(command);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_32BIT
    flags |= MAP_32BIT;
#endif
    low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (low == MAP_FAILED)
        return 99;
    if (!strcmp(mode, "self"))
        return self(), 0;
    if (!strcmp(mode, "pty"))
        return on_a_terminal(argv + 2);
    if (!strcmp(mode, "outer"))
        return below_a_filter(argv + 2);
    if (!strcmp(mode, "blocked")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return run(argv + 2);
    }
    if (!strcmp(mode, "typing")) {
#ifdef __x86_64__
        if (argc > 2)
            abi = INT80;
#endif
        return ioctls(0), 0;
    }
    static const char *const abis[] = { "native", "int80", "socketcall", "x32" };
#ifdef __x86_64__
    int known = 4;
#else
    int known = 1;
#endif
    for (int i = 0; i < known; i++)
        if (!strcmp(mode, abis[i])) {
            abi = i;
            return sockets(argv + 2), 0;
        }
    fprintf(stderr, "probe: %s?\n", mode);
    return 99;
}
