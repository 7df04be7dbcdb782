// The server of a textbook's first shared memory program: it puts a text into a System V segment of 27 bytes and waits until a client
// has stored a '*' over its first byte. Written for this test, sharing no code with the project; deliberately naive: no error is
// distinguished, nothing is synchronised, a second client has no place.
//   board_server [KEY [TEXT]]        key 5678, the lower-case alphabet
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

enum { BYTES = 27, LIFETIME_SECONDS = 60 };

int main(int argc, char **argv) {
    key_t key = argc > 1 ? (key_t)strtoul(argv[1], NULL, 0) : 5678;
    const char *text = argc > 2 ? argv[2] : "abcdefghijklmnopqrstuvwxyz";

    alarm(LIFETIME_SECONDS);
    int id = shmget(key, BYTES, IPC_CREAT | 0666);
    if (id < 0) {
        perror("shmget");
        return 1;
    }
    char *memory = shmat(id, NULL, 0);
    if (memory == (char *)-1) {
        perror("shmat");
        return 1;
    }
    // Byte by byte and from the front, as textbooks do: a client that looks meanwhile finds a part of it.
    char *place = memory;
    for (int at = 0; text[at] != '\0' && at < BYTES - 1; at++) {
        *place++ = text[at];
    }
    *place = '\0';
    while (*(volatile char *)memory != '*') {
        usleep(1000);
    }
    shmdt(memory);
    shmctl(id, IPC_RMID, NULL);
    return 0;
}
