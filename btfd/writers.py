"""Whether somebody is writing a file.

Contract: a guess that may miss writers (another user's file, a file system without leases), and
never sees one that is not there. Cost: four system calls.
"""

import fcntl
import os


def being_written(path: str) -> bool:
    """Whether somebody has the file open for writing, as far as a read lease can tell.

    A lease is refused while there is a writer. It is given back at once; the process must ignore
    SIGIO, which the kernel sends when a writer comes in between.
    """
    try:
        # A pipe would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except BlockingIOError:
        return True  # somebody has a write lease
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # not our file, or a file system without leases
    finally:
        os.close(fd)
    return False
