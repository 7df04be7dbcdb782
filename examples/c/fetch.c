/* Fetches files from shm_server (or `shmeld serve`): a client in C11 for Linux, without any library.
 *
 *     gcc -std=c11 -D_GNU_SOURCE -O2 -o fetch fetch.c
 *     ./fetch [-n /NAME] [-o DIRECTORY] [-r REGION_BYTES] [-s SERVER_UID] [-w SECONDS] FILE...
 *
 * Written from docs/PROTOCOL.md alone; "section" below means a section of that document. Each file arrives under the
 * last part of its name, whole or not at all. Exit codes: 0 done, 1 a file was not delivered, 2 usage, 3 no server or
 * refused, 4 the server died or lied, 129, 130, 143 ended by a signal.
 *
 * What the server can write is an allegation. A slot is copied by one pread, which only comes up short if the region
 * was cut; the copy is checked and used. Only the control words are touched in place.
 *
 * Left out, to stay short: all requests but GET, patterns, resuming, digests, many requests under way, and the second
 * region that BUSY, a queue of another owner or the loss of its name would call for. */
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { NOT_DELIVERED = 1, USAGE = 2, SYSTEM = 3, PEER = 4 };
enum { SLICE_MS = 200 };

static const char *queue_name = "/shmeld", *directory = ".";
static long long server_uid = -1, patience_ms = 30000;
static char region_path[64]; /* the region's name, as long as it has one */

/* The server and our region. Numbers that the region holds too are here for our own use: there they can change. */
static struct {
    int queue, region, attached;
    uid_t owner;
    struct first_page *page;
    uint8_t *slot;
    uint64_t slots_offset;
    uint32_t slot_bytes, slot_count, slot_index, slots_read;
    struct request request;
    char message[MESSAGE_BYTES_MAX]; /* the request under way: another server may have to hear it */
} client = {.queue = -1, .request = {.magic = "SHMR", .version = 1}};

static void remove_name(void) {
    if (region_path[0])
        unlink(region_path);
    region_path[0] = 0;
}

static void end_by_signal(int signal) {
    remove_name();
    _exit(signal == SIGBUS ? PEER : 128 + signal); /* SIGBUS: the server took the control words away */
}

__attribute__((format(printf, 2, 3), noreturn)) static void fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("fetch: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    remove_name();
    exit(code);
}

static void check_system(int worked, const char *call, const char *object) {
    if (!worked)
        fail(SYSTEM, "%s %s: %s", call, object, strerror(errno));
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The lock of somebody else on these bytes: F_RDLCK, F_WRLCK or F_UNLCK. */
static int lock_seen(int fd, off_t start, off_t bytes) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};
    check_system(fcntl(fd, F_OFD_GETLK, &lock) == 0, "F_OFD_GETLK", queue_name);
    return lock.l_type;
}

/* Section 1: the queue still has its name, and a living server holds a read lock over it. */
static int server_listens(int queue) {
    struct stat status;
    return fstat(queue, &status) == 0 && status.st_nlink > 0 && lock_seen(queue, 0, 0) == F_RDLCK;
}

/* The number of every user whom a user namespace does not know. Stricter than section 1: it is trusted in no namespace. */
static uid_t overflow_uid(void) {
    unsigned uid = 65534;
    FILE *file = fopen("/proc/sys/kernel/overflowuid", "r");
    if (file && fscanf(file, "%u", &uid) != 1)
        uid = 65534;
    if (file)
        fclose(file);
    return uid;
}

/* Section 1: opens the queue of a living server, in the place of an older one. 0: there is none now. */
static int open_queue(void) {
    struct stat status;
    int queue = mq_open(queue_name, O_WRONLY | O_CLOEXEC); /* on Linux an mqd_t is a file descriptor */
    check_system(queue >= 0 || errno == ENOENT || errno == EACCES, "mq_open", queue_name);
    if (queue < 0)
        return 0;
    check_system(fstat(queue, &status) == 0, "fstat", queue_name);
    uid_t owner = status.st_uid;
    if ((owner != geteuid() && owner != 0 && owner != server_uid) || owner == overflow_uid())
        fail(SYSTEM, "%s belongs to user %u, neither you nor root nor trusted by -s", queue_name, owner);
    if (!server_listens(queue)) {
        close(queue); /* a dead server left it */
        return 0;
    }
    if (client.page && !client.attached && owner != client.owner)
        fail(SYSTEM, "%s has another owner now: try again", queue_name);
    if (client.queue >= 0)
        close(client.queue);
    client.queue = queue;
    client.owner = owner;
    return 1;
}

