/* State of the process that the engine keeps, and what it asks of the processor. */
#include <Python.h>
#include "process.h"
#include <string.h>

/* Open blocks `with fastact.threads(n)` in the whole process.  While there are none, no call looks for one. */
static int fastact_blocks = 0;
int fastact_open_blocks(void) { return __atomic_load_n(&fastact_blocks, __ATOMIC_RELAXED); }
void fastact_count_blocks(int change) { __atomic_fetch_add(&fastact_blocks, change, __ATOMIC_SEQ_CST); }

/* Whether the work of this thread is worth waking the others: that of this call, and of the calls before it that followed
 * one another so closely that the others would still spin.  The end of a call on one thread is estimated, of a long one
 * as early; that of a parallel pass is known, since the first one waits until the others are awake. */
#define FASTACT_SPINNING 25e-6
static __thread double fastact_end = 0, fastact_together = 0;
int fastact_pays(double nanoseconds, double needed) {
    double now = fastact_seconds();
    fastact_together = (now - fastact_end < FASTACT_SPINNING ? fastact_together : 0) + nanoseconds;
    fastact_end = now + (nanoseconds < 1e5 ? nanoseconds * 1e-9 : 1e-4);
    return fastact_together > needed;
}
void fastact_end_pass(void) { fastact_end = fastact_seconds(); }

/* The processor of the thread that starts a pass.  At the start of each part of the pass, another thread that runs on
 * that processor moves to another one: in a virtual machine the system may wake it there although others are idle, and
 * leave both there, where they take turns and spin.  A thread that has moved in the last tenth of a millisecond stays:
 * then all processors are busy. */
#if FASTACT_OPENMP && defined(__linux__)
#include <sched.h>
int fastact_processor(void) { return sched_getcpu(); }
void fastact_start_part(int callers) {
    static __thread double moved = 0;
    cpu_set_t allowed, others;
    if (omp_get_thread_num() == 0 || sched_getcpu() != callers || fastact_seconds() - moved < 1e-4) return;
    moved = fastact_seconds();
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    others = allowed;
    CPU_CLR(callers, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
int fastact_processor(void) { return -1; }
void fastact_start_part(int callers) { (void) callers; }
#endif

/* ---- fork -----------------------------------------------------------------------------------------------------------
 * GNU OpenMP's worker threads do not survive a fork, and the child would wait for them for ever.  Releasing the pool
 * before the fork (OpenMP 5.0; looked up at run time, since older libraries lack it) lets parent and child each start a
 * new one at their next parallel region.  The runtime of LLVM and Intel handles forks itself, and is left alone; if
 * KMP_INIT_AT_FORK disables that, as `import sklearn` does, no safe way is left, and the child stays serial.
 */
static int fastact_serial_child = 0;
int fastact_is_serial_child(void) { return fastact_serial_child; }

#if FASTACT_OPENMP && !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#include <strings.h>
typedef int (*fastact_pause)(int);
static fastact_pause fastact_pause_all = NULL;
static int fastact_runtime_of_llvm = 0, fastact_unhandled = 0;
static void fastact_before_fork(void) {
    if (fastact_pause_all && !omp_in_parallel()) fastact_pause_all(1 /* omp_pause_soft */);
    if (fastact_runtime_of_llvm) {
        const char *handled = getenv("KMP_INIT_AT_FORK");
        /* Other spellings of yes count as no: a child may be serial without need, but never hangs. */
        fastact_unhandled |= handled && strcasecmp(handled, "TRUE") && strcmp(handled, "1");
    }
}
static void fastact_in_child(void) { fastact_serial_child = fastact_unhandled; }
int fastact_survive_fork(void) {
    fastact_runtime_of_llvm = dlsym(RTLD_DEFAULT, "__kmpc_fork_call") != NULL;
    if (!fastact_runtime_of_llvm) *(void **)&fastact_pause_all = dlsym(RTLD_DEFAULT, "omp_pause_resource_all");
    return pthread_atfork(fastact_before_fork, NULL, fastact_in_child);
}
#else
int fastact_survive_fork(void) { return 0; }
#endif

/* ---- instruction sets ---------------------------------------------------------------------------------------------*/
#if defined(__clang__)
#define FASTACT_LEVELS (__clang_major__ >= 18)      /* older compilers do not know the names of levels */
#else
#define FASTACT_LEVELS (__GNUC__ >= 12)
#endif
#if defined(__x86_64__) && defined(__GNUC__) && FASTACT_LEVELS
#define fastact_supports_v2() __builtin_cpu_supports("x86-64-v2")
#define fastact_supports_v3() __builtin_cpu_supports("x86-64-v3")
#define fastact_supports_v4() __builtin_cpu_supports("x86-64-v4")
#elif defined(__x86_64__) && defined(__GNUC__)
#define fastact_supports_v2() __builtin_cpu_supports("sse4.2")
#define fastact_supports_v3() (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") \
    && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
#define fastact_supports_v4() (fastact_supports_v3() && __builtin_cpu_supports("avx512f") \
    && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") \
    && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
#else
#define fastact_supports_v2() 0
#define fastact_supports_v3() 0
#define fastact_supports_v4() 0
#endif

/* Whether a pass over memory is faster if the kernels prefetch the next part of an array.  It was on Intel's server
 * processors; on AMD's (Zen 4) it cost up to a third beyond the cache.  Others were not measured. */
int fastact_prefetching_pays(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_is("intel") != 0;
#else
    return 0;
#endif
}

/* Whether loads of 512 bits are slow: on AMD's Zen 4 one waits for an earlier store that it does not depend on, if the
 * low twelve bits of their addresses overlap; a load of 256 bits does not.  Zen 5 was not measured. */
int fastact_wide_loads_wait(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return fastact_supports_v4() && __builtin_cpu_is("amdfam19h");
#else
    return 0;
#endif
}

/* Whether this processor runs an instruction set of fastact/_sets.py. */
int fastact_supports(const char *set) {
    return !strcmp(set, "v2") ? fastact_supports_v2() != 0
         : !strcmp(set, "v3") ? fastact_supports_v3() != 0
         : !strcmp(set, "v4") ? fastact_supports_v4() != 0 : 0;
}
