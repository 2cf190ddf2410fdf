/* threads.c: the thread pool, scratch memory, and how many threads there are to use.
 *
 * # Design:
 * (a) An own pool rather than OpenMP: it survives fork, answers Ctrl-C, and cuts the work at places that depend on
 *     the sizes alone.
 * (b) The pool belongs to one loop at a time. Whoever finds it taken, because the loop is nested or another thread
 *     was faster, runs all its tasks itself; by the contract of fastdl.h the bits are the same.
 * (c) All scratch memory is found before the first task runs, so a task cannot fail.
 * (d) Each thread has a range of tasks of its own, near each other in memory. The caller then takes what is left of the
 *     others' ranges, and calls off a worker that has not begun: on a busy machine nobody waits for a thread that the
 *     system has not woken yet.
 * (e) An idle worker spins for a moment, since the next loop of a layer is near, and then sleeps. While it spins, less
 *     work pays for it; where many loops would have been shared had it been awake, it is woken.
 * (f) Workers stay off the processor on which the caller runs. Linux likes to wake a thread beside its waker, and
 *     leaves the two of them on one processor for milliseconds, even though another is idle.
 * (g) Nothing exists before the first loop that needs it: an import starts no thread.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, pthread_setaffinity_np */
#endif
#include "fastdl.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include "win32.h"
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#endif

#include "processors.h"

enum { MAX_THREADS = 256, CACHE_LINE = 64, STACK_BYTES = 1 << 20 };

#define SPIN_NS 300000u       /* longer than Python takes from one loop of a training step to the next */
#define POLL_NS 50000000u     /* a quarter of the 200 ms in which Ctrl-C must be answered */
#define WORK_PER_THREAD 50000 /* vector operations, 15 us: what waking a sleeping worker costs */
#define WORK_IF_AWAKE 10000   /* 3 us: what calling one that spins does */
#define CALLS_TO_WAKE 32      /* loops that only a worker that spins would have shared, until a sleeping one is woken */

/* ---- scratch ------------------------------------------------------------------------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t arena_key;

static void set_up(void);

/* Scratch memory that one thread keeps from call to call. */
typedef struct {
    void *memory;
    size_t bytes;
    int busy; /* a loop of this thread is running on it */
} arena;

static int reserve(arena *a, size_t bytes) {
    if (bytes <= a->bytes) return 1;
    fd_free(a->memory);
    a->memory = fd_alloc(bytes);
    a->bytes = a->memory == NULL ? 0 : bytes;
    return a->memory != NULL;
}

static void free_arena(void *p) {
    fd_free(((arena *)p)->memory);
    free(p);
}

/* The calling thread's arena, freed when the thread ends; `spare` when an outer loop is using that. */
static arena *own_arena(arena *spare) {
    arena *own = pthread_getspecific(arena_key);
    if (own == NULL) {
        own = calloc(1, sizeof *own);
        if (own == NULL) return spare;
        if (pthread_setspecific(arena_key, own) != 0) {
            free(own);
            return spare;
        }
    }
    return own->busy ? spare : own;
}

/* ---- the pool ----------------------------------------------------------------------------------------------- */

typedef struct {
    fd_task fn;
    void *arg;
    int64_t tasks;
    int threads;
} loop;

typedef struct {
    _Alignas(2 * CACHE_LINE) pthread_mutex_t lock; /* two lines: they are fetched in pairs */
    pthread_cond_t wake;
    atomic_int state;  /* IDLE; CALLED, for the pool's loop; AT_WORK */
    atomic_llong next; /* the first task of its range that nobody has taken, */
    int64_t end;       /* and the range's end */
    arena scratch;
#ifdef __linux__
    pthread_t thread;
#endif
} worker;

enum { IDLE, CALLED, AT_WORK };

static worker workers[MAX_THREADS - 1]; /* worker i is thread i + 1 of a loop; thread 0 is the caller */

static struct {
    atomic_flag taken;
    int started; /* workers that exist; like all below, it belongs to whoever has set `taken` */
    int parted;  /* workers that may not run on the processor `apart` */
    int apart;
    loop loop;
    atomic_ullong spin_ns; /* how long who waits spins */
    pthread_mutex_t lock;
    pthread_cond_t done;
    atomic_int pending; /* workers that are called or at work */
    atomic_int awake;   /* workers that spin */
    atomic_int missed;  /* loops that more of those would have shared */
    atomic_int cancel;
    atomic_size_t most_scratch; /* of any loop so far. Which loop calls a worker first is a matter of time, and the */
                                /* later ones of a training step shall not ask the system for memory again */
} pool = {.taken = ATOMIC_FLAG_INIT};

static int (*check_interrupt)(void);
static unsigned forks; /* how often this process is a child of a process that had loaded fastdl */

void fd_set_interrupt_check(int (*check)(void)) { check_interrupt = check; }

