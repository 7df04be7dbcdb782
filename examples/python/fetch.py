#!/usr/bin/env python3
"""Fetches files from shm_server (or `shmeld serve`): a complete client in one short file.

    pip install posix_ipc
    shm_server some/directory &
    python3 fetch.py -o out a.txt b.jpg

Written from docs/PROTOCOL.md alone; "section" below means a section of that document. The request goes out
through a POSIX message queue, the bytes come back through one page of POSIX shared memory that belongs to
this process, and two semaphores in that page wake whoever sleeps. A lock on one byte of the page, which the
kernel drops when its holder dies, tells each side whether the other one still lives.

Left out, to stay short: patterns, trees, resuming, digests, many slots, many requests under way; and a handler
for SIGBUS, by which a server that cuts the page away ends this program (no part of a file is left then either).
Exit codes: 0 done, 1 a file was not delivered, 2 usage, 3 no server or refused, 4 the server died or lied.
"""
import argparse
import contextlib
import ctypes
import fcntl
import mmap
import os
import secrets
import signal
import struct
import sys
import time

import posix_ipc

HEADER = struct.Struct("<8s2IQ16s3I12x")  # section 2.1: the first 64 bytes of the region
SEMAPHORE = struct.Struct("<3I20x")  # section 2.1: value, waiters, 128
REQUEST = struct.Struct("<4s2HQ16s16s2Q2I32x")  # section 3; the path follows
RECORD = struct.Struct("<2HI3Q")  # section 4: kind, status, length, request id, offset, extent
ENTRY = struct.Struct("<2IQq6I")  # section 4; name and text follow
FLOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, pid (always 0 here)

PAGE, SLOTS_OFFSET, SLOT_BYTES, SLOT_COUNT = 4096, 320, 3776, 1
STATE, WRITTEN, READ, FILLED, FREE = 12, 64, 128, 192, 256
GET, CLOSE, HIGHEST_PRIORITY = 1, 5, 32767
OFFERED, ATTACHED, ENDED, REFUSED = range(4)
STOP, PAD, BEGIN, DATA, HOLE, END, ENTRY_ONLY, DONE, WAIT = range(9)
STATUS = ("OK FNF DENIED NOT_A_FILE CHANGED TOO_LARGE NAME_TOO_LONG BAD_NAME BUSY IO UNSUPPORTED CANCELLED "
          "MISBEHAVED STALLED STOPPING BAD_REGION")
STATUS = dict(enumerate(STATUS.split()))
# Section 4: what a record of each kind has besides its request: status, offset, extent, payload.
HAS = {STOP: "", PAD: "p", BEGIN: "oep", DATA: "op", HOLE: "oe", END: "sop", ENTRY_ONLY: "sep", DONE: "soep", WAIT: ""}
NAME_BYTES_MAX, TEXT_BYTES_MAX, DIGEST_BYTES, SIZE_MAX = 2048, 1024, 32, 2**63 - 1
FUTEX, FUTEX_WAIT, FUTEX_WAKE_OP, SET_TO_0, ADD_1 = 202, 0, 5, 0, 1 << 28 | 1 << 12  # x86-64; see futex(2)
SLICE = 0.25  # seconds; the longest sleep before looking whether the server is still there
SILENCE_MAX = 30  # seconds; a busy server sends a WAIT every five
libc = ctypes.CDLL(None)


def futex(word, operation, count, limit=None, change=0):
    """futex(2) on a semaphore's value: sem_wait and sem_post would abort if they found the words of a liar there.
    FUTEX_WAKE_OP is how Python gets the atomic addition and exchange of section 4: the kernel changes the value,
    and then wakes."""
    libc.syscall(FUTEX, ctypes.byref(word), operation, count, limit, ctypes.byref(word), change)


class Failure(Exception):
    """Ends the program: Failure(exit code, text)."""


def insist(condition, what):
    """Whatever another process wrote is an allegation until it has been checked."""
    if not condition:
        raise Failure(4, f"the server broke the protocol: {what}")


def lock_seen(descriptor, start, length):
    """F_RDLCK, F_WRLCK or F_UNLCK: the lock of somebody else on this range."""
    question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question))[0]


