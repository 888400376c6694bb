/* A wall clock that is off by what a shared file says, in nanoseconds; all other clocks are right.

   Preloaded into the processes that are to believe it; the file is that of WRONG_CLOCK, or of the
   last call of `wrong_clock`. Deadlines that were reckoned by that clock are taken back to the
   machine's, on which the kernel waits. It takes no lock and makes no system call: a process full
   of audio asks for the time all the while. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, EPOCH = 1000000000 }; /* no machine has been up since 2001 */

static const int64_t right;
static const volatile int64_t *off = &right;
static int (*machines_own)(clockid_t, struct timespec *);

/* Go by the file of that name from now on; -1 where that cannot be read, and nothing changes. */
int wrong_clock(const char *name) {
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    void *shared = mmap(NULL, sizeof *off, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (shared == MAP_FAILED) return -1;
    off = shared;
    return 0;
}

__attribute__((constructor)) static void take_the_clock(void) {
    machines_own = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *name = getenv("WRONG_CLOCK");
    if (name) wrong_clock(name);
}

static struct timespec moved(struct timespec time, int64_t by) {
    int64_t nanoseconds = time.tv_nsec + by % SECOND;
    int64_t carry = (nanoseconds >= SECOND) - (nanoseconds < 0);
    return (struct timespec){time.tv_sec + by / SECOND + carry, nanoseconds - carry * SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int refused = machines_own ? machines_own(clock, time)
                               : (int)syscall(SYS_clock_gettime, clock, time);
    if (refused) return -1;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) *time = moved(*time, *off);
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}

static clockid_t clock_of(const struct timespec *deadline) {
    return deadline->tv_sec > EPOCH ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

static struct timespec by_the_machine(const struct timespec *deadline) {
    return clock_of(deadline) == CLOCK_REALTIME ? moved(*deadline, -*off) : *deadline;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    struct timespec until = by_the_machine(deadline);
    return pthread_cond_clockwait(condition, mutex, clock_of(deadline), &until);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    struct timespec until = by_the_machine(deadline);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &until);
}
