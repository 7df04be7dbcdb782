/*
 * Counts lines, words and bytes of a text as wc does, with two processes and one page of POSIX shared memory.
 *
 * The parent reads the file into a small ring of slots, the child empties them and counts. Two semaphores
 * inside the page say how many slots are filled and how many are free; nobody polls. The page has a name
 * only until it is mapped, so a crash leaves nothing behind.
 *
 *     cc -Wall -Wextra -o count c.c && ./count c.c
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, SLOT_COUNT = 3, SLOT_BYTES = 1280 };

struct slot {
    ssize_t len; /* bytes in use; 0 is the end of the file, negative a failed read */
    char bytes[SLOT_BYTES];
};

struct page {
    sem_t filled; /* the parent posts, the child waits */
    sem_t free;   /* the child posts, the parent waits */
    struct slot slots[SLOT_COUNT];
};

_Static_assert(sizeof(struct page) <= PAGE_BYTES, "everything fits one page");

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* A new shared page without a name. */
static struct page *make_page(void)
{
    char name[64];
    snprintf(name, sizeof name, "/count-lines.%ld", (long)getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        die(name);
    if (shm_unlink(name) < 0)
        die("shm_unlink");
    /* Takes the memory now: with ftruncate alone, a full /dev/shm would be a SIGBUS later. */
    errno = posix_fallocate(fd, 0, PAGE_BYTES);
    if (errno != 0)
        die("posix_fallocate");
    struct page *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        die("mmap");
    close(fd);
    if (sem_init(&page->filled, 1, 0) < 0 || sem_init(&page->free, 1, SLOT_COUNT) < 0)
        die("sem_init");
    return page;
}

/* The child is there as long as waitpid has nothing to tell. */
static int child_lives(pid_t child)
{
    siginfo_t info = { 0 };
    return waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* Takes one unit. Looks once a second whether the other side still lives: it could have been killed. */
static void take(sem_t *sem, pid_t child, pid_t parent)
{
    for (;;) {
        struct timespec deadline;
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 1;
        if (sem_timedwait(sem, &deadline) == 0)
            return;
        if (errno != ETIMEDOUT && errno != EINTR)
            die("sem_timedwait");
        if (child > 0 ? !child_lives(child) : getppid() != parent) {
            fputs("the other side is gone\n", stderr);
            exit(2);
        }
    }
}

/* The child: empties slots until one is empty, prints the counts, says how it went. */
static int count(struct page *page, pid_t parent, const char *path)
{
    unsigned long lines = 0, words = 0, bytes = 0;
    int in_word = 0;
    for (unsigned at = 0;; at = (at + 1) % SLOT_COUNT) {
        take(&page->filled, 0, parent);
        const struct slot *slot = &page->slots[at];
        if (slot->len <= 0) {
            if (slot->len == 0)
                printf("%7lu %7lu %7lu %s\n", lines, words, bytes, path);
            return slot->len == 0 ? 0 : 1;
        }
        for (ssize_t i = 0; i < slot->len; i++) {
            unsigned char byte = (unsigned char)slot->bytes[i];
            lines += byte == '\n';
            words += !in_word && !isspace(byte);
            in_word = !isspace(byte);
        }
        bytes += (unsigned long)slot->len;
        sem_post(&page->free);
    }
}

/* The parent: fills slots until the file ends. */
static void feed(struct page *page, int fd, pid_t child)
{
    ssize_t len;
    unsigned at = 0;
    do {
        take(&page->free, child, 0);
        do
            len = read(fd, page->slots[at].bytes, SLOT_BYTES);
        while (len < 0 && errno == EINTR);
        if (len < 0)
            perror("read");
        page->slots[at].len = len;
        sem_post(&page->filled);
        at = (at + 1) % SLOT_COUNT;
    } while (len > 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die(argv[1]);
    struct page *page = make_page();
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        return count(page, parent, argv[1]);
    feed(page, fd, child);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
