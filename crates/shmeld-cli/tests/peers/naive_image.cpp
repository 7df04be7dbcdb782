// A careless program of the image channel, written from section 5 of the design and not from the project's code: it opens, maps and
// unmaps at each call, makes a segment as long as what it is about to read, makes the semaphores whichever side starts first, checks
// nothing, and removes all four names at its end.
//
//   naive_image request CHANNEL [-n N] [-o DIR] NAME...    asks, writes DIR/NAME.bin, prints name and the four numbers
//   naive_image provide CHANNEL [-n N]                     answers; SIGTERM ends it
//
// (A provider that ends after N answers removes the names before a requester that is as careless has read the last one: that one then waits
// for ever. So it is stopped by SIGTERM where both sides are naive.)
// -b sleeps in sem_timedwait instead of polling each 100 ms. An image is called SEED-WIDTHxHEIGHTxCHANNELS, and its pixels follow from that.
// For measurements: -k keeps the last image that was made.
// Lies: --lie KIND, once for each request or answer; see lie_in_answer and lie_in_request.

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static volatile sig_atomic_t is_over = 0;
// Whether it sleeps in the semaphore instead of looking at it each 100 ms.
static bool blocks = false;

static void nap() { usleep(100 * 1000); }

// One of the two segments. It believes that a segment has one byte until it has made it longer itself.
class Segment {
  public:
    Segment(const std::string &name, bool is_owner) : name_(name) {
        if (!is_owner) return;
        shm_unlink(name_.c_str());
        int fd = shm_open(name_.c_str(), O_CREAT | O_RDWR, 0666);
        if (fd < 0 || ftruncate(fd, 1) != 0) perror("shm_open");
        close(fd);
    }

    void write(const void *bytes, size_t length) { with(length, [&](char *memory) { memcpy(memory, bytes, length); }); }
    void read(void *bytes, size_t length) { with(length, [&](char *memory) { memcpy(bytes, memory, length); }); }

    void cut(size_t length) {
        int fd = shm_open(name_.c_str(), O_RDWR, 0666);
        if (fd < 0 || ftruncate(fd, length) != 0) perror("ftruncate");
        close(fd);
    }

  private:
    template <class Use> void with(size_t length, Use use) {
        if (length == 0) return;
        int fd;
        while ((fd = shm_open(name_.c_str(), O_RDWR, 0666)) < 0) {
            if (is_over) exit(0);
            nap();
        }
        if (length > length_) {
            if (ftruncate(fd, length) != 0) perror("ftruncate");
            length_ = length;
        }
        void *memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) perror("mmap");
        use(static_cast<char *>(memory));
        munmap(memory, length);
        close(fd);
    }

    std::string name_;
    size_t length_ = 1;
};

struct Channel {
    Channel(const std::string &name, bool is_requester)
        : name(name), request(semaphore("REQ")), answer(semaphore("RES")), head("/SEG_" + name + "_HEAD", is_requester),
          data("/SEG_" + name + "_DATA", is_requester) {}

    ~Channel() {
        sem_unlink(("/SEM_" + name + "_REQ").c_str());
        sem_unlink(("/SEM_" + name + "_RES").c_str());
        shm_unlink(("/SEG_" + name + "_HEAD").c_str());
        shm_unlink(("/SEG_" + name + "_DATA").c_str());
    }

    sem_t *semaphore(const char *which) {
        sem_t *made = sem_open(("/SEM_" + name + "_" + which).c_str(), O_CREAT, 0666, 0);
        if (made == SEM_FAILED) perror("sem_open");
        return made;
    }

    static bool wait(sem_t *semaphore) {
        while (!is_over) {
            if (sem_trywait(semaphore) == 0) return true;
            if (!blocks) {
                nap();
                continue;
            }
            timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 100 * 1000 * 1000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            if (sem_timedwait(semaphore, &until) == 0) return true;
        }
        return false;
    }

    // A semaphore whose memory says something else than it did.
    void forge(const char *which, uint32_t value, uint32_t waiters, uint32_t shared) {
        int fd = shm_open(("/sem.SEM_" + name + "_" + which).c_str(), O_RDWR, 0666);
        uint32_t words[4] = {value, waiters, shared, 0};
        if (pwrite(fd, words, sizeof words, 0) != sizeof words) perror("pwrite");
        close(fd);
    }
    void cut_semaphore(const char *which) {
        int fd = shm_open(("/sem.SEM_" + name + "_" + which).c_str(), O_RDWR, 0666);
        if (ftruncate(fd, 0) != 0) perror("ftruncate");
        close(fd);
    }

    std::string name;
    sem_t *request, *answer;
    Segment head, data;
};

static std::vector<unsigned char> pixels_of(const std::string &name, uint64_t numbers[4]) {
    unsigned seed, width, height, channels;
    if (sscanf(name.c_str(), "%u-%ux%ux%u", &seed, &width, &height, &channels) != 4) return {};
    numbers[0] = uint64_t(width) * height * channels;
    numbers[1] = width;
    numbers[2] = height;
    numbers[3] = channels;
    std::vector<unsigned char> pixels(numbers[0]);
    uint32_t state = seed * 2654435761u + 1;
    for (auto &byte : pixels) {
        state = state * 1664525u + 1013904223u;
        byte = state >> 24;
    }
    return pixels;
}

