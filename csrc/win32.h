/* win32.h: the few POSIX thread functions of threads.c, in terms of Windows. There is no fork to prepare for. */
#ifndef FASTDL_WIN32_H
#define FASTDL_WIN32_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <malloc.h>
#include <stdint.h>
#include <time.h>

typedef SRWLOCK pthread_mutex_t;
typedef CONDITION_VARIABLE pthread_cond_t;
typedef INIT_ONCE pthread_once_t;
typedef DWORD pthread_key_t;

#define PTHREAD_MUTEX_INITIALIZER SRWLOCK_INIT
#define PTHREAD_ONCE_INIT INIT_ONCE_STATIC_INIT

#define pthread_mutex_init(m, attributes) InitializeSRWLock(m)
#define pthread_mutex_lock(m) AcquireSRWLockExclusive(m)
#define pthread_mutex_unlock(m) ReleaseSRWLockExclusive(m)
#define pthread_cond_init(c, attributes) InitializeConditionVariable(c)
#define pthread_cond_signal(c) WakeConditionVariable(c)
#define pthread_cond_wait(c, m) SleepConditionVariableSRW(c, m, INFINITE, 0)

static inline void pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *deadline) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    int64_t ms = (deadline->tv_sec - now.tv_sec) * 1000 + (deadline->tv_nsec - now.tv_nsec) / 1000000;
    SleepConditionVariableSRW(c, m, ms > 0 ? (DWORD)ms : 0, 0);
}

static BOOL CALLBACK fd_call_once(INIT_ONCE *once, void *fn, void **context) {
    (void)once, (void)context;
    ((void (*)(void))fn)();
    return TRUE;
}
#define pthread_once(once, fn) InitOnceExecuteOnce(once, fd_call_once, (void *)(fn), NULL)

/* Fiber-local slots have what thread-local ones lack: a function that runs when the thread ends. */
#define pthread_key_create(key, destroy) (*(key) = FlsAlloc(destroy))
#define pthread_getspecific(key) FlsGetValue(key)
#define pthread_setspecific(key, value) (!FlsSetValue(key, value))
#define sched_yield() SwitchToThread()
#define pthread_atfork(prepare, parent, child) ((void)(child))

#endif
