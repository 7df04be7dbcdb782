"""A client whose region is on offer, and messages about that region which its client never sent.

    offer.py DIRECTORY_OF_FETCH_PY NAME_OF_SERVER MODE FILE

forged   wrong nonces, wrong sizes, GET and CLOSE: the region must stay as it is, byte for byte and without a lease, and then serve
foreign  the region belongs to another user: without the nonce nothing happens to it, with the nonce it is refused (DENIED)
locks    4,000 locks on single bytes of the region, which is then used as any other
"""
import fcntl
import os
import struct
import sys

sys.path.insert(0, sys.argv[1])
import fetch  # noqa: E402: the example is the honest part of this client

OTHER_USER = 65534
REFUSED_DENIED = 3 | 2 << 8
# Each costs as much as there are already: 40,000 would keep this process, and nobody else, busy for a minute.
LOCKS = 4_000


def message(session, operation, nonce, size):
    return fetch.REQUEST.pack(b"SHMR", 1, operation, 1, session.region_id, nonce, size, 0, 0, 4) + b"file"


def get(session):
    """The whole file, through an honest request."""
    session.request(fetch.GET, os.fsencode(sys.argv[4]))
    got = b"".join(payload for kind, *_, payload in session.records() if kind == fetch.DATA)
    return got


def get_meanwhile(session):
    """Messages are taken in their order: whoever is answered now knows that those before have been judged."""
    other = fetch.Session(sys.argv[2], session.deadline)
    got = get(other)
    other.close()
    return got


def assert_untouched(session, before):
    got = get_meanwhile(session)
    assert session.memory[:] == before, "the region was written into"
    assert fetch.lock_seen(session.region, 1, 1) == fcntl.F_UNLCK, "the region was leased"
    assert os.fstat(session.region).st_nlink == 1, "the region lost its name"
    return got


def forged(session):
    before = session.memory[:]
    for number in range(200):
        nonce = bytearray(session.nonce)
        nonce[number % 16] ^= 1 << number % 8
        session.queue.send(message(session, fetch.GET, bytes(nonce), fetch.PAGE), 10, fetch.HIGHEST_PRIORITY)
        session.queue.send(message(session, fetch.CLOSE, bytes(nonce), fetch.PAGE), 10, fetch.HIGHEST_PRIORITY)
        session.queue.send(message(session, fetch.GET, session.nonce, fetch.PAGE * 2), 10, fetch.HIGHEST_PRIORITY)
    expected = assert_untouched(session, before)
    assert get(session) == expected
    session.close()
    print(len(expected))


def foreign(session):
    before = session.memory[:]
    # A server that is not root must be able to open it, or it has nothing to decide.
    server = os.fstat(session.queue.mqd).st_uid
    entries = (1, 6, 2**32 - 1), (2, 6, server), (4, 0, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1)
    entries = b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(session.region, "system.posix_acl_access", struct.pack("<I", 2) + entries)
    os.fchown(session.region, OTHER_USER, -1)
    session.queue.send(message(session, fetch.GET, bytes(16), fetch.PAGE), 10, fetch.HIGHEST_PRIORITY)
    assert_untouched(session, before)
    session.queue.send(message(session, fetch.GET, session.nonce, fetch.PAGE), 10, fetch.HIGHEST_PRIORITY)
    print(len(get_meanwhile(session)))
    state = int.from_bytes(session.memory[12:16], "little")
    assert state == REFUSED_DENIED, f"state {state:#x}"
    assert session.memory[64:128] == before[64:128], "slots were written"
    assert fetch.lock_seen(session.region, 1, 1) == fcntl.F_UNLCK, "the region was leased"
    os.unlink(session.path)


def locks(session):
    def lock(description, kind, start):
        fcntl.fcntl(description, fcntl.F_OFD_SETLK, fetch.FLOCK.pack(kind, os.SEEK_SET, start, 1, 0))

    region = os.fstat(session.region).st_ino
    links = (int(name) for name in os.listdir("/proc/self/fd"))
    ours = [number for number in links if os.path.exists(f"/proc/self/fd/{number}") and os.fstat(number).st_ino == region]
    lease = next(number for number in ours if number != session.region)
    # The lease comes last in the kernel's list: whoever looks for it has to go past all the others.
    lock(lease, fcntl.F_UNLCK, 0)
    description = os.open(session.path, os.O_RDWR | os.O_CLOEXEC)
    for number in range(LOCKS):
        lock(description, fcntl.F_RDLCK, 10 + 2 * (LOCKS - number))
    lock(lease, fcntl.F_WRLCK, 0)
    got = get(session)
    open("idle", "x").close()
    # Idle, with all its locks, until the test has seen enough.
    while not os.path.exists("go-on"):
        fetch.time.sleep(0.01)
    assert get(session) == got
    session.close()
    print(len(got))


def main():
    session = fetch.Session(sys.argv[2], fetch.time.monotonic() + 60)
    globals()[sys.argv[3]](session)


main()
