/* What the contests in C have in common. Each file has a `struct contest` of its own, which begins with a head. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct contest;

/* The same as `Head` in src/in_c.rs. */
struct head {
    void (*run)(struct contest *, size_t times);
    /* Writes by how many nanoseconds each of so many timers was late. NULL where no timer fires. */
    void (*late)(struct contest *, size_t times, int64_t *nanos);
    void (*free)(struct contest *);
    uint64_t random;
    /* Callbacks, or messages, to come. */
    size_t left;
};

/* What is read from the one is written to the other. */
struct link {
    int input;
    int output;
};

/* Deadlines of timers that are cancelled: up to so many microseconds ahead. */
static const uint64_t HORIZON = 100000000;
/* Timers that fire are spread over so many microseconds. */
static const uint64_t SPREAD = 100000;
enum { BUFFER = 2048 };

/* The same sequence as that of src/random.rs. */
static inline uint64_t below(struct head *head, uint64_t bound)
{
    head->random ^= head->random >> 12;
    head->random ^= head->random << 25;
    head->random ^= head->random >> 27;
    return ((unsigned __int128)(head->random * 0x2545F4914F6CDD1D) * bound) >> 64;
}

static inline int64_t monotonic_nanos(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Counts a message. Whether it was the last one. */
static inline int is_last(struct head *head)
{
    if (head->left > 1) {
        head->left--;
        return 0;
    }
    return 1;
}

/* Reads a message and writes it. Whether it was the last one. */
static inline int pass_on(struct head *head, int input, int output)
{
    char buffer[BUFFER];
    ssize_t length = read(input, buffer, sizeof buffer);
    if (length <= 0 || write(output, buffer, (size_t)length) != length)
        abort();
    return is_last(head);
}
