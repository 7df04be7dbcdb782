"""Files, images and messages between processes of one Linux machine, through shared memory.

=====================================  ======================================================================
:func:`get`, :class:`Client`           files from a server of another process: bytes, chunks, or onto the disk
:class:`Server`                        a directory offered by this process
:class:`ImageRequester`                images from another process as numpy arrays: one's own, or lent
:class:`ImageProvider`                 images for another process: from a function, a dictionary, or a folder of files
:class:`ImageLoader`                   many images ahead of time, on several channels at once
:mod:`shmeld.posix`                    POSIX shared memory, named semaphores, message queues
:mod:`shmeld.sysv`                     System V shared memory, sets of semaphores, message queues
:mod:`shmeld.ipc`                      a list of all such objects of this machine
:class:`Error` and below it            what can go wrong, with operation, object, reason, hint and exit code
=====================================  ======================================================================

Every wait lets other threads run and ends with Ctrl-C. After a fork the objects of the parent can be used by the parent only, and the
child's garbage collector takes nothing away from it: make new ones in the child. What is open when the process ends is closed.

A peer may cut shared memory off while it is mapped here, which the kernel answers with SIGBUS. A :class:`Client` or :class:`Server` therefore
guards the whole process against that. Images do without, through system calls; :func:`install_sigbus_guard` lets them be copied through
mappings too, which is faster. The guard is a signal handler that passes on what is not its own: call ``faulthandler.enable()`` before, not after.
"""

from . import ipc, posix, sysv
from ._native import VERSION as __version__
from ._native import install_sigbus_guard
from .errors import (
    AlreadyExists,
    AlreadyRunning,
    Changed,
    Error,
    Gone,
    Invalid,
    KernelError,
    LimitReached,
    NoImage,
    NoProvider,
    NoServer,
    NotDelivered,
    NotFound,
    PeerBrokeProtocol,
    PeerDied,
    PeerError,
    PeerSilent,
    PermissionDenied,
    Refused,
    StillInUse,
    TimedOut,
    WouldBlock,
)
from .files import Client, Entry, Progress, get
from .images import ImageProvider, ImageRequester, Loan, Served
from .loader import ImageLoader
from .serving import Server

__all__ = [
    "AlreadyExists",
    "AlreadyRunning",
    "Changed",
    "Client",
    "Entry",
    "Error",
    "Gone",
    "ImageLoader",
    "ImageProvider",
    "ImageRequester",
    "Invalid",
    "KernelError",
    "LimitReached",
    "Loan",
    "NoImage",
    "NoProvider",
    "NoServer",
    "NotDelivered",
    "NotFound",
    "PeerBrokeProtocol",
    "PeerDied",
    "PeerError",
    "PeerSilent",
    "PermissionDenied",
    "Progress",
    "Refused",
    "Served",
    "Server",
    "StillInUse",
    "TimedOut",
    "WouldBlock",
    "__version__",
    "get",
    "install_sigbus_guard",
    "ipc",
    "posix",
    "sysv",
]