def server_listens(queue):
    """Section 1: the queue still has its name, and a living server holds a read lock over it."""
    return os.fstat(queue.mqd).st_nlink > 0 and lock_seen(queue.mqd, 0, 0) == fcntl.F_RDLCK


def find_server(name, deadline):
    """Section 1: opens the queue of a living server, waiting for one until the deadline."""
    while True:
        try:
            queue = posix_ipc.MessageQueue(name, flags=0, read=False, write=True)
            owner = os.fstat(queue.mqd).st_uid
            if owner not in (0, os.geteuid()):
                raise Failure(3, f"queue {name}: belongs to user {owner}, neither you nor root")
            if server_listens(queue):
                return queue
            queue.close()  # A dead server left it.
        except (posix_ipc.ExistentialError, posix_ipc.PermissionsError):
            pass  # Not there yet.
        if time.monotonic() >= deadline:
            raise Failure(3, f"queue {name}: no server (start one: shm_server --name {name} DIR)")
        time.sleep(0.1)


class Session:
    """Requests through the server's queue, answers through our page of shared memory."""

    def __init__(self, name, deadline):
        self.name, self.deadline = name, deadline
        self.queue = find_server(name, deadline)
        self.request_id, self.message, self.attached, self.slots_read = 0, b"", False, 0
        self.make_region()

    def make_region(self):
        """Section 2: the region is complete before it gets a name by which others could open it."""
        self.region_id, self.nonce = secrets.token_bytes(16), secrets.token_bytes(16)
        self.path = f"/dev/shm/shmeld.{self.region_id.hex()}"
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(descriptor, 0, PAGE)  # /dev/shm full? Better an error here than a SIGBUS later.
        self.memory = mmap.mmap(descriptor, PAGE)
        HEADER.pack_into(self.memory, 0, b"SHMELD1\x01", 1, OFFERED, PAGE, self.nonce,
                         SLOTS_OFFSET, SLOT_BYTES, SLOT_COUNT)
        # Words that the other side reads meanwhile must change as a whole. A ctypes value is one aligned load
        # or store; struct.pack_into("<I") stores byte by byte, and 256 would be seen as 0 for a moment.
        self.state, self.written, self.read, self.filled, self.filled_waiters, self.free = (
            ctypes.c_uint32.from_buffer(self.memory, offset)
            for offset in (STATE, WRITTEN, READ, FILLED, FILLED + 4, FREE))
        SEMAPHORE.pack_into(self.memory, FILLED, 0, 0, 128)
        SEMAPHORE.pack_into(self.memory, FREE, SLOT_COUNT, 0, 128)
        # Our lease: the server lets go of the region as soon as this lock is gone.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        # os.link resolves the link in /proc only when it is also given a directory descriptor.
        os.link(f"/proc/self/fd/{descriptor}", self.path, src_dir_fd=descriptor, follow_symlinks=True)
        self.region = descriptor

    def server_lives(self):
        """Section 2.2: a server that attached the region holds a write lock on byte 1."""
        return lock_seen(self.region, 1, 1) == fcntl.F_WRLCK

    def request(self, operation, path=b""):
        self.write_message(operation, path)
        self.send()

    def write_message(self, operation, path=b""):
        self.request_id += 1
        self.message = REQUEST.pack(b"SHMR", 1, operation, self.request_id, self.region_id, self.nonce,
                                    PAGE, 0, 0, len(path)) + path

    def send(self):
        """Sends the last request (again, if a new server has to learn of it)."""
        while True:
            if self.attached and not self.server_lives():
                raise Failure(4, f"server {self.name}: died")
            if not server_listens(self.queue):  # Gone, or its queue lost its name and is being made again.
                self.queue.close()
                self.queue = find_server(self.name, max(self.deadline, time.monotonic() + 5))
            try:
                return self.queue.send(self.message, SLICE, HIGHEST_PRIORITY)
            except posix_ipc.BusyError:
                pass  # The queue is full. Is it still the right one?

    def post_free(self):
        """Section 4: post(free)."""
        futex(self.free, FUTEX_WAKE_OP, 1, change=ADD_1)

    def sleep(self):
        """Section 4: wait(filled), one slice of it."""
        self.filled_waiters.value = 1
        futex(self.filled, FUTEX_WAKE_OP, 0, change=SET_TO_0)
        if self.written.value == self.slots_read:
            futex(self.filled, FUTEX_WAIT, 0, (ctypes.c_long * 2)(0, int(SLICE * 1e9)))
        self.filled_waiters.value = 0

    def take_slot(self):
        """Section 4: a private copy of a slot that has been written; the slot goes back to the server."""
        insist((self.written.value - self.slots_read) % 2**32 <= SLOT_COUNT, "more slots than there are")
        # Copy first, check later: between a check and a use in place the page could change. (x86-64 keeps
        # these loads and stores in order. Python has no barrier to offer where the processor does not.)
        slot = self.memory[SLOTS_OFFSET:SLOTS_OFFSET + SLOT_BYTES]
        self.slots_read = (self.slots_read + 1) % 2**32
        self.read.value = self.slots_read
        self.post_free()
        return slot

    def next_slot(self):
        silent_from = time.monotonic()
        while True:
            # The order matters: a slot that was there before the end came is still valid.
            code, kind = divmod(self.state.value, 256)
            possible = (ATTACHED, ENDED) if self.attached else (OFFERED, ATTACHED, ENDED, REFUSED)
            insist(kind in possible and (code == 0 or kind in (ENDED, REFUSED)), f"state {kind}, code {code}")
            if kind in (ATTACHED, ENDED) and not self.attached:
                self.attached = True
                os.unlink(self.path)  # From now on the crash of either side leaves nothing behind.
            died = kind == ATTACHED and not self.server_lives()
            if self.written.value != self.slots_read:
                if kind == OFFERED and self.state.value != OFFERED:
                    continue  # ATTACHED came between the two looks.
                insist(kind in (ATTACHED, ENDED), "a slot without ATTACHED")
                return self.take_slot()
            if kind in (ENDED, REFUSED):
                raise Failure(3 if kind == REFUSED else 4, f"server {self.name}: {STATUS.get(code, code)}")
            if died:
                raise Failure(4, f"server {self.name}: died")
            if kind == OFFERED and not server_listens(self.queue):
                self.send()
            if time.monotonic() - silent_from > SILENCE_MAX:
                raise Failure(4 if self.attached else 3, f"server {self.name}: silent for {SILENCE_MAX} s")
            self.sleep()

    def records(self):
        """The answer to the last request, record by record: (kind, status, offset, extent, payload)."""
        kind = None
        while kind != DONE:
            slot, position = self.next_slot(), 0
            while kind != DONE and position + RECORD.size <= SLOT_BYTES:
                kind, status, length, request_id, offset, extent = RECORD.unpack_from(slot, position)
                position += RECORD.size
                insist(kind <= WAIT and status in STATUS and position + length <= SLOT_BYTES,
                       f"kind {kind}, status {status}, {length} bytes")
                insist(fits_kind(kind, status, offset, extent, length), f"a record of kind {kind} with what it has not")
                if kind == STOP:
                    break
                insist(kind == PAD or request_id == self.request_id, f"an answer to request {request_id}")
                if kind not in (PAD, WAIT):
                    yield kind, status, offset, extent, slot[position:position + length]
                position += (length + 7) // 8 * 8

    def close(self):
        if self.attached and server_listens(self.queue):
            self.write_message(CLOSE)
            with contextlib.suppress(posix_ipc.Error):  # A full queue: our lease says the same when it goes.
                self.queue.send(self.message, SLICE, HIGHEST_PRIORITY)
        elif not self.attached and os.path.exists(self.path):
            os.unlink(self.path)


