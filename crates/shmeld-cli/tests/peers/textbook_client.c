// A client for shm_server as a textbook would write it: mq_open and mq_timedsend, shm_open with ftruncate and
// mmap, and the producer-consumer scheme with sem_wait and sem_post of libc on two unnamed semaphores.
// Written from docs/PROTOCOL.md alone, sharing no code with the project: it proves that the document suffices
// and that shm_server gets along with semaphores operated by libc. Sections are those of the document.
//   textbook_client [-n /NAME] [-r REGION_BYTES] [-s SLOT_BYTES] -o DIRECTORY NAME...
//
// Exit codes: 0 done, 1 a file was not delivered, 2 usage, 3 no server or refused, 4 the server died or lied.
// Deliberately naive: once attached it sleeps in sem_wait without a time limit, as textbooks do. Only alarm()
// saves it if the server never posts again.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STATE_OFFERED, STATE_ATTACHED, STATE_ENDED, STATE_REFUSED };
enum { OP_GET = 1, OP_CLOSE = 5 };
enum { STOP, PAD, BEGIN, DATA, HOLE, END, ENTRY, DONE, WAIT };
enum { PATH_BYTES_MAX = 900, PRIORITY = 32767, LIFETIME_SECONDS = 120 };

// Section 2.1: the first page of the region.
struct header {
    char magic[8];
    uint32_t version;
    _Atomic uint32_t state;
    uint64_t region_bytes;
    uint8_t nonce[16];
    uint32_t slots_offset, slot_bytes, slot_count;
    uint8_t reserved[12];
    _Atomic uint32_t written;
    uint8_t of_the_server[60];
    _Atomic uint32_t read;
    uint8_t of_the_client[60];
    sem_t filled;
    uint8_t after_filled[32];
    sem_t free;
    uint8_t after_free[32];
};
_Static_assert(offsetof(struct header, written) == 64 && offsetof(struct header, read) == 128, "words");
_Static_assert(offsetof(struct header, filled) == 192 && offsetof(struct header, free) == 256, "semaphores");
_Static_assert(sizeof(struct header) == 320, "the header");

// Section 3: a request without its path.
struct request {
    char magic[4];
    uint16_t version, op;
    uint64_t request_id;
    uint8_t region_id[16], nonce[16];
    uint64_t region_bytes, offset;
    uint32_t flags, path_bytes;
    uint8_t prefix_digest[32];
};
_Static_assert(sizeof(struct request) == 104, "request");

// Section 4: what every record begins with, and the payload of BEGIN and ENTRY.
struct record {
    uint16_t kind, status;
    uint32_t length;
    uint64_t request_id, offset, extent;
};
struct entry {
    uint32_t kind, mode;
    uint64_t size;
    int64_t modified;
    uint32_t modified_nanos, uid, gid, name_bytes, text_bytes, reserved;
};
_Static_assert(sizeof(struct record) == 32 && sizeof(struct entry) == 48, "records");

struct session {
    const char *queue_name;
    mqd_t queue;
    struct request request;
    struct header *header;
    uint8_t *slots;
    char region_name[48];
    uint32_t slot_bytes, slot_count, slot_index, slots_read;
    int watcher;  // a second description of the region, to see the server's lock
    bool attached;
};

// One file on its way to the disk.
struct output {
    FILE *file;
    char target[4096], unfinished[4160];
    uint64_t position;
    bool delivered;
};

static const char *status_names[] = {"OK", "FNF", "DENIED", "NOT_A_FILE", "CHANGED", "TOO_LARGE",
    "NAME_TOO_LONG", "BAD_NAME", "BUSY", "IO", "UNSUPPORTED", "CANCELLED", "MISBEHAVED", "STALLED",
    "STOPPING", "BAD_REGION"};

// The session whose region has to go if the program ends early.
static struct session *to_clean;

static const char *status_name(uint32_t status) {
    return status < sizeof status_names / sizeof *status_names ? status_names[status] : "unknown status";
}

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("textbook_client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (to_clean != NULL && !to_clean->attached)
        shm_unlink(to_clean->region_name);
    exit(code);
}