// What comes instead of an honest answer; false: none at all.
static bool lie_in_answer(Channel &channel, const std::string &lie, uint64_t numbers[4]) {
    const uint64_t half = uint64_t(1) << 63;
    if (lie == "short-data") channel.data.cut(numbers[0] / 2);
    if (lie == "no-data") channel.data.cut(0);
    if (lie == "overflow") numbers[1] = numbers[2] = uint64_t(1) << 32, numbers[0] = 0;
    if (lie == "half") numbers[0] = half, numbers[1] = half, numbers[2] = numbers[3] = 1;
    if (lie == "product") numbers[0] -= 1;
    if (lie == "channels") numbers[3] = 5;
    if (lie == "huge") numbers[0] = 1 << 30, numbers[1] = numbers[2] = 1 << 14, numbers[3] = 4;
    if (lie == "text") numbers[0] = numbers[2] = numbers[3] = 0, numbers[1] = half;
    channel.head.write(numbers, 32);
    if (lie == "short-head") channel.head.cut(31);
    if (lie == "forge-shared") channel.forge("RES", 0, 1, 0x40), channel.forge("REQ", 0, 7, 1);
    if (lie == "forge-value") channel.forge("RES", 0xffffffff, 0xffffffff, 0xffffffff);
    if (lie == "forge-units") return channel.forge("RES", 1000, 0, 128), false;
    if (lie == "cut-answer") return channel.cut_semaphore("RES"), false;
    if (lie == "cut-request") channel.cut_semaphore("REQ");
    return lie != "mute";
}

static int provide(Channel &channel, long count, const std::string &lie, bool keeps) {
    std::string kept_name;
    std::vector<unsigned char> pixels;
    uint64_t kept[4] = {0, 0, 0, 0};
    for (long served = 0; count < 0 || served < count; served++) {
        if (!Channel::wait(channel.request)) return 0;
        uint64_t length = 0;
        channel.head.read(&length, 8);
        std::string name(length, 0);
        channel.data.read(&name[0], length);
        if (!keeps || name != kept_name) {
            memset(kept, 0, sizeof kept);
            pixels = pixels_of(name, kept);
            kept_name = name;
        }
        uint64_t numbers[4];
        memcpy(numbers, kept, sizeof kept);
        channel.data.write(pixels.data(), pixels.size());
        if (lie == "slow") usleep(300 * 1000);
        if (lie == "die") raise(SIGKILL);
        if (lie_in_answer(channel, lie, numbers)) sem_post(channel.answer);
    }
    return 0;
}

static void lie_in_request(Channel &channel, const std::string &lie) {
    uint64_t length = 0;
    if (lie == "long-name") length = 201, channel.head.write(&length, 8);
    if (lie == "half-name") length = uint64_t(1) << 63, channel.head.write(&length, 8);
    if (lie == "no-name") channel.head.write(&length, 8);
    if (lie == "short-name") channel.data.cut(1);
    if (lie == "short-head") channel.head.cut(7);
    if (lie == "nul") channel.data.write("a\0b", 3), length = 3, channel.head.write(&length, 8);
    if (lie == "slash") channel.data.write("../secret", 9), length = 9, channel.head.write(&length, 8);
    if (lie == "forge-shared") channel.forge("REQ", 0, 1, 0x40), channel.forge("RES", 0, 7, 1);
    if (lie == "cut-answer") channel.cut_semaphore("RES");
}

static int request(Channel &channel, const std::vector<std::string> &names, long count, const std::string &lie,
                   const std::string &directory) {
    using Clock = std::chrono::steady_clock;
    auto start = Clock::now();
    std::vector<double> each;
    std::vector<unsigned char> pixels;
    for (long asked = 0; asked < count; asked++) {
        const std::string &name = names[asked % names.size()];
        auto began = Clock::now();
        uint64_t length = name.size();
        channel.head.write(&length, 8);
        channel.data.write(name.data(), length);
        lie_in_request(channel, lie);
        sem_post(channel.request);
        if (!Channel::wait(channel.answer)) return 3;
        uint64_t numbers[4];
        channel.head.read(numbers, sizeof numbers);
        pixels.resize(numbers[0]);
        channel.data.read(pixels.data(), numbers[0]);
        each.push_back(std::chrono::duration<double>(Clock::now() - began).count());
        if (directory.empty()) continue;
        printf("%s %lu %lu %lu %lu\n", name.c_str(), numbers[0], numbers[1], numbers[2], numbers[3]);
        fflush(stdout);
        FILE *file = fopen((directory + "/" + name + ".bin").c_str(), "w");
        fwrite(pixels.data(), 1, pixels.size(), file);
        fclose(file);
    }
    std::chrono::duration<double> seconds = Clock::now() - start;
    std::sort(each.begin(), each.end());
    double median = each.empty() ? 0 : each[each.size() / 2];
    fprintf(stderr, "%ld images in %.6f s, median %.6f s\n", count, seconds.count(), median);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    bool is_requester = strcmp(argv[1], "request") == 0, keeps = false;
    long count = -1;
    std::string lie, directory;
    std::vector<std::string> names;
    for (int i = 3; i < argc; i++) {
        std::string word = argv[i];
        if (word == "-n") count = atol(argv[++i]);
        else if (word == "-o") directory = argv[++i];
        else if (word == "-k") keeps = true;
        else if (word == "-b") blocks = true;
        else if (word == "--lie") lie = argv[++i];
        else names.push_back(word);
    }
    struct sigaction action = {};
    action.sa_handler = [](int) { is_over = 1; };
    sigaction(SIGTERM, &action, nullptr);
    Channel channel(argv[2], is_requester);
    fprintf(stderr, "ready\n");
    if (!is_requester) return provide(channel, count, lie, keeps);
    return request(channel, names, count < 0 ? long(names.size()) : count, lie, directory);
}
