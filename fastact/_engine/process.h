/* What the engine needs of the process and the processor: the floating-point environment, threads, forks, instruction
 * sets.  Every module with a parallel loop includes this file. */
#ifndef FASTACT_PROCESS_H
#define FASTACT_PROCESS_H

#include <stddef.h>
#include <stdlib.h>

/* ---- floating-point environment -------------------------------------------------------------------------------------
 * Kernels run in the default environment: round to nearest, subnormals kept, no traps.  Afterwards the caller's
 * environment is restored, flags included.  On x86-64 it is one control register; fesetenv would also reload the x87
 * unit, which costs more than a small call.
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

/* The nearest float in any rounding mode of the caller.  `volatile` keeps the conversion between the two calls: the
 * compiler ignores rounding modes, but moves no volatile access across a call. */
static inline float fastact_nearest_float(double number) {
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
#define fastact_seconds() omp_get_wtime()
#define fastact_processors_of_place(place) omp_get_place_num_procs(place)
#define fastact_processor_ids(place, ids) omp_get_place_proc_ids(place, ids)
#else
#define FASTACT_OPENMP 0
#define fastact_max_threads() 1
#define fastact_in_parallel() 0
#define fastact_thread_limit() 1
#define fastact_processors() 0
#define fastact_places() 0
#define fastact_seconds() 0.0
#define fastact_processors_of_place(place) 0
#define fastact_processor_ids(place, ids) ((void) (ids))
#endif

/* Cython's prange calls PyGILState_Check to find out whether it has a GIL to release.  Once a process has had a
 * subinterpreter, that function of Python 3.11 returns 1 in every thread. */
#if PY_VERSION_HEX < 0x030c0000
static inline int fastact_holds_lock(void) {
    PyThreadState *own = PyGILState_GetThisThreadState();
    return own && own == _PyThreadState_UncheckedGet();
}
#define PyGILState_Check fastact_holds_lock
#endif

/* process.c.  State of the process: it is linked into one module, _engine.runtime. */
int fastact_open_blocks(void);
void fastact_count_blocks(int change);
int fastact_is_serial_child(void);
int fastact_pays(double nanoseconds, double needed);
int fastact_processor(void);
void fastact_start_part(int callers);
void fastact_end_pass(void);
int fastact_survive_fork(void);
int fastact_supports(const char *set);
int fastact_prefetching_pays(void);
int fastact_wide_loads_wait(void);

#endif
