"""Makes one object of each kind as Python programs do, and holds them: holder.py NAME KEY.

Prints what it made as JSON and waits for the end of standard input; then it removes everything. Killed, it leaves everything that has a
name or a number.
"""

import json
import os
import sys
from multiprocessing import resource_tracker, shared_memory

import posix_ipc
import sysv_ipc

name, key = sys.argv[1], int(sys.argv[2], 0)

# Its tracker would remove it after a kill: a process of its own, and no leftover.
frames = shared_memory.SharedMemory(name=f"{name}-frames", create=True, size=5000)
resource_tracker.unregister(frames._name, "shared_memory")
memory = posix_ipc.SharedMemory(f"/{name}-memory", posix_ipc.O_CREX, mode=0o640, size=12345)
semaphore = posix_ipc.Semaphore(f"/{name}", posix_ipc.O_CREX, mode=0o600, initial_value=3)
queue = posix_ipc.MessageQueue(f"/{name}", posix_ipc.O_CREX, mode=0o600, max_messages=4, max_message_size=100)
queue.send(b"hello")
memfd = os.memfd_create(name)
os.ftruncate(memfd, 8192)
segment = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, mode=0o660, size=5678)
counter = sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX, mode=0o600, initial_value=7)
counter.acquire()
messages = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX, mode=0o620)
messages.send(b"hello")
made = {"segment": segment.id, "set": counter.id, "messages": messages.id, "memfd": os.fstat(memfd).st_ino, "pid": os.getpid()}
print(json.dumps(made), flush=True)
sys.stderr.write("ready\n")
sys.stderr.flush()
sys.stdin.read()
segment.detach()
for one in (segment, counter, messages):
    one.remove()
for one in (semaphore, queue, memory):
    one.unlink()
shared_memory._posixshmem.shm_unlink(frames._name)
