// The client of a textbook's first shared memory program: it prints the text in a System V segment up to its NUL and stores a '*' over
// its first byte. Written for this test, sharing no code with the project; deliberately naive: there must be a text already.
//   board_client [KEY]               key 5678
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>

enum { BYTES = 27 };

int main(int argc, char **argv) {
    key_t key = argc > 1 ? (key_t)strtoul(argv[1], NULL, 0) : 5678;

    int id = shmget(key, BYTES, 0666);
    if (id < 0) {
        perror("shmget");
        return 1;
    }
    char *memory = shmat(id, NULL, 0);
    if (memory == (char *)-1) {
        perror("shmat");
        return 1;
    }
    for (char *place = memory; *place != '\0'; place++) {
        putchar(*place);
    }
    putchar('\n');
    fflush(stdout);
    *memory = '*';
    shmdt(memory);
    return 0;
}