static void insist(bool condition, const char *what) {
    if (!condition)
        fail(4, "the server broke the protocol: %s", what);
}

// The kind of lock that somebody else holds on this range: F_RDLCK, F_WRLCK or F_UNLCK.
static int lock_seen(int descriptor, off_t start, off_t length) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0)
        fail(3, "F_OFD_GETLK: %s", strerror(errno));
    return lock.l_type;
}

// Section 1: the queue still has its name and a server holds its lease over it.
static bool server_listens(mqd_t queue) {
    struct stat status;
    return fstat(queue, &status) == 0 && status.st_nlink > 0 && lock_seen(queue, 0, 0) == F_RDLCK;
}

// Section 1: waits up to ten seconds for a server.
static mqd_t find_server(const char *name) {
    for (int attempt = 0; attempt < 100; attempt++) {
        mqd_t queue = mq_open(name, O_WRONLY);
        if (queue != (mqd_t)-1) {
            struct stat status;
            if (fstat(queue, &status) != 0 || (status.st_uid != 0 && status.st_uid != geteuid()))
                fail(3, "queue %s belongs to somebody else", name);
            if (server_listens(queue))
                return queue;
            mq_close(queue);
        } else if (errno != ENOENT && errno != EACCES) {
            fail(3, "mq_open %s: %s", name, strerror(errno));
        }
        usleep(100000);
    }
    fail(3, "queue %s: no server", name);
}

// Section 2: makes the region and puts our lock on byte 0.
static void make_region(struct session *session, uint64_t region_bytes, uint32_t slot_bytes) {
    struct request *request = &session->request;
    if (getrandom(request->region_id, 16, 0) != 16 || getrandom(request->nonce, 16, 0) != 16)
        fail(3, "getrandom: %s", strerror(errno));
    char *end = session->region_name + sprintf(session->region_name, "/shmeld.");
    for (int i = 0; i < 16; i++)
        end += sprintf(end, "%02x", request->region_id[i]);

    int region = shm_open(session->region_name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (region < 0)
        fail(3, "shm_open %s: %s", session->region_name, strerror(errno));
    to_clean = session;
    struct flock lease = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    if (fcntl(region, F_OFD_SETLK, &lease) != 0)
        fail(3, "F_OFD_SETLK: %s", strerror(errno));
    int refused = ftruncate(region, region_bytes) != 0 ? errno : posix_fallocate(region, 0, region_bytes);
    if (refused != 0)
        fail(3, "region of %ju bytes: %s", (uintmax_t)region_bytes, strerror(refused));
    void *memory = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region, 0);
    session->watcher = shm_open(session->region_name, O_RDONLY, 0);
    if (memory == MAP_FAILED || session->watcher < 0)
        fail(3, "%s: %s", session->region_name, strerror(errno));
    madvise(memory, region_bytes, MADV_DONTFORK);
    close(region);  // The mapping keeps the description, and with it the lock.

    struct header *header = session->header = memory;
    bool one_page = region_bytes == 4096;
    memcpy(header->magic, "SHMELD1\x01", 8);
    header->version = 1;
    header->region_bytes = request->region_bytes = region_bytes;
    memcpy(header->nonce, request->nonce, 16);
    header->slots_offset = one_page ? 320 : 4096;
    header->slot_bytes = session->slot_bytes = one_page ? 3776 : slot_bytes;
    header->slot_count = session->slot_count = (region_bytes - header->slots_offset) / header->slot_bytes;
    session->slots = (uint8_t *)memory + header->slots_offset;
    if (sem_init(&header->filled, 1, 0) != 0 || sem_init(&header->free, 1, session->slot_count) != 0)
        fail(3, "sem_init: %s", strerror(errno));
}