/* Wall-clock time: C11 has no other, and a jump of it costs no more than one early or late poll. */
static uint64_t now_ns(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Ask the caller's check now and then. A signal handler that forks leaves the child without the workers' shares. */
static int interrupted(void) {
    static _Thread_local uint64_t last_poll;
    uint64_t now = now_ns();
    if (check_interrupt == NULL || now - last_poll < POLL_NS) return 0;
    last_poll = now;
    unsigned before = forks;
    return check_interrupt() != 0 || forks != before;
}

/* Spin, and let others pass: the thread one waits for may be queued behind this one on a busy machine. */
static void spin_until(atomic_int *value, int wanted, uint64_t ns) {
    for (uint64_t start = now_ns(); atomic_load(value) != wanted && now_ns() - start < ns;) sched_yield();
}

static _Thread_local int is_worker;
static _Thread_local int leads_to; /* the code of the loop that this thread leads */

int fd_stopped(void) {
    if (is_worker) return atomic_load(&pool.cancel);
    if (leads_to == FD_OK && interrupted()) leads_to = FD_INTERRUPTED;
    return leads_to != FD_OK;
}

static int64_t share_start(const loop *l, int thread) { return thread * l->tasks / l->threads; }

/* Take tasks of a worker's range, one by one, until there is none or the loop is to end. */
static void take_tasks(const loop *l, worker *w, void *scratch) {
    while (!fd_stopped()) {
        int64_t task = atomic_fetch_add(&w->next, 1);
        if (task >= w->end) return;
        l->fn(l->arg, task, scratch);
    }
}

/* Move a worker from one state to another, if it is in the first. */
static int move_on(worker *w, int from, int to) { return atomic_compare_exchange_strong(&w->state, &from, to); }

/* Run the tasks of a loop that called, and tell the caller when it was the last to finish. */
static void answer(worker *w) {
    take_tasks(&pool.loop, w, w->scratch.memory);
    atomic_store(&w->state, IDLE);
    if (atomic_fetch_sub(&pool.pending, 1) == 1) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
}

/* Whoever wakes spins as well, even where the call has been taken back: it came too late for that loop, and would for
 * every later one if it slept again. */
static void *work(void *p) {
    worker *w = p;
    is_worker = 1;
    for (;;) {
        atomic_fetch_add(&pool.awake, 1);
        spin_until(&w->state, CALLED, atomic_load(&pool.spin_ns));
        atomic_fetch_sub(&pool.awake, 1);
        if (move_on(w, CALLED, AT_WORK)) {
            answer(w);
        } else {
            pthread_mutex_lock(&w->lock);
            if (atomic_load(&w->state) != CALLED) pthread_cond_wait(&w->wake, &w->lock);
            pthread_mutex_unlock(&w->lock);
        }
    }
    return NULL;
}

#ifdef _WIN32

static DWORD WINAPI work_win32(void *w) {
    work(w);
    return 0;
}

static int start_thread(worker *w) {
    HANDLE thread = CreateThread(NULL, STACK_BYTES, work_win32, w, 0, NULL);
    if (thread != NULL) CloseHandle(thread);
    return thread != NULL;
}

#else

/* Workers take no signals: those are for the threads that the interpreter knows. */
static int start_thread(worker *w) {
    pthread_attr_t attributes;
    pthread_t id;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&id, &attributes, work, w);
#ifdef __linux__
    w->thread = id;
#endif
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

#endif

static int start_worker(worker *w) {
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    atomic_store(&w->state, IDLE);
    return start_thread(w);
}

/* The caller's share, with a look at the signals before each task. */
static int lead(const loop *l, void *scratch) {
    leads_to = FD_OK;
    for (int64_t task = 0; task < share_start(l, 1) && !fd_stopped(); task++) l->fn(l->arg, task, scratch);
    return leads_to;
}

/* Do what the workers have not begun, then wait until every one has finished, or has seen that it need not. */
static int await_workers(const loop *l, void *scratch) {
    for (int i = 0; i < l->threads - 1; i++) take_tasks(l, &workers[i], scratch);
    int code = leads_to;
    if (code != FD_OK) atomic_store(&pool.cancel, 1);
    for (int i = 0; i < l->threads - 1; i++)
        if (move_on(&workers[i], CALLED, IDLE)) atomic_fetch_sub(&pool.pending, 1);
    spin_until(&pool.pending, 0, atomic_load(&pool.spin_ns));
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.pending) > 0) {
        uint64_t until = now_ns() + POLL_NS;
        struct timespec deadline = {.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};
        pthread_cond_timedwait(&pool.done, &pool.lock, &deadline);
        pthread_mutex_unlock(&pool.lock);
        if (code == FD_OK && interrupted()) {
            code = FD_INTERRUPTED;
            atomic_store(&pool.cancel, 1);
        }
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return code;
}

#ifdef __linux__

/* Keep the workers of a loop off the caller's processor, if there are as many others as it takes. */
static void part(const loop *l) {
    int here = sched_getcpu(), n = l->threads - 1;
    cpu_set_t others;
    if (here < 0 || (here == pool.apart && n <= pool.parted)) return;
    if (sched_getaffinity(0, sizeof others, &others) != 0 || CPU_COUNT(&others) <= n) return;
    CPU_CLR((size_t)here, &others);
    pool.apart = here;
    for (pool.parted = 0; pool.parted < n; pool.parted++)
        if (pthread_setaffinity_np(workers[pool.parted].thread, sizeof others, &others) != 0) return;
}

