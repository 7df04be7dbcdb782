/* The bytes of docs/PROTOCOL.md as C sees them, and which record may follow which. Nothing here makes a system call or
 * touches shared memory. */
#ifndef SHMELD_PROTOCOL_H
#define SHMELD_PROTOCOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the protocol is little-endian, and so are these structures");

enum { PAGE_BYTES = 4096, MESSAGE_BYTES_MAX = 1024, HIGHEST_PRIORITY = 32767 };
enum { PATH_BYTES_MAX = 900, NAME_BYTES_MAX = 2048, TEXT_BYTES_MAX = 1024, DIGEST_BYTES = 32 };
enum { GET = 1, CLOSE = 5 };
enum { OFFERED = 0, ATTACHED = 1, ENDED = 2, REFUSED = 3 };
enum { STOP = 0, PAD = 1, BEGIN = 2, DATA = 3, HOLE = 4, END = 5, ENTRY = 6, DONE = 7, WAIT = 8 };

/* Section 5. */
static const char *const STATUS_NAMES[] = {
    "OK", "FNF", "DENIED", "NOT_A_FILE", "CHANGED", "TOO_LARGE", "NAME_TOO_LONG", "BAD_NAME",
    "BUSY", "IO", "UNSUPPORTED", "CANCELLED", "MISBEHAVED", "STALLED", "STOPPING", "BAD_REGION",
};
enum { STATUS_COUNT = sizeof STATUS_NAMES / sizeof *STATUS_NAMES };

static inline const char *status_name(uint32_t status) {
    return status < STATUS_COUNT ? STATUS_NAMES[status] : "unknown";
}

/* Section 2.1. The words that change while both sides run are atomic. */
struct semaphore {
    _Atomic uint32_t value, waiters;
    uint32_t shared;
    uint8_t zero[20];
};

struct first_page {
    uint8_t magic[8];
    uint32_t version;
    _Atomic uint32_t state;
    uint64_t region_bytes;
    uint8_t nonce[16];
    uint32_t slots_offset, slot_bytes, slot_count;
    uint8_t reserved_header[12];
    _Atomic uint32_t written, server_cpu;
    uint8_t reserved_server[56];
    _Atomic uint32_t read, client_cpu;
    _Atomic uint64_t cancel_up_to;
    uint8_t reserved_client[48];
    struct semaphore filled;
    uint8_t reserved_filled[32];
    struct semaphore empty; /* called `free` in the document */
    uint8_t reserved_free[32];
};

_Static_assert(offsetof(struct first_page, slots_offset) == 40 && offsetof(struct first_page, written) == 64, "2.1");
_Static_assert(offsetof(struct first_page, read) == 128 && offsetof(struct first_page, cancel_up_to) == 136, "2.1");
_Static_assert(offsetof(struct first_page, filled) == 192 && offsetof(struct first_page, empty) == 256, "2.1");
_Static_assert(sizeof(struct first_page) == 320 && sizeof(struct semaphore) == 32, "2.1");

/* Section 3. */
struct request {
    uint8_t magic[4];
    uint16_t version, op;
    uint64_t request_id;
    uint8_t region_id[16], nonce[16];
    uint64_t region_bytes, offset;
    uint32_t flags, path_bytes;
    uint8_t prefix_digest[32];
};

/* Section 4. */
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

_Static_assert(sizeof(struct request) == 104 && sizeof(struct record) == 32 && sizeof(struct entry) == 48, "3, 4");

/* The answer to a GET, as far as it has come. */
struct answer {
    uint64_t request_id, position, size;
    struct entry entry;  /* the last one; all its numbers are checked */
    const uint8_t *text; /* its text, in the copy of the slot */
    uint64_t items, refused;
    int inside_file, done;
};