def fits_kind(kind, status, offset, extent, length):
    """Section 4: whether a record has nothing that one of its kind has not."""
    has = "".join(letter for letter, number in zip("soep", (status, offset, extent, length)) if number != 0)
    if not set(has) <= set(HAS[kind]):
        return False
    if kind not in (END, DONE):
        return True
    if status != 0:
        return length <= TEXT_BYTES_MAX
    return length == 0 or kind == END and length == DIGEST_BYTES


def parse_entry(payload, extent):
    """Section 4: mode and text."""
    insist(len(payload) >= ENTRY.size, "a short entry")
    kind, mode, size, _, nanos, _, _, name_bytes, text_bytes, reserved = ENTRY.unpack_from(payload)
    insist(name_bytes <= NAME_BYTES_MAX and text_bytes <= TEXT_BYTES_MAX, "a name or text that is too long")
    insist(len(payload) == ENTRY.size + name_bytes + text_bytes, "an entry of the wrong length")
    insist(kind <= 4 and mode <= 0o7777 and nanos < 10**9 and reserved == 0, "an entry with impossible numbers")
    insist(size == extent, "a size that contradicts its entry")
    return mode & 0o777, payload[ENTRY.size + name_bytes:]


def give_name(descriptor, target):
    """The file is whole: gives it its name, in the place of an older one."""
    def link(path):  # src_dir_fd for the same reason as in make_region
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    try:
        link(target)
    except FileExistsError:
        beside = target + b"." + secrets.token_hex(4).encode()
        link(beside)
        os.rename(beside, target)


