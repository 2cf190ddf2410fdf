/* memory.c: memory for arrays and for scratch, in blocks that are used again.
 *
 * # Design:
 * (a) A training step makes the same arrays as the step before. The system hands out a large block as pages that it
 *     first fills with zeros, which takes as long as a simple layer; so a block that is given back waits here for the
 *     next array of its size, and no step after the first asks the system for memory.
 * (b) A block has one of eight sizes for each power of two. At most an eighth of it is unused, and sizes that differ
 *     a little share blocks. The size stands in front of the block, in a cache line of its own.
 * (c) What waits is bounded by MOST_WAITING, and together with what is in use by twice what was once in use at the
 *     same time: with less, a network whose arrays are of many sizes exchanges blocks with the system in each step.
 *     The largest blocks go back first.
 * (d) Blocks begin on a cache line: a vector that straddles two lines is loaded twice.
 * (e) On Linux blocks lie in pages of 2 MB where the system has them. A processor finds 4 KB pages for less than half a
 *     megabyte at once, and in a virtual machine looks each other one up twice: a tenth of a training step. Blocks of
 *     all sizes share such pages, or a small network would take many times what it needs.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* madvise */
#endif
#include "fastdl.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include "win32.h"
#else
#include <pthread.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { LINE = 64, SMALLEST_LOG = 6, LARGEST_LOG = 47, SIZES = 8 * (LARGEST_LOG - SMALLEST_LOG) + 1 };

#define MOST_BYTES ((size_t)1 << LARGEST_LOG)
#define MOST_WAITING ((size_t)512 << 20)
#define HUGE_PAGE ((size_t)2 << 20)
#define REGION ((size_t)32 << 20)
#define REGION_LEAST ((size_t)16 << 10) /* smaller blocks are the C library's, */
#define REGION_MOST ((size_t)8 << 20)   /* and larger ones have pages of their own */
#define UNIT ((size_t)4 << 10)
#define UNITS ((int)(REGION / UNIT))

typedef struct block {
    struct block *next; /* of its size, while it waits */
    int size;           /* its place in `waiting` */
} block;