// Sends the last request: again, if the queue that it went to has no server any more.
static void send_request(struct session *session, const char *path) {
    char message[sizeof(struct request) + PATH_BYTES_MAX];
    size_t bytes = sizeof(struct request) + strlen(path);
    session->request.path_bytes = strlen(path);
    memcpy(message, &session->request, sizeof(struct request));
    memcpy(message + sizeof(struct request), path, strlen(path));
    for (;;) {
        if (!server_listens(session->queue)) {
            mq_close(session->queue);
            session->queue = find_server(session->queue_name);
        }
        struct timespec deadline;
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 1;
        if (mq_timedsend(session->queue, message, bytes, PRIORITY, &deadline) == 0)
            return;
        if (errno != ETIMEDOUT && errno != EINTR)
            fail(3, "mq_timedsend: %s", strerror(errno));
    }
}

// Section 2.2: waits until the server holds the region.
static void wait_until_attached(struct session *session, const char *path) {
    for (;;) {
        uint32_t state = atomic_load(&session->header->state);
        if ((state & 0xff) == STATE_REFUSED)
            fail(3, "refused: %s", status_name(state >> 8));
        if ((state & 0xff) != STATE_OFFERED)
            break;
        if (!server_listens(session->queue))
            send_request(session, path);
        usleep(2000);
    }
    session->attached = true;
    shm_unlink(session->region_name);
}

// Section 4: the consumer's half of the bounded buffer. Returns a slot that release_slot() must give back.
static const uint8_t *wait_for_slot(struct session *session) {
    struct header *header = session->header;
    while (atomic_load(&header->written) == session->slots_read) {
        uint32_t state = atomic_load(&header->state);
        bool alive = lock_seen(session->watcher, 1, 1) == F_WRLCK;
        if (atomic_load(&header->written) != session->slots_read)
            break;  // Written before the end came: it counts.
        if ((state & 0xff) == STATE_ENDED || !alive)
            fail(4, "the server died or ended the session: %s", status_name(state >> 8));
        sem_wait(&header->filled);
    }
    insist(atomic_load(&header->written) - session->slots_read <= session->slot_count, "too many slots");
    return session->slots + (size_t)session->slot_index * session->slot_bytes;
}

static void release_slot(struct session *session) {
    session->slot_index = (session->slot_index + 1) % session->slot_count;
    atomic_store(&session->header->read, ++session->slots_read);
    if (sem_post(&session->header->free) != 0)
        fail(4, "sem_post: %s", strerror(errno));
}

// Opens the unfinished output of a file whose BEGIN has come, with the directories that lead to it.
static void begin_output(struct output *output, const char *directory, const uint8_t *payload,
    size_t length) {
    struct entry entry;
    insist(output->file == NULL && length >= sizeof entry, "BEGIN");
    memcpy(&entry, payload, sizeof entry);
    insist(entry.name_bytes > 0 && entry.name_bytes <= 2048 && entry.text_bytes <= 1024, "name of an entry");
    insist(length == sizeof entry + entry.name_bytes + entry.text_bytes, "length of an entry");
    char name[2049] = {0};
    memcpy(name, payload + sizeof entry, entry.name_bytes);
    insist(strlen(name) == entry.name_bytes, "NUL in a name");
    snprintf(output->target, sizeof output->target, "%s/%s/", directory, name);
    const char *below = output->target + strlen(directory);
    insist(!strstr(below, "//") && !strstr(below, "/./") && !strstr(below, "/../"), "an unsafe name");
    output->target[strlen(output->target) - 1] = '\0';
    for (char *slash = output->target + strlen(directory); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(output->target, 0777);
        *slash = '/';
    }
    snprintf(output->unfinished, sizeof output->unfinished, "%s.unfinished", output->target);
    int file = open(output->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, entry.mode & 0777);
    output->file = file < 0 ? NULL : fdopen(file, "w");
    if (output->file == NULL)
        fail(3, "open %s: %s", output->unfinished, strerror(errno));
    output->position = 0;
}

static void end_output(struct output *output, bool good) {
    bool written = fflush(output->file) == 0 && ftruncate(fileno(output->file), output->position) == 0;
    if (fclose(output->file) != 0 || !written)
        fail(3, "write %s: %s", output->unfinished, strerror(errno));
    output->file = NULL;
    if (good ? rename(output->unfinished, output->target) != 0 : unlink(output->unfinished) != 0)
        fail(3, "%s: %s", output->unfinished, strerror(errno));
    output->delivered = good;
}