#else

static void part(const loop *l) { (void)l; }

#endif

/* Run the loop on the pool, which the caller has taken. With fewer threads to be had the result is the same. */
static int run_on_pool(loop l, void *scratch, size_t bytes) {
    while (pool.started < l.threads - 1 && start_worker(&workers[pool.started])) pool.started++;
    if (l.threads > pool.started + 1) l.threads = pool.started + 1;
    part(&l);
    for (int i = 0; i < l.threads - 1; i++)
        if (!reserve(&workers[i].scratch, bytes)) return FD_NOMEM;

    pool.loop = l;
    /* more threads than processors: make room */
    atomic_store(&pool.spin_ns, l.threads <= fd_get_num_threads() ? SPIN_NS : 0);
    atomic_store(&pool.cancel, 0);
    atomic_store(&pool.pending, l.threads - 1);
    for (int i = 0; i < l.threads - 1; i++) {
        pthread_mutex_lock(&workers[i].lock);
        atomic_store(&workers[i].next, share_start(&l, i + 1));
        workers[i].end = share_start(&l, i + 2);
        atomic_store(&workers[i].state, CALLED);
        pthread_cond_signal(&workers[i].wake);
        pthread_mutex_unlock(&workers[i].lock);
    }
    lead(&l, scratch);
    return await_workers(&l, scratch);
}

static int most_threads(int threads);

int fd_parallel(fd_task fn, void *arg, int64_t tasks, size_t scratch, int threads) {
    pthread_once(&once, set_up);
    threads = most_threads(threads);
    loop l = {.fn = fn, .arg = arg, .tasks = tasks, .threads = tasks < threads ? (int)tasks : threads};
    arena spare = {0};
    arena *a = own_arena(&spare);
    if (!reserve(a, scratch)) return FD_NOMEM;
    if (tasks > 1 && scratch > atomic_load(&pool.most_scratch)) atomic_store(&pool.most_scratch, scratch);
    a->busy = 1;
    int code;
    if (l.threads > 1 && !atomic_flag_test_and_set(&pool.taken)) {
        code = run_on_pool(l, a->memory, atomic_load(&pool.most_scratch));
        atomic_flag_clear(&pool.taken);
    } else {
        l.threads = 1;
        code = lead(&l, a->memory);
    }
    a->busy = 0;
    fd_free(spare.memory);
    return code;
}

/* Only the thread that forked lives on in the child. A worker's arena may have been caught half changed: let it go. */
static void forget_workers(void) {
    forks++;
    for (int i = 0; i < pool.started; i++) {
        workers[i].scratch = (arena){0};
        atomic_store(&workers[i].state, IDLE);
    }
    pool.started = 0;
    pool.parted = 0;
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.done, NULL);
    atomic_store(&pool.pending, 0);
    atomic_store(&pool.awake, 0);
    atomic_flag_clear(&pool.taken);
}

static void set_up(void) {
    pthread_key_create(&arena_key, free_arena);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.done, NULL);
    pthread_atfork(NULL, NULL, forget_workers);
}

/* ---- how many threads --------------------------------------------------------------------------------------- */

#define FD_EXPORT __attribute__((visibility("default"))) /* threadpoolctl looks these two up by name */

static atomic_int limit; /* set by fd_set_num_threads; 0: none */

/* FASTDL_NUM_THREADS, or else what this process may use; counted once. */
static int automatic_threads(void) {
    static atomic_int counted;
    int n = atomic_load(&counted);
    if (n == 0) {
        const char *wish = getenv("FASTDL_NUM_THREADS");
        n = wish == NULL ? 0 : (int)strtol(wish, NULL, 10);
        if (n <= 0) n = processors();
        n = n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
        atomic_store(&counted, n);
    }
    return n;
}

FD_EXPORT int fd_get_num_threads(void) {
    int n = atomic_load(&limit);
    return n > 0 ? n : automatic_threads();
}

/* Setting the automatic number lifts the limit: that is how threadpoolctl restores what it found. */
FD_EXPORT void fd_set_num_threads(int threads) {
    atomic_store(&limit, threads <= 0 || threads == automatic_threads() ? 0 : threads);
}

/* The threads a call may have: those it asks for, under the limit if there is one. */
static int most_threads(int threads) {
    int most = atomic_load(&limit);
    if (threads <= 0) threads = fd_get_num_threads();
    if (most > 0 && threads > most) threads = most;
    return threads > MAX_THREADS ? MAX_THREADS : threads;
}

int fd_threads_for(int64_t work, int threads) {
    int most = most_threads(threads);
    int64_t paid = work / WORK_PER_THREAD, shared = work / WORK_IF_AWAKE, awake = 1 + atomic_load(&pool.awake);
    if (shared > most) shared = most;
    if (shared > paid && shared > awake && atomic_fetch_add(&pool.missed, 1) >= CALLS_TO_WAKE) {
        atomic_store(&pool.missed, 0);
        awake = shared;
    }
    if (awake > shared) awake = shared;
    if (awake > paid) paid = awake;
    return paid >= most ? most : paid > 1 ? (int)paid : 1;
}