/* Section 2, step 4. */
static void let_in(int region, uint32_t owner) {
    struct { uint16_t tag, permissions; uint32_t id; } entries[] =
        {{1, 6, UINT32_MAX}, {2, 6, owner}, {4, 0, UINT32_MAX}, {16, 6, UINT32_MAX}, {32, 0, UINT32_MAX}};
    uint8_t list[44] = {2};
    memcpy(list + 4, entries, sizeof entries);
    int worked = fsetxattr(region, "system.posix_acl_access", list, sizeof list, 0) == 0;
    check_system(worked || (errno == EOPNOTSUPP && owner == 0), "fsetxattr", "the region");
}

static int give_name(int fd, const char *path) {
    char nameless[32];
    snprintf(nameless, sizeof nameless, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, nameless, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
}

/* Section 2: the region is complete before it has a name. One page has one slot, a larger region up to four of whole pages. */
static void make_region(uint64_t region_bytes) {
    struct request *request = &client.request;
    int region = client.region = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check_system(region >= 0, "open", "/dev/shm");
    errno = posix_fallocate(region, 0, (off_t)region_bytes);
    check_system(errno == 0, "posix_fallocate", "the region");
    struct first_page *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, region, 0);
    check_system(page != MAP_FAILED && madvise(page, PAGE_BYTES, MADV_DONTFORK) == 0, "mmap", "the region");
    check_system(getrandom(request->region_id, 16, 0) == 16 && getrandom(request->nonce, 16, 0) == 16, "getrandom", "");
    uint64_t pages = region_bytes / PAGE_BYTES - 1;
    client.slot_count = pages == 0 ? 1 : pages < 4 ? (uint32_t)pages : 4;
    client.slots_offset = pages == 0 ? sizeof *page : PAGE_BYTES;
    client.slot_bytes = pages == 0 ? 3776 : (uint32_t)(pages / client.slot_count * PAGE_BYTES);
    memcpy(page->magic, "SHMELD1\x01", 8);
    page->version = 1;
    page->region_bytes = request->region_bytes = region_bytes;
    memcpy(page->nonce, request->nonce, 16);
    page->slots_offset = (uint32_t)client.slots_offset;
    page->slot_bytes = client.slot_bytes;
    page->slot_count = client.slot_count;
    page->filled.shared = page->empty.shared = 128;
    page->empty.value = client.slot_count;
    client.page = page;
    client.slot = malloc(client.slot_bytes);
    struct flock lease = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    check_system(client.slot && fcntl(region, F_OFD_SETLK, &lease) == 0, "F_OFD_SETLK", "the region");
    if (client.owner != geteuid())
        let_in(region, client.owner);
    char *end = region_path + sprintf(region_path, "/dev/shm/shmeld.");
    for (int i = 0; i < 16; i++)
        end += sprintf(end, "%02x", request->region_id[i]);
    check_system(give_name(region, region_path), "linkat", region_path);
}

/* Sends the request under way. 0: the server went before it had room, or has none for CLOSE, which our lease says too. */
static int send_message(void) {
    int is_close = client.request.op == CLOSE;
    size_t bytes = sizeof client.request + client.request.path_bytes;
    for (long long deadline = now_ms() + (is_close ? 0 : patience_ms); server_listens(client.queue);) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SLICE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (mq_timedsend(client.queue, client.message, bytes, HIGHEST_PRIORITY, &until) == 0)
            return 1;
        check_system(errno == ETIMEDOUT || errno == EINTR, "mq_timedsend", queue_name);
        if (now_ms() > deadline && is_close)
            return 0;
        if (now_ms() > deadline)
            fail(SYSTEM, "%s stays full: its server does not read", queue_name);
    }
    return 0;
}

/* Section 3. A server that has gone meanwhile is noticed, and told again, by `look_around`. */
static void ask(uint16_t op, const char *path) {
    client.request.op = op;
    client.request.request_id++;
    client.request.path_bytes = (uint32_t)strlen(path);
    memcpy(client.message, &client.request, sizeof client.request);
    memcpy(client.message + sizeof client.request, path, client.request.path_bytes);
    send_message();
}

