"""What the kernel does, without any library: a process confines itself with Landlock and then does what is listed below.
What it fails to do is done once more by a process that is not confined.

It needs Linux and Python 3.9 or newer, and works in a temporary folder, which it removes.
"""

import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
import sys
import tempfile
import termios

# Paths are relative to the tree's root, which is the current folder; it is @ in absolute ones.
# Each layer refuses what fs, net and scoped name, but where its paths or ports (first, last) allow it.
# THE CASE

# What a rule on something that is no directory can allow: execute, write_file, read_file, truncate, ioctl_dev,
# resolve_unix.
ON_FILE = 0x1C007
# Folders between the temporary one and the tree, so that no link leads out of it.
DEPTH = 12
PARENT = os.getpid()
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *args):
    """A function of the C library; an error is an OSError."""
    args = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = function(*args)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def note(text):
    print(text, file=sys.stderr, flush=True)


def real(path):
    return ROOT + path[1:] if path.startswith(b"@") else path


# The tree


def apart():
    """What is mounted from here on is seen by this program alone."""
    if os.geteuid() != 0:
        sys.exit("This case has mounts: run it as root.")
    call(libc.unshare, 0x20000)  # CLONE_NEWNS
    call(libc.mount, None, b"/", None, 0x4000 | 0x40000, None)  # MS_REC | MS_PRIVATE


def make(kind, path, other=None):
    if kind == "dir":
        os.mkdir(path)
    elif kind == "file":
        with open(path, "wb") as file:
            file.write(b"no program\n")
        os.chmod(path, 0o755)
    elif kind == "fifo":
        os.mkfifo(path, 0o700)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        kept.append(server)
        server.bind(path)
    elif kind == "whiteout":
        os.mknod(path, stat.S_IFCHR | 0o400, os.makedev(0, 0))
    elif kind == "symlink":
        os.symlink(real(other), path)
    elif kind == "hard link":
        os.link(other, path, follow_symlinks=False)
    elif kind == "bind mount":
        call(libc.mount, other, path, None, 0x1000, None)  # MS_BIND
        mounts.append(os.open(path, os.O_PATH))


def unmount():
    os.chdir("/")
    while mounts:
        call(libc.umount2, b"/proc/self/fd/%d" % mounts.pop(), 2)  # MNT_DETACH, wherever it is now


# The policy


def confine(layer):
    """landlock_create_ruleset is system call 444, landlock_add_rule 445, landlock_restrict_self 446."""
    handled = struct.pack("QQQ", layer["fs"], layer["net"], layer["scoped"])
    ruleset = call(libc.syscall, 444, handled, len(handled), 0)
    for path, rights in layer["paths"]:
        try:
            fd = os.open(real(path), os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= ON_FILE
        if rights:
            call(libc.syscall, 445, ruleset, 1, struct.pack("=Qi", rights, fd), 0)
        os.close(fd)
    for first, last, right in layer["ports"]:
        for port in range(first, last + 1):
            call(libc.syscall, 445, ruleset, 2, struct.pack("QQ", right, port), 0)
    call(libc.syscall, 446, ruleset, 0)
    os.close(ruleset)


# What is done


def opened(path, *flags):
    mode = os.O_NONBLOCK
    for flag in flags:
        mode |= getattr(os, flag)
    return os.open(path, mode, 0o700)


def ioctl(path):
    device = opened(path, "O_WRONLY", "O_RDWR")
    try:
        fcntl.ioctl(device, termios.TCGETS, bytes(256))
    finally:
        os.close(device)


def with_socket(family, kind, act):
    with socket.socket(family, kind) as new:
        new.setblocking(False)
        act(new)


def udp(act, bound):
    if bound:
        act(bound_udp)
    else:
        with_socket(socket.AF_INET, socket.SOCK_DGRAM, act)


def unix(act):
    with_socket(socket.AF_UNIX, socket.SOCK_DGRAM, act)


def abstract(end, kind):
    with_socket(socket.AF_UNIX, kind, lambda s: s.connect(b"\0palisade-%d-%s" % (PARENT, end)))


HERE, BESIDE = "127.0.0.1", "127.0.0.2"
TCP, UDP = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)
DO = {
    "open": lambda path, *flags: os.close(opened(path, *flags)),
    "ioctl": ioctl,
    "mkdir": lambda path: os.mkdir(path, 0o700),
    "symlink": lambda path: os.symlink(b"target", path),
    "mknod": lambda path, kind, *device: os.mknod(
        path, getattr(stat, kind) | 0o700, os.makedev(*device) if device else 0
    ),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename": os.rename,
    # AT_FDCWD, RENAME_EXCHANGE
    "exchange": lambda one, other: call(libc.renameat2, -100, one, -100, other, 2),
    "link": lambda old, new: os.link(old, new, follow_symlinks=False),
    "truncate": lambda path: os.truncate(path, 1),
    "execve": lambda path: os.execve(path, [path], {}),
    "bind_tcp": lambda port: with_socket(*TCP, lambda s: s.bind((BESIDE, port))),
    "bind_udp": lambda port: with_socket(*UDP, lambda s: s.bind((BESIDE, port))),
    "connect_tcp": lambda port: with_socket(*TCP, lambda s: s.connect((HERE, port))),
    "connect_udp": lambda port, bound=None: udp(lambda s: s.connect((HERE, port)), bound),
    "send_udp": lambda port, bound=None: udp(lambda s: s.sendto(b"x", (HERE, port)), bound),
    "bind_unix": lambda path: unix(lambda s: s.bind(path)),
    "connect_unix": lambda path: unix(lambda s: s.connect(path)),
    "connect_abstract_stream": lambda: abstract(b"stream", socket.SOCK_STREAM),
    "connect_abstract_datagram": lambda: abstract(b"datagram", socket.SOCK_DGRAM),
    "signal_parent": lambda: os.kill(PARENT, 0),
}
# Errors of calls that Landlock has let pass: they count as success.
PASSED = {
    "ioctl": [errno.ENOTTY],
    "execve": [errno.ENOEXEC],
    "connect_tcp": [errno.EINPROGRESS, errno.ECONNREFUSED],
    "connect_udp": [errno.ECONNREFUSED],
    "send_udp": [errno.ECONNREFUSED],
}