/* The table of section 4: whether the record has nothing that one of its kind has not. */
static inline int fits_kind(const struct record *record) {
    enum { HAS_STATUS = 1, HAS_OFFSET = 2, HAS_EXTENT = 4, HAS_PAYLOAD = 8 };
    static const int MAY[] = {
        [STOP] = 0,
        [PAD] = HAS_PAYLOAD,
        [BEGIN] = HAS_OFFSET | HAS_EXTENT | HAS_PAYLOAD,
        [DATA] = HAS_OFFSET | HAS_PAYLOAD,
        [HOLE] = HAS_OFFSET | HAS_EXTENT,
        [END] = HAS_STATUS | HAS_OFFSET | HAS_PAYLOAD,
        [ENTRY] = HAS_STATUS | HAS_EXTENT | HAS_PAYLOAD,
        [DONE] = HAS_STATUS | HAS_OFFSET | HAS_EXTENT | HAS_PAYLOAD,
        [WAIT] = 0,
    };
    int has = (record->status != 0 ? HAS_STATUS : 0) | (record->offset != 0 ? HAS_OFFSET : 0) |
              (record->extent != 0 ? HAS_EXTENT : 0) | (record->length != 0 ? HAS_PAYLOAD : 0);
    if ((has & ~MAY[record->kind]) != 0)
        return 0;
    if (record->kind != END && record->kind != DONE)
        return 1;
    if (record->status != 0)
        return record->length <= TEXT_BYTES_MAX;
    return record->length == 0 || (record->kind == END && record->length == DIGEST_BYTES);
}

/* Takes the record at `*at` out of a private copy of a slot, and moves `*at` behind it: 1; 0 at the end; -1 if it is none. */
static inline int next_record(const uint8_t *slot, size_t slot_bytes, size_t *at, struct record *record,
                              const uint8_t **payload) {
    if (slot_bytes - *at < sizeof *record)
        return 0;
    memcpy(record, slot + *at, sizeof *record);
    *at += sizeof *record;
    if (record->kind > WAIT || record->status >= STATUS_COUNT || record->length > slot_bytes - *at ||
        !fits_kind(record))
        return -1;
    *payload = slot + *at;
    size_t padded = ((size_t)record->length + 7) / 8 * 8;
    *at = padded < slot_bytes - *at ? *at + padded : slot_bytes;
    return record->kind != STOP;
}

static inline const char *take_entry(struct answer *answer, const struct record *record, const uint8_t *payload) {
    struct entry *entry = &answer->entry;
    if (record->length < sizeof *entry)
        return "an entry is cut off";
    memcpy(entry, payload, sizeof *entry);
    if (entry->name_bytes > NAME_BYTES_MAX || entry->text_bytes > TEXT_BYTES_MAX)
        return "a name or text is too long";
    if (record->length != sizeof *entry + entry->name_bytes + entry->text_bytes)
        return "an entry is not as long as its parts";
    if (entry->kind > 4 || entry->mode > 07777 || entry->modified_nanos >= 1000000000 || entry->reserved != 0)
        return "an entry has impossible numbers";
    if (entry->size != record->extent)
        return "a size contradicts its entry";
    answer->text = payload + sizeof *entry + entry->name_bytes;
    return ++answer->items > 1 ? "there is more than one file" : NULL;
}

/* The grammar of the answer to a GET: NULL if this record may come now, or why it is none. */
static inline const char *take_record(struct answer *answer, const struct record *record, const uint8_t *payload) {
    if (record->kind == PAD)
        return NULL;
    if (record->request_id != answer->request_id)
        return "nobody asked for it";
    if (record->kind == WAIT)
        return NULL;
    if ((record->kind == DATA || record->kind == HOLE || record->kind == END) != answer->inside_file)
        return "a record is out of order";
    const char *wrong = NULL;
    uint64_t left = answer->size - answer->position, bytes = record->kind == DATA ? record->length : record->extent;
    switch (record->kind) {
    case BEGIN:
        wrong = take_entry(answer, record, payload);
        answer->size = record->extent;
        answer->position = 0;
        answer->inside_file = 1;
        if (!wrong && (record->offset != 0 || record->extent > INT64_MAX))
            wrong = "a file's beginning contradicts itself";
        return wrong;
    case ENTRY:
        wrong = take_entry(answer, record, payload);
        answer->refused++;
        return wrong || record->status != 0 ? wrong : "an entry is no file";
    case DATA:
    case HOLE:
        if (record->offset != answer->position || bytes > left)
            return "bytes are out of order or beyond the size";
        answer->position += bytes;
        return NULL;
    case END:
        answer->inside_file = 0;
        answer->refused += record->status != 0;
        wrong = left != 0 || record->offset != answer->size ? "a file ends before its end" : NULL;
        return record->status == 0 ? wrong : NULL;
    default: /* DONE */
        answer->done = 1;
        if (record->offset != answer->items || record->extent != answer->refused)
            return "other items are counted than came";
        return record->status == 0 && answer->items != 1 ? "the file is missing" : NULL;
    }
}

#endif
