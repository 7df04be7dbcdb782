"""A client that breaks the protocol on purpose, in the middle of a transfer, with its own region.

    hostile.py DIRECTORY_OF_FETCH_PY NAME_OF_SERVER MODE FILE

It stays alive, and keeps its lease, until the server has ended the session; then it prints the status that
the server left in the state word, or GONE if it took away the memory that the state word was in.
"""
import ctypes
import os
import sys
import time

sys.path.insert(0, sys.argv[1])
import fetch  # noqa: E402: the example is the honest part of this client

PUNCH_HOLE_KEEP_SIZE = 3
FUTEX, FUTEX_REQUEUE = 202, 3
FILLER = "/dev/shm/filler"
PATIENCE_SECONDS = 30


def truncate(session, region):
    os.ftruncate(region, 0)


def punch(session, region):
    """The page is replaced by zeros: `read` goes backwards, the semaphores are no semaphores."""
    begin, length = ctypes.c_long(0), ctypes.c_long(fetch.PAGE)
    assert fetch.libc.fallocate(region, PUNCH_HOLE_KEEP_SIZE, begin, length) == 0


def read_ahead(session, region):
    """Says that it has read slots that were never written."""
    session.read.value = (session.written.value + 5) % 2**32


def read_back(session, region):
    """Takes back a slot that it had released, after the server has used it again."""
    while session.written.value == session.slots_read:
        time.sleep(0.0002)
    session.read.value = (session.read.value - 1) % 2**32


def scribble(session, region):
    """Random bytes over all of its page, again and again, the words of the server included."""
    for _ in range(2000):
        session.memory[0:fetch.PAGE] = os.urandom(fetch.PAGE)


def crowd(session, region):
    """More requests under way than a session may have. What comes is read, so that the server can go on."""
    for _ in range(12):
        session.request(fetch.GET, os.fsencode(sys.argv[4]))
    while session.state.value == fetch.ATTACHED:
        if session.written.value != session.slots_read:
            session.take_slot()


def hasty(session, region):
    """Not hostile: CLOSE right behind GET, before anything has been answered."""
    session.request(fetch.CLOSE)
    session.request_id -= 1
    got = b"".join(payload for kind, *_, payload in session.records() if kind == fetch.DATA)
    # The session may have ended before this process ever saw that it was attached.
    session.close()
    print(len(got), "bytes")


def semaphores(session, region):
    """Forges both semaphores before each slot. The sequence words are right: the transfer goes on."""
    session.post_free = lambda: None
    for number in range(12):
        for offset in (fetch.FILLED, fetch.FREE):
            session.memory[offset:offset + 12] = (b"\xff" * 12, b"\x01" * 12, os.urandom(12))[number % 3]
        while session.written.value == session.slots_read:
            time.sleep(0.0005)
        session.take_slot()
    print("went on")


def requeue(session, region):
    """Moves the sleeping server from the word that wakes it to another one. The end of its slice wakes it all the same."""
    address = ctypes.addressof(session.state) - fetch.STATE
    for _ in range(6):
        while session.written.value == session.slots_read:
            time.sleep(0.0005)
        for _ in range(50):
            fetch.libc.syscall(FUTEX, ctypes.c_void_p(address + fetch.FREE), FUTEX_REQUEUE, 0,
                               ctypes.c_void_p(2**31 - 1), ctypes.c_void_p(address + fetch.FILLED))
            time.sleep(0.001)
        session.take_slot()
    print("went on")


def fill(path):
    """Takes all that is left of the file system, page by page."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    size = os.fstat(descriptor).st_size
    try:
        while True:
            size += fetch.PAGE
            os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.close(descriptor)


def starve(session, region):
    """Gives the pages of its slot back and takes them, and all others, for something else: the server finds no memory to write into."""
    while session.written.value == session.slots_read:
        time.sleep(0.0005)
    fill(FILLER)
    begin, length = ctypes.c_long(fetch.SLOTS_OFFSET), ctypes.c_long(fetch.SLOT_BYTES)
    assert fetch.libc.fallocate(region, PUNCH_HOLE_KEEP_SIZE, begin, length) == 0
    fill(FILLER)
    session.slots_read = (session.slots_read + 1) % 2**32
    session.read.value = session.slots_read
    session.post_free()


def main():
    mode = sys.argv[3]
    if mode.startswith("starve"):
        # Slots on pages of their own: small ones, which the server fills itself, or one that the kernel fills for it.
        fetch.PAGE, fetch.SLOTS_OFFSET = 65536, 4096
        fetch.SLOT_BYTES = {"starve-small": 8192, "starve-large": 61440}[mode]
        mode = "starve"
    session = fetch.Session(sys.argv[2], time.monotonic() + PATIENCE_SECONDS)
    session.request(fetch.GET, os.fsencode(sys.argv[4]))
    if mode != "hasty":
        for _ in range(5):
            session.next_slot()
    region = os.open(f"/proc/self/fd/{session.region}", os.O_RDWR)
    globals()[mode](session, region)
    if mode in ("hasty", "semaphores", "requeue"):
        return
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        # In this order: what the server says last it says before it gives its lease up.
        lives = session.server_lives()
        # A load from a truncated page would be the end of this process; pread only comes up short.
        word = os.pread(region, 4, fetch.STATE)
        code, kind = divmod(int.from_bytes(word, "little"), 256)
        if kind == fetch.ENDED and code in fetch.STATUS:
            print("ended:", fetch.STATUS[code])
            return
        if not lives:
            print("GONE")
            return
        time.sleep(0.01)
    sys.exit("the server did not end the session")


try:
    main()
finally:
    if os.path.exists(FILLER):
        os.unlink(FILLER)