// Prints why a file did not come: the text of END or DONE, or the one in an ENTRY.
static void complain(const char *path, const struct record *record, const uint8_t *payload) {
    uint32_t length = record->length;
    if (record->kind == ENTRY) {
        struct entry entry;
        insist(length >= sizeof entry, "ENTRY");
        memcpy(&entry, payload, sizeof entry);
        insist(length == (uint64_t)sizeof entry + entry.name_bytes + entry.text_bytes, "ENTRY");
        payload += sizeof entry + entry.name_bytes;
        length = entry.text_bytes;
    }
    fprintf(stderr, "textbook_client: get %s: %.*s (%s)\n", path, (int)length, (const char *)payload,
        status_name(record->status));
}

// Acts on one record of the answer. True after the last one.
static bool take_record(struct output *output, const char *directory, const char *path,
    const struct record *record, const uint8_t *payload) {
    if (record->kind == DATA || record->kind == HOLE || record->kind == END) {
        insist(output->file != NULL, "a record outside of a file");
        insist(record->status != 0 || record->offset == output->position, "offset");
    }
    if (record->kind == BEGIN) {
        begin_output(output, directory, payload, record->length);
    } else if (record->kind == DATA) {
        if (fwrite(payload, 1, record->length, output->file) != record->length)
            fail(3, "write %s: %s", output->unfinished, strerror(errno));
        output->position += record->length;
    } else if (record->kind == HOLE) {
        output->position += record->extent;
        if (fseeko(output->file, output->position, SEEK_SET) != 0)
            fail(3, "seek %s: %s", output->unfinished, strerror(errno));
    } else if (record->status != 0) {
        complain(path, record, payload);
    }
    if (record->kind == END)
        end_output(output, record->status == 0);
    return record->kind == DONE;
}

// Fetches one file. False: it was not delivered, and why has been printed.
static bool fetch(struct session *session, const char *directory, const char *path) {
    struct output output = {0};
    session->request.op = OP_GET;
    session->request.request_id++;
    send_request(session, path);
    if (!session->attached)
        wait_until_attached(session, path);
    for (bool done = false; !done;) {
        const uint8_t *slot = wait_for_slot(session);
        for (uint64_t at = 0; !done && at + sizeof(struct record) <= session->slot_bytes;) {
            struct record record;
            memcpy(&record, slot + at, sizeof record);
            if (record.kind == STOP)
                break;
            at += sizeof record;
            insist(record.kind <= WAIT && at + record.length <= session->slot_bytes, "a record");
            if (record.kind != PAD && record.kind != WAIT) {
                insist(record.request_id == session->request.request_id, "an answer that nobody asked for");
                done = take_record(&output, directory, path, &record, slot + at);
            }
            at += (record.length + 7u) & ~7u;
        }
        release_slot(session);
    }
    return output.delivered;
}

int main(int argument_count, char **arguments) {
    struct session session = {.queue_name = "/shmeld", .request = {.magic = "SHMR", .version = 1}};
    const char *directory = NULL;
    uint64_t region_bytes = 4096;
    uint32_t slot_bytes = 4096;
    int option;
    while ((option = getopt(argument_count, arguments, "n:r:s:o:")) != -1) {
        switch (option) {
        case 'n': session.queue_name = optarg; break;
        case 'r': region_bytes = strtoul(optarg, NULL, 10); break;
        case 's': slot_bytes = strtoul(optarg, NULL, 10); break;
        case 'o': directory = optarg; break;
        }
    }
    if (directory == NULL || optind == argument_count)
        return 2;
    alarm(LIFETIME_SECONDS);
    session.queue = find_server(session.queue_name);
    make_region(&session, region_bytes, slot_bytes);
    bool all = true;
    for (int i = optind; i < argument_count; i++) {
        if (strlen(arguments[i]) > PATH_BYTES_MAX)
            fail(2, "a name too long for a request");
        all = fetch(&session, directory, arguments[i]) && all;
    }
    session.request.op = OP_CLOSE;
    session.request.request_id++;
    send_request(&session, "");
    return all ? 0 : 1;
}