/* Section 4, `wait(filled)`: one slice, in the order that loses no wake. */
static void wait_slice(void) {
    struct semaphore *filled = &client.page->filled;
    atomic_store(&filled->waiters, 1);
    atomic_exchange(&filled->value, 0);
    if (atomic_load(&client.page->written) == client.slots_read)
        syscall(SYS_futex, &filled->value, FUTEX_WAIT, 0, &(struct timespec){.tv_nsec = SLICE_MS * 1000000L}, NULL, 0);
    atomic_store(&filled->waiters, 0);
}

/* Section 4, `post(free)`. */
static void release_slot(void) {
    struct semaphore *empty = &client.page->empty;
    client.slot_index = (client.slot_index + 1) % client.slot_count;
    atomic_store(&client.page->read, ++client.slots_read);
    if (atomic_fetch_add(&empty->value, 1) == 0 && atomic_load(&empty->waiters) != 0)
        syscall(SYS_futex, &empty->value, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Nothing has come for a slice. Does the server live (section 2.2), and has it heard us (section 1)? */
static void look_around(void) {
    struct stat status;
    int holds_region = lock_seen(client.region, 1, 1) == F_WRLCK;
    if (client.attached && !holds_region) {
        /* What it published or said before its death or end is valid. */
        int said_why = (atomic_load(&client.page->state) & 255) != ATTACHED;
        if (atomic_load(&client.page->written) == client.slots_read && !said_why)
            fail(PEER, "the server died");
        return;
    }
    check_system(fstat(client.region, &status) == 0, "fstat", "the region");
    if (!holds_region && status.st_nlink == 0)
        fail(SYSTEM, "somebody removed %s before the server opened it", region_path);
    if (!server_listens(client.queue) && open_queue())
        send_message();
}

/* Section 2.2. Returns whether slots may come. */
static int check_state(uint32_t state, int may_end) {
    uint32_t kind = state & 255, code = state >> 8;
    if (kind > REFUSED || (kind <= ATTACHED && code != 0) || (client.attached && (kind == OFFERED || kind == REFUSED)))
        fail(PEER, "the server broke the protocol: an impossible state %#x", state);
    if (kind == REFUSED)
        fail(SYSTEM, "the server refuses: %s", status_name(code));
    if (kind == ENDED && may_end)
        fail(PEER, "the server ended the session: %s", status_name(code));
    if (kind != OFFERED && !client.attached) {
        client.attached = 1;
        remove_name(); /* from now on a crash of either side leaves nothing */
    }
    return kind != OFFERED;
}

/* Waits for the next slot and copies it. */
static void take_slot(void) {
    for (long long start = now_ms(), looked = start;;) {
        uint32_t state = atomic_load(&client.page->state); /* first: slots that were there before the end are valid */
        uint32_t ready = atomic_load(&client.page->written) - client.slots_read;
        if (ready > client.slot_count)
            fail(PEER, "the server broke the protocol: %u slots of %u are full", ready, client.slot_count);
        if (ready != 0 && !check_state(atomic_load(&client.page->state), 0))
            fail(PEER, "the server broke the protocol: slots without ATTACHED");
        if (ready != 0)
            break;
        check_state(state, 1);
        wait_slice();
        if (now_ms() - looked >= SLICE_MS) {
            look_around();
            looked = now_ms();
        }
        if (now_ms() - start > patience_ms)
            fail(client.attached ? PEER : SYSTEM, "the server has said nothing for %lld s", patience_ms / 1000);
    }
    off_t at = (off_t)(client.slots_offset + (uint64_t)client.slot_index * client.slot_bytes);
    if (pread(client.region, client.slot, client.slot_bytes, at) != (ssize_t)client.slot_bytes)
        fail(PEER, "the server cut the region");
}

static int begin_output(void) {
    int output = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    check_system(output >= 0, "open", directory);
    return output;
}

static void write_all(int output, const uint8_t *bytes, size_t count, const char *path) {
    for (ssize_t written; count > 0; bytes += written, count -= (size_t)written) {
        written = write(output, bytes, count);
        check_system(written > 0, "write", path);
    }
}

/* The file is whole: gives it size (its end may be a hole), mode and time, and then its name. Until now it had none. */
static void finish_output(int output, const struct answer *answer, const char *path) {
    char final[4096], beside[4128];
    const struct entry *entry = &answer->entry;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = entry->modified, .tv_nsec = entry->modified_nanos}};
    const char *slash = strrchr(path, '/');
    snprintf(final, sizeof final, "%s/%s", directory, slash ? slash + 1 : path);
    snprintf(beside, sizeof beside, "%s.%d", final, getpid());
    check_system(ftruncate(output, (off_t)answer->size) == 0, "ftruncate", final);
    check_system(fchmod(output, entry->mode & 0777) == 0, "fchmod", final);
    check_system(futimens(output, times) == 0, "futimens", final);
    if (!give_name(output, final)) {
        check_system(errno == EEXIST && give_name(output, beside), "linkat", final);
        check_system(rename(beside, final) == 0 || (unlink(beside), 0), "rename", final);
    }
    close(output);
}

