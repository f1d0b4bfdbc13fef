/* A cache of memory for large results.
 *
 * The page faults of fresh memory cost more than the arithmetic of an activation, and malloc returns large freed blocks
 * to the system, so every result pays for them again.  This cache keeps freed blocks, up to a limit, for results of
 * about the same size.  New blocks use huge pages where the system has them.
 *
 * NumPy allocates through the array's memory handler (NEP 49).  The handler of this file is installed only while a
 * large result is created.  The arrays own their memory, and are resized and freed like all others.
 *
 * Allocation never waits for the lock: if another thread holds it, or a thread that did not survive a fork, the
 * allocation bypasses the cache.
 */
#include <Python.h>
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL fastact_array_api
#include <numpy/arrayobject.h>
#include "buffers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define FASTACT_MAPPED 1
#endif

#define FASTACT_LARGE ((size_t) 1 << 20)            /* results of at least so many bytes use the cache */
#define FASTACT_HUGE ((size_t) 1 << 21)             /* bytes of a huge page */
#define FASTACT_PAGE ((size_t) 1 << 16)             /* a multiple of the page size of every system */
/* Bytes of the header before the data.  The data begin half a page after a page boundary, unlike those of NumPy: where
 * the output is only a few bytes after the input modulo the page size, loads falsely depend on earlier stores (4K
 * aliasing) and wait for them. */
#define FASTACT_HEAD ((size_t) 2048 + 64)

typedef struct fastact_buffer {
    size_t capacity;                                /* bytes after the header */
    struct fastact_buffer *next;                    /* the block that was freed before this one */
} fastact_buffer;

static struct {
    PyThread_type_lock lock;
    fastact_buffer *kept;
    size_t bytes;                                   /* capacity of all kept blocks */
    size_t limit;
} fastact_buffers;

static int fastact_try_lock_buffers(void) { return PyThread_acquire_lock(fastact_buffers.lock, NOWAIT_LOCK); }
static void fastact_unlock_buffers(void) { PyThread_release_lock(fastact_buffers.lock); }

/* Waits up to 1 s: for the explicit calls (clear, set the limit) and when memory is exhausted, never for an allocation.
 * */
static int fastact_lock_buffers(void) {
    return PyThread_acquire_lock_timed(fastact_buffers.lock, 1000000, 0) == PY_LOCK_ACQUIRED;
}

static fastact_buffer *fastact_new_buffer(size_t size) {
    fastact_buffer *buffer;
    size_t bytes = (size + FASTACT_HEAD + FASTACT_PAGE - 1) / FASTACT_PAGE * FASTACT_PAGE;
    if (bytes < size)
        return NULL;
#ifdef FASTACT_MAPPED
    {
        size_t spare = bytes > FASTACT_HUGE ? FASTACT_HUGE : 0, before;
        char *start = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (start == MAP_FAILED)
            return NULL;
        if (spare) {
            before = (FASTACT_HUGE - (uintptr_t) start % FASTACT_HUGE) % FASTACT_HUGE;
            if (before)
                munmap(start, before);
            if (spare - before)
                munmap(start + before + bytes, spare - before);
            start += before;
#ifdef MADV_HUGEPAGE
            madvise(start, bytes, MADV_HUGEPAGE);
#endif
        }
        buffer = (fastact_buffer *) start;
    }
#else
    if (!(buffer = malloc(bytes)))
        return NULL;
#endif
    buffer->capacity = bytes - FASTACT_HEAD;
    return buffer;
}

static void fastact_free_buffers(fastact_buffer *buffer) {
    fastact_buffer *next;
    for (; buffer; buffer = next) {
        next = buffer->next;
#ifdef FASTACT_MAPPED
        munmap(buffer, buffer->capacity + FASTACT_HEAD);
#else
        free(buffer);
#endif
    }
}

/* Removes the oldest blocks from the cache, so that at most `limit` bytes remain, and returns them as a list. */
static fastact_buffer *fastact_evict_buffers(size_t limit) {
    fastact_buffer **place = &fastact_buffers.kept, *evicted;
    size_t bytes = 0;
    while (*place && bytes + (*place)->capacity <= limit) {
        bytes += (*place)->capacity;
        place = &(*place)->next;
    }
    evicted = *place;
    *place = NULL;
    fastact_buffers.bytes = bytes;
    return evicted;
}

/* Frees the whole cache after an allocation has failed.  Returns whether there was anything to free. */
int fastact_give_up_buffers(void) {
    fastact_buffer *kept;
    int found;
    if (!fastact_buffers.bytes || !fastact_lock_buffers())
        return 0;
    kept = fastact_evict_buffers(0);
    fastact_unlock_buffers();
    found = kept != NULL;
    fastact_free_buffers(kept);
    return found;
}

