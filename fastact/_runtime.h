/* What the engine needs of the machine: the floating-point environment, the threads, the instruction sets, fork. */
#ifndef FASTACT_RUNTIME_H
#define FASTACT_RUNTIME_H

#include <stddef.h>
#include <stdlib.h>

/* ---- floating-point environment -------------------------------------------------------------------------------------
 * Kernels run in the default environment (round to nearest, subnormals kept, nothing trapped) whatever the caller set,
 * and leave the caller's as it was, flags included.  On x86-64 that is one control register; fesetenv would also reload
 * the x87 unit, which costs more than a small call.
 */
#if defined(__SSE2__)
#include <immintrin.h>
typedef unsigned int fastact_environment;
static inline fastact_environment fastact_enter(void) {
    fastact_environment callers = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return callers;
}
static inline void fastact_leave(fastact_environment callers) { _mm_setcsr(callers); }
#else
#include <fenv.h>
typedef fenv_t fastact_environment;
static inline fastact_environment fastact_enter(void) {
    fastact_environment callers;
    fegetenv(&callers);
    fesetenv(FE_DFL_ENV);
    return callers;
}
static inline void fastact_leave(fastact_environment callers) { fesetenv(&callers); }
#endif

/* Rounded between the two: the compiler knows nothing of rounding modes, and moves no volatile access across them. */
static float fastact_nearest_float(double number) {
    fastact_environment callers = fastact_enter();
    volatile double exact = number;
    volatile float nearest = (float) exact;
    fastact_leave(callers);
    return nearest;
}

/* ---- threads ------------------------------------------------------------------------------------------------------*/
#ifdef _OPENMP
#include <omp.h>
#define FASTACT_OPENMP 1
#define fastact_max_threads() omp_get_max_threads()
#define fastact_in_parallel() omp_in_parallel()
#define fastact_thread_limit() omp_get_thread_limit()
#define fastact_processors() omp_get_num_procs()
#define fastact_places() omp_get_num_places()
#define fastact_processors_of_place(place) omp_get_place_num_procs(place)
#define fastact_processor_ids(place, ids) omp_get_place_proc_ids(place, ids)
#else
#define FASTACT_OPENMP 0
#define fastact_max_threads() 1
#define fastact_in_parallel() 0
#define fastact_thread_limit() 1
#define fastact_processors() 0
#define fastact_places() 0
#define fastact_processors_of_place(place) 0
#define fastact_processor_ids(place, ids) ((void) (ids))
#endif

/* Cython's prange asks whether this thread holds the interpreter lock, to release it.  Once a process has had a
 * subinterpreter, PyGILState_Check of Python 3.11 says yes to everybody. */
#if PY_VERSION_HEX < 0x030c0000
static inline int fastact_holds_lock(void) {
    PyThreadState *own = PyGILState_GetThisThreadState();
    return own && own == _PyThreadState_UncheckedGet();
}
#define PyGILState_Check fastact_holds_lock
#endif

/* Blocks `with fastact.threads(n)` in the whole process: while there are none, nobody looks for one. */
static int fastact_blocks = 0;
static inline int fastact_open_blocks(void) { return __atomic_load_n(&fastact_blocks, __ATOMIC_RELAXED); }
static inline void fastact_count_blocks(int change) { __atomic_fetch_add(&fastact_blocks, change, __ATOMIC_SEQ_CST); }

/* ---- fork -----------------------------------------------------------------------------------------------------------
 * GNU OpenMP's worker threads do not survive a fork, and the child would wait for them for ever.  Giving the pool back
 * before the fork (OpenMP 5.0; looked up at run time, since older libraries lack it) lets parent and child each start a
 * new one at their next parallel region.  The runtime of LLVM and Intel looks after forks itself, and is left alone; if
 * KMP_INIT_AT_FORK forbids it to, as `import sklearn` does, nothing else can be relied on, and the child stays serial.
 */
static int fastact_serial_child = 0;
#if FASTACT_OPENMP && !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
typedef int (*fastact_pause)(int);
static fastact_pause fastact_pause_all = NULL;
static int fastact_runtime_of_llvm = 0, fastact_uncared = 0;
static void fastact_before_fork(void) {
    if (fastact_pause_all && !omp_in_parallel()) fastact_pause_all(1 /* omp_pause_soft */);
    if (fastact_runtime_of_llvm) {
        const char *care = getenv("KMP_INIT_AT_FORK");
        /* Other words for yes count as no: serial where it need not be, never a hang. */
        fastact_uncared |= care && strcasecmp(care, "TRUE") && strcmp(care, "1");
    }
}
static void fastact_in_child(void) { fastact_serial_child = fastact_uncared; }
static inline int fastact_survive_fork(void) {
    fastact_runtime_of_llvm = dlsym(RTLD_DEFAULT, "__kmpc_fork_call") != NULL;
    if (!fastact_runtime_of_llvm) *(void **)&fastact_pause_all = dlsym(RTLD_DEFAULT, "omp_pause_resource_all");
    return pthread_atfork(fastact_before_fork, NULL, fastact_in_child);
}
#else
static inline int fastact_survive_fork(void) { return 0; }
#endif

/* ---- instruction sets ---------------------------------------------------------------------------------------------*/
#if defined(__clang__)
#define FASTACT_LEVELS (__clang_major__ >= 18)      /* older compilers cannot ask for a whole level by its name */
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

#endif