static void complain(const char *path, uint32_t status, const uint8_t *text, size_t bytes) {
    fprintf(stderr, "fetch: get %s: ", path);
    for (size_t i = 0; i < bytes; i++)
        fputc(text[i] < 32 || text[i] > 126 ? '?' : text[i], stderr); /* ASCII only: C2 9B, say, drives terminals too */
    fprintf(stderr, " (%s)\n", status_name(status));
}

/* Fetches one file; 1 if it was not delivered. */
static int fetch(const char *path) {
    struct answer answer = {.request_id = client.request.request_id + 1};
    int output = -1, failures = 0, more = 1;
    ask(GET, path);
    while (!answer.done) {
        struct record record;
        const uint8_t *payload;
        size_t at = 0;
        take_slot();
        while (!answer.done && (more = next_record(client.slot, client.slot_bytes, &at, &record, &payload)) > 0) {
            const char *wrong = take_record(&answer, &record, payload);
            if (wrong)
                fail(PEER, "%s: the server broke the protocol: %s", path, wrong);
            if (record.kind == BEGIN)
                output = begin_output();
            else if (record.kind == DATA)
                write_all(output, payload, record.length, path);
            else if (record.kind == HOLE)
                check_system(lseek(output, (off_t)record.extent, SEEK_CUR) >= 0, "lseek", path);
            else if (record.kind == END && record.status == 0)
                finish_output(output, &answer, path);
            else if (record.kind == END)
                close(output);
            if (record.status != 0 && record.kind == ENTRY)
                complain(path, record.status, answer.text, answer.entry.text_bytes);
            else if (record.status != 0)
                complain(path, record.status, payload, record.length);
            failures |= record.status != 0;
        }
        if (more < 0)
            fail(PEER, "%s: the server broke the protocol: a record that is none", path);
        release_slot();
    }
    return failures;
}

int main(int count, char **words) {
    unsigned long long region_bytes = PAGE_BYTES;
    for (int option; (option = getopt(count, words, "n:o:r:s:w:")) != -1;)
        switch (option) {
        case 'n': queue_name = optarg; break;
        case 'o': directory = optarg; break;
        case 'r': region_bytes = strtoull(optarg, NULL, 10); break;
        case 's': server_uid = strtoll(optarg, NULL, 10); break;
        case 'w': patience_ms = strtoll(optarg, NULL, 10) * 1000; break;
        default: optind = count;
        }
    if (optind == count || region_bytes < PAGE_BYTES || region_bytes > 1 << 30 || region_bytes % PAGE_BYTES != 0)
        fail(USAGE, "usage: [-n /NAME] [-o DIRECTORY] [-r REGION_BYTES] [-s SERVER_UID] [-w SECONDS] FILE...");
    for (int i = optind; i < count; i++)
        if (strlen(words[i]) > PATH_BYTES_MAX || strlen(directory) > 3000)
            fail(USAGE, "a name of more than %d bytes, or a directory of more than 3000", PATH_BYTES_MAX);
    for (const int *signal = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGBUS, 0}; *signal; signal++)
        sigaction(*signal, &(struct sigaction){.sa_handler = end_by_signal}, NULL);
    long long deadline = now_ms() + patience_ms;
    for (long pause_ms = 50; !open_queue(); pause_ms = pause_ms < 500 ? pause_ms * 2 : 1000) {
        if (now_ms() > deadline)
            fail(SYSTEM, "no server has %s (start one: shm_server --name %s DIR)", queue_name, queue_name);
        nanosleep(&(struct timespec){.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000}, NULL);
    }
    make_region(region_bytes);
    int code = 0;
    for (int i = optind; i < count; i++)
        code |= fetch(words[i]) ? NOT_DELIVERED : 0;
    ask(CLOSE, "");
    return code;
}