/* malloc; if it fails, frees the cache and tries again */
void *fastact_allocate(size_t size) {
    void *memory = malloc(size);
    return memory || !fastact_give_up_buffers() ? memory : malloc(size);
}

static void *fastact_take(void *context, size_t size) {
    fastact_buffer **place, **best = NULL, *buffer = NULL;
    (void) context;
    if (fastact_try_lock_buffers()) {
        for (place = &fastact_buffers.kept; *place; place = &(*place)->next)
            if ((*place)->capacity >= size && (*place)->capacity - size <= size / 8 + FASTACT_PAGE
                    && (!best || (*place)->capacity < (*best)->capacity))
                best = place;
        if (best) {
            buffer = *best;
            *best = buffer->next;
            fastact_buffers.bytes -= buffer->capacity;
        }
        fastact_unlock_buffers();
    }
    if (!buffer && !(buffer = fastact_new_buffer(size)) && fastact_give_up_buffers())
        buffer = fastact_new_buffer(size);
    if (!buffer)
        return NULL;
    return (char *) buffer + FASTACT_HEAD;
}

static void fastact_give_back(void *context, void *numbers, size_t size) {
    fastact_buffer *buffer, *evicted;
    (void) context, (void) size;
    if (!numbers)
        return;
    evicted = buffer = (fastact_buffer *) ((char *) numbers - FASTACT_HEAD);
    buffer->next = NULL;
    if (buffer->capacity <= fastact_buffers.limit && fastact_try_lock_buffers()) {
        buffer->next = fastact_buffers.kept;
        fastact_buffers.kept = buffer;
        evicted = fastact_evict_buffers(fastact_buffers.limit);
        fastact_unlock_buffers();
    }
    fastact_free_buffers(evicted);
}

static void *fastact_take_zeros(void *context, size_t count, size_t size) {
    void *numbers = size && count > SIZE_MAX / size ? NULL : fastact_take(context, count * size);
    return numbers ? memset(numbers, 0, count * size) : NULL;
}

static void *fastact_resize(void *context, void *numbers, size_t size) {
    void *others = fastact_take(context, size);
    if (others && numbers) {
        size_t capacity = ((fastact_buffer *) ((char *) numbers - FASTACT_HEAD))->capacity;
        memcpy(others, numbers, capacity < size ? capacity : size);
        fastact_give_back(context, numbers, capacity);
    }
    return others;
}

static PyDataMem_Handler fastact_handler = {
    "fastact", 1, {NULL, fastact_take, fastact_take_zeros, fastact_resize, fastact_give_back}};
static PyObject *fastact_handler_capsule = NULL;

/* To be called before any other function of this file */
int fastact_start_buffers(void) {
    fastact_buffers.lock = PyThread_allocate_lock();
    fastact_handler_capsule = PyCapsule_New(&fastact_handler, "mem_handler", NULL);
    return fastact_buffers.lock && fastact_handler_capsule ? 0 : -1;
}

/* Shrinks the cache to at most `bytes` and sets the limit.  Returns whether the lock could be acquired. */
int fastact_reduce_buffers(size_t bytes, size_t limit) {
    fastact_buffer *evicted;
    if (!fastact_lock_buffers())
        return 0;
    fastact_buffers.limit = limit;
    evicted = fastact_evict_buffers(bytes);
    fastact_unlock_buffers();
    fastact_free_buffers(evicted);
    return 1;
}

size_t fastact_buffer_limit(void) { return fastact_buffers.limit; }
size_t fastact_buffer_bytes(void) { return fastact_buffers.bytes; }

/* An array of the dtype and the number of dimensions of a plain array, with the least overhead */
PyObject *fastact_empty(PyArrayObject *array, const npy_intp *shape) {
    PyObject *empty, *callers = NULL;
    npy_intp size = PyArray_MultiplyList(shape, PyArray_NDIM(array)) * PyArray_ITEMSIZE(array);
    int large = fastact_buffers.limit && (size_t) size >= FASTACT_LARGE;
    if (large && !(callers = PyDataMem_SetHandler(fastact_handler_capsule)))
        return NULL;
    for (;;) {
        Py_INCREF(PyArray_DESCR(array));
        empty = PyArray_NewFromDescr(&PyArray_Type, PyArray_DESCR(array), PyArray_NDIM(array), shape, NULL, NULL, 0,
                                     NULL);
        if (empty || !PyErr_ExceptionMatches(PyExc_MemoryError) || !fastact_give_up_buffers())
            break;
        PyErr_Clear();
    }
    if (large) {
        PyObject *ours = PyDataMem_SetHandler(callers);
        Py_DECREF(callers);
        if (!ours) {
            Py_XDECREF(empty);
            return NULL;
        }
        Py_DECREF(ours);
    }
    return empty;
}