def perform(name, *args):
    """0 or an error number."""
    try:
        DO[name](*[real(arg) if isinstance(arg, bytes) else arg for arg in args])
    except OSError as error:
        # Python itself refuses the path of a socket that is too long, without a number.
        number = error.errno or errno.ENAMETOOLONG
        return 0 if number in PASSED.get(name, []) else number
    return 0


def created(name, *args):
    """The path at which an open may make a file."""
    return real(args[0]) if name == "open" and "O_CREAT" in args else None


def ended(number):
    # Python's name for this one is ENOTSUP, which is the same.
    names = {0: "success", errno.EOPNOTSUPP: "EOPNOTSUPP"}
    return names.get(number) or errno.errorcode[number]


def child(channel):
    try:
        call(libc.prctl, 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        for layer in LAYERS:
            confine(layer)
    except OSError as error:
        note(f"It cannot be confined: {error}")
        return
    while number := channel.recv(1):
        channel.send(struct.pack("i", perform(*OPERATIONS[number[0]])))


def operate(channel):
    for number, operation in enumerate(OPERATIONS):
        path = created(*operation)
        new = path and not os.path.exists(path)
        channel.send(bytes([number]))
        answer = channel.recv(4)
        if not answer:
            return "The confined process has ended."
        (confined,) = struct.unpack("i", answer)
        if new and os.path.exists(path):
            # A file can be made all the same by a call that is refused.
            try:
                os.remove(os.path.realpath(path))
            except OSError:
                pass
        text = f"{operation[0]}({', '.join(map(repr, operation[1:]))}): confined: {ended(confined)}"
        if confined:
            text += f"; not confined: {ended(perform(*operation))}"
        print(text, flush=True)
    return 0


def main():
    os.umask(0)
    if APART or any(kind == "bind mount" for kind, *_ in TREE):
        apart()
    if APART:
        call(libc.mount, b"tmpfs", os.fsencode(top), b"tmpfs", 0, b"mode=0777")
        mounts.append(os.open(top, os.O_PATH))
    abi = max(0, libc.syscall(444, None, ctypes.c_long(0), 1))
    if abi != ABI:
        note(f"This case was seen with Landlock ABI {ABI}; this kernel has {abi}.")
    if (os.geteuid() == 0) != AS_ROOT:
        note(f"This case was seen as {'root' if AS_ROOT else 'an ordinary user'}.")
    if LISTENER:
        try:
            kept.append(socket.create_server((HERE, LISTENER)))
        except OSError as error:
            note(f"Port {LISTENER} is taken as it is: {error}")
    bound_udp.bind((HERE, 0))
    bound_udp.setblocking(False)
    for end, kind in [(b"stream", socket.SOCK_STREAM), (b"datagram", socket.SOCK_DGRAM)]:
        server = socket.socket(socket.AF_UNIX, kind)
        kept.append(server)
        server.bind(b"\0palisade-%d-%s" % (PARENT, end))
        if kind == socket.SOCK_STREAM:
            server.listen(128)

    os.makedirs(ROOT)
    os.chdir(ROOT)
    os.mkdir("../beside")
    with open("../beside/file", "wb") as file:
        file.write(b"beside\n")
    for thing in TREE:
        try:
            make(*thing)
        except OSError:
            pass  # its folder is hidden by a mount, or could not be made

    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        try:
            ours.close()
            child(theirs)
        finally:
            os._exit(0)
    theirs.close()
    try:
        return operate(ours)
    finally:
        ours.close()
        os.wait()
        unmount()


# Peers outside stay as long as they are kept.
kept, mounts = [], []
bound_udp = socket.socket(*UDP)
with tempfile.TemporaryDirectory(prefix="palisade-run-") as top:
    ROOT = os.path.join(os.fsencode(os.path.realpath(top)), b"o/" * DEPTH + b"tree")
    sys.exit(main())