static struct {
    pthread_mutex_t lock;
    block *waiting[SIZES];
    size_t bytes_waiting, bytes_in_use, most_in_use;
    int64_t from_system; /* blocks, so far */
    long failing;        /* FASTDL_FAIL_ALLOC=n: the n-th allocation fails, for tests */
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void lock(void) { pthread_mutex_lock(&memory.lock); }

static void unlock(void) { pthread_mutex_unlock(&memory.lock); }

static void set_up(void) {
    const char *fail = getenv("FASTDL_FAIL_ALLOC");
    if (fail != NULL) memory.failing = strtol(fail, NULL, 10);
    pthread_atfork(lock, unlock, unlock);
}

/* The first size that holds so many bytes. */
static int size_for(size_t bytes) {
    if (bytes <= (size_t)1 << SMALLEST_LOG) return 0;
    int log = 63 - __builtin_clzll((unsigned long long)bytes - 1);
    return 8 * (log - SMALLEST_LOG) + (int)((bytes - 1) >> (log - 3)) - 7;
}

static size_t bytes_of(int size) {
    int log = SMALLEST_LOG + size / 8;
    return ((size_t)1 << log) + (size_t)(size % 8) * ((size_t)1 << (log - 3));
}

#ifdef MADV_HUGEPAGE

/* Pages of 2 MB, of which blocks take runs of units. */
typedef struct region {
    struct region *next;
    char *mapped, *start;
    int free;                  /* units */
    unsigned char used[UNITS]; /* a flag for each */
} region;

static region *regions;

static int units_of(size_t bytes) { return (int)((bytes + UNIT - 1) / UNIT); }

static int in_region(size_t bytes) { return bytes >= REGION_LEAST && bytes <= REGION_MOST; }

static region *new_region(void) {
    region *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->mapped = mmap(NULL, REGION + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->mapped == MAP_FAILED) {
        free(r);
        return NULL;
    }
    r->start = r->mapped + (HUGE_PAGE - (uintptr_t)r->mapped % HUGE_PAGE) % HUGE_PAGE;
    madvise(r->start, REGION, MADV_HUGEPAGE); /* it may be refused: the pages are small then */
    r->free = UNITS;
    r->next = regions;
    return regions = r;
}

/* The first so many free units in a row, or NULL. */
static void *take_run(region *r, int units) {
    if (r->free < units) return NULL;
    for (int past = 1, row = 0; past <= UNITS; past++) {
        row = r->used[past - 1] ? 0 : row + 1;
        if (row < units) continue;
        memset(r->used + past - units, 1, (size_t)units);
        r->free -= units;
        return r->start + (size_t)(past - units) * UNIT;
    }
    return NULL;
}

static void *from_region(size_t bytes) {
    void *p = NULL;
    for (region *r = regions; r != NULL && p == NULL; r = r->next) p = take_run(r, units_of(bytes));
    if (p != NULL) return p;
    region *r = new_region();
    return r == NULL ? NULL : take_run(r, units_of(bytes));
}

/* Pages of which nothing is used any more go back to the system, and so does a region. */
static void to_region(char *p, size_t bytes) {
    region **link = &regions, *r;
    while (r = *link, p < r->start || p >= r->start + REGION) link = &r->next;
    const int units = units_of(bytes), first = (int)((size_t)(p - r->start) / UNIT), page = (int)(HUGE_PAGE / UNIT);
    memset(r->used + first, 0, (size_t)units);
    r->free += units;
    if (r->free == UNITS) {
        *link = r->next;
        munmap(r->mapped, REGION + HUGE_PAGE);
        free(r);
        return;
    }
    for (int at = first / page * page; at < first + units; at += page)
        if (memchr(r->used + at, 1, (size_t)page) == NULL)
            madvise(r->start + (size_t)at * UNIT, HUGE_PAGE, MADV_DONTNEED);
}

#endif

static block *from_system(size_t bytes) {
    void *p = NULL;
    bytes += LINE;
#ifdef _WIN32
    p = _aligned_malloc(bytes, LINE);
#else
#ifdef MADV_HUGEPAGE
    if (in_region(bytes)) return from_region(bytes);
#endif
    if (posix_memalign(&p, bytes > REGION_MOST ? HUGE_PAGE : LINE, bytes) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes > REGION_MOST) madvise(p, bytes, MADV_HUGEPAGE);
#endif
#endif
    return p;
}

static void to_system(block *b) {
#ifdef MADV_HUGEPAGE
    const size_t bytes = LINE + bytes_of(b->size);
    if (in_region(bytes)) {
        to_region((char *)b, bytes);
        return;
    }
#endif
#ifdef _WIN32
    _aligned_free(b);
#else
    free(b);
#endif
}

/* Give waiting blocks back to the system, the largest first, until at most so many bytes wait. */
static void release(size_t most) {
    for (int size = SIZES - 1; memory.bytes_waiting > most; size--)
        while (memory.waiting[size] != NULL && memory.bytes_waiting > most) {
            block *b = memory.waiting[size];
            memory.waiting[size] = b->next;
            memory.bytes_waiting -= bytes_of(size);
            to_system(b);
        }
}

static block *take(int size) {
    block *b = memory.waiting[size];
    if (b != NULL) {
        memory.waiting[size] = b->next;
        memory.bytes_waiting -= bytes_of(size);
    }
    return b;
}

static block *find(int size) {
    block *b = take(size);
    if (b == NULL) {
        size_t bytes = bytes_of(size), in_use = memory.bytes_in_use + bytes;
        size_t most = 2 * memory.most_in_use;
        if (in_use + memory.bytes_waiting >
            most) /* rather than exchange blocks with the system, one up to twice as large */
            for (int larger = size + 1; b == NULL && larger <= size + 8 && larger < SIZES; larger++) b = take(larger);
        if (b == NULL) {
            release(most > in_use ? most - in_use : 0);
            b = from_system(bytes);
            if (b == NULL) {
                release(0);
                b = from_system(bytes);
            }
            if (b == NULL) return NULL;
            b->size = size;
            memory.from_system++;
        }
    }
    memory.bytes_in_use += bytes_of(b->size);
    if (memory.bytes_in_use > memory.most_in_use) memory.most_in_use = memory.bytes_in_use;
    return b;
}

void *fd_alloc(size_t bytes) {
    pthread_once(&once, set_up);
    if (bytes > MOST_BYTES) return NULL;
    int size = size_for(bytes);
    lock();
    block *b = memory.failing > 0 && memory.failing-- == 1 ? NULL : find(size);
    unlock();
    return b == NULL ? NULL : (char *)b + LINE;
}

void fd_free(void *p) {
    if (p == NULL) return;
    block *b = (block *)((char *)p - LINE);
    size_t bytes = bytes_of(b->size);
    lock();
    b->next = memory.waiting[b->size];
    memory.waiting[b->size] = b;
    memory.bytes_in_use -= bytes;
    memory.bytes_waiting += bytes;
    release(MOST_WAITING);
    unlock();
}

void *fd_realloc(void *p, size_t bytes) {
    void *larger = fd_alloc(bytes);
    if (p == NULL || larger == NULL) return larger;
    size_t before = bytes_of(((block *)((char *)p - LINE))->size);
    memcpy(larger, p, before < bytes ? before : bytes);
    fd_free(p);
    return larger;
}

void fd_memory(int64_t *blocks, int64_t *in_use, int64_t *waiting) {
    lock();
    *blocks = memory.from_system;
    *in_use = (int64_t)memory.bytes_in_use;
    *waiting = (int64_t)memory.bytes_waiting;
    unlock();
}