def fetch(session, wanted, directory):
    """Gets one file. It has no name until it is complete, so nothing is left if it never is. False: not delivered."""
    session.request(GET, wanted)
    output, size, position, items, refused, delivered = None, 0, 0, 0, 0, False
    for kind, status, offset, extent, payload in session.records():
        insist((output is not None) == (kind in (DATA, HOLE, END)), f"a record of kind {kind} out of order")
        if kind in (BEGIN, ENTRY_ONLY):
            mode, text = parse_entry(payload, extent)
            items += 1
            insist(items == 1, "more than one file")
        if kind == BEGIN:
            size, position = extent, 0
            insist(offset == 0 and size <= SIZE_MAX, "a beginning that contradicts itself")
            # The name is the one that was asked for, whatever the entry says.
            target = os.path.join(os.fsencode(directory), wanted)
            insist(not {b"", b".", b".."} & set(wanted.split(b"/")), "a file for a name that leads elsewhere")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            nameless = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
            output = open(os.open(os.path.dirname(target), nameless, mode), "wb")
        elif kind in (DATA, HOLE):
            count = len(payload) if kind == DATA else extent
            insist(offset == position and count <= size - position, "bytes out of order or beyond the size")
            position += count
            if kind == DATA:
                output.write(payload)
            else:
                output.seek(position)
        elif kind == END:
            if status == 0:
                insist(position == size == offset, "an end before the end")
                output.truncate(size)
                output.flush()
                give_name(output.fileno(), target)
                delivered = True
            output.close()
            output = None
        else:
            insist(kind != ENTRY_ONLY or status != 0, "an entry in the place of the file")
            insist(kind != DONE or (offset, extent) == (items, refused), "other items counted than came")
            insist(kind != DONE or status != 0 or items == 1, "an answer without the file")
        refused += status != 0
        if status != 0:  # END, ENTRY or DONE says why not.
            said = wanted + b": " + (text if kind == ENTRY_ONLY else payload)
            readable = "".join(c if c.isprintable() else "?" for c in said.decode(errors="replace"))
            print(f"fetch.py: get {readable} ({STATUS[status]})", file=sys.stderr)
    return delivered


def divide_region(region_bytes):
    """Section 2.1: one slot, as large as the region allows."""
    global PAGE, SLOTS_OFFSET, SLOT_BYTES
    PAGE, SLOTS_OFFSET, SLOT_BYTES = region_bytes, 4096, region_bytes - 4096


def main():
    parser = argparse.ArgumentParser(description="Fetch files from shm_server through shared memory.")
    parser.add_argument("--name", default="/shmeld", help="name of the server (default: /shmeld)")
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="where to put the files")
    parser.add_argument("--wait", default=30, type=float, metavar="SECONDS", help="for a server; default: 30")
    parser.add_argument("--region", default=PAGE, type=int, metavar="BYTES", help="default: 4096, the least")
    parser.add_argument("names", nargs="+", metavar="NAME", help="files, relative to the server's directory")
    arguments = parser.parse_args()
    if arguments.region > PAGE:
        divide_region(arguments.region)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # SystemExit lets every `finally` run.
    try:
        session = Session("/" + arguments.name.lstrip("/"), time.monotonic() + arguments.wait)
        try:
            done = [fetch(session, os.fsencode(name), arguments.output) for name in arguments.names]
        finally:
            session.close()
    except Failure as failure:
        print(f"fetch.py: {failure.args[1]}", file=sys.stderr)
        return failure.args[0]
    except OSError as error:
        print(f"fetch.py: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
