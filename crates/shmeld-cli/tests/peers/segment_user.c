// Segments of shared memory as C programs commonly use them: a wrapper that opens or creates (open_segment), a wrapper that attaches
// (attach_segment), and strings in between. Written for the tests; it shares no code with the project.
//   segment_user create KEY SIZE TEXT     prints the number of the segment
//   segment_user print KEY|#ID            prints the text in it
//   segment_user hold KEY|#ID             says "attached", then waits for the end of its standard input
//   segment_user remove KEY|#ID
//   segment_user posix-create /NAME SIZE TEXT
//   segment_user posix-print /NAME
// Keys are decimal or 0x. Exit codes: 0 done, 1 a call failed (its name and errno are printed), 2 usage.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *call) {
    fprintf(stderr, "%s: %s\n", call, strerrorname_np(errno));
    exit(1);
}

static int open_segment(key_t key, size_t size) {
    int id = shmget(key, size, IPC_CREAT | 0660);
    if (id == -1)
        die("shmget");
    return id;
}

static char *attach_segment(int id, int flags) {
    char *memory = shmat(id, NULL, flags);
    if (memory == (char *)-1)
        die("shmat");
    return memory;
}

static void detach_segment(const char *memory) {
    if (shmdt(memory) == -1)
        die("shmdt");
}

static void remove_segment(int id) {
    if (shmctl(id, IPC_RMID, NULL) == -1)
        die("shmctl");
}

static int find_segment(const char *address) {
    if (address[0] == '#')
        return atoi(address + 1);
    int id = shmget((key_t)strtoul(address, NULL, 0), 0, 0);
    if (id == -1)
        die("shmget");
    return id;
}

static char *map_object(const char *name, size_t size, int flags) {
    int fd = shm_open(name, flags, 0660);
    if (fd == -1)
        die("shm_open");
    if ((flags & O_CREAT) && ftruncate(fd, (off_t)size) == -1)
        die("ftruncate");
    struct stat stat;
    if (fstat(fd, &stat) == -1)
        die("fstat");
    int protection = (flags & O_RDWR) ? PROT_READ | PROT_WRITE : PROT_READ;
    char *memory = mmap(NULL, (size_t)stat.st_size, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    close(fd);
    return memory;
}

int main(int count, char **words) {
    alarm(60);
    if (count == 5 && strcmp(words[1], "create") == 0) {
        int id = open_segment((key_t)strtoul(words[2], NULL, 0), strtoul(words[3], NULL, 0));
        char *memory = attach_segment(id, 0);
        strcpy(memory, words[4]);
        detach_segment(memory);
        printf("%d\n", id);
    } else if (count == 3 && strcmp(words[1], "print") == 0) {
        char *memory = attach_segment(find_segment(words[2]), SHM_RDONLY);
        printf("%s\n", memory);
        detach_segment(memory);
    } else if (count == 3 && strcmp(words[1], "hold") == 0) {
        char *memory = attach_segment(find_segment(words[2]), 0);
        fprintf(stderr, "attached\n");
        while (getchar() != EOF)
            ;
        detach_segment(memory);
    } else if (count == 3 && strcmp(words[1], "remove") == 0) {
        remove_segment(find_segment(words[2]));
    } else if (count == 5 && strcmp(words[1], "posix-create") == 0) {
        strcpy(map_object(words[2], strtoul(words[3], NULL, 0), O_CREAT | O_RDWR), words[4]);
    } else if (count == 3 && strcmp(words[1], "posix-print") == 0) {
        printf("%s\n", map_object(words[2], 0, O_RDONLY));
    } else {
        fprintf(stderr, "usage: segment_user COMMAND ARGUMENT...\n");
        return 2;
    }
    return 0;
}
