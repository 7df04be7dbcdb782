"""Frames of 1920x1080x3 as numpy arrays from one process to another, as multiprocessing passes them. Prints the median of their seconds.

    queue_pipe.py queue|pipe FRAMES
"""

import multiprocessing
import statistics
import sys
import time

import numpy


def answer_queue(requests, frames):
    frame = numpy.full((1080, 1920, 3), 7, dtype=numpy.uint8)
    while requests.get() is not None:
        frames.put(frame)


def answer_pipe(end):
    frame = numpy.full((1080, 1920, 3), 7, dtype=numpy.uint8)
    while end.recv() is not None:
        end.send(frame)


def main(kind, count):
    if kind == "queue":
        requests, frames = multiprocessing.Queue(), multiprocessing.Queue()
        other = multiprocessing.Process(target=answer_queue, args=(requests, frames))
        ask, take = requests.put, frames.get
    else:
        end, far = multiprocessing.Pipe()
        other = multiprocessing.Process(target=answer_pipe, args=(far,))
        ask, take = end.send, end.recv
    other.start()
    ask("frame")
    take()
    each = []
    for _ in range(count):
        start = time.perf_counter()
        ask("frame")
        assert take().shape == (1080, 1920, 3)
        each.append(time.perf_counter() - start)
    print(statistics.median(each))
    ask(None)
    other.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
