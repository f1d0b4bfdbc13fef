/* Memory of large results.
 *
 * The pages of fresh memory are made one by one when they are first written, which takes longer than to compute what is
 * written; and a large block that is freed goes back to the system, so that the next result pays again.  Here a block
 * that is given back is kept for the next result of about its size, up to a limit.  New blocks are of huge pages where
 * the system has them.
 *
 * NumPy is told by the array's memory handler (NEP 49), which is ours while the array is made and at no other time: the
 * arrays own their memory, and are resized and freed as all others are.
 *
 * No result waits for the lock: who finds it taken, by another thread or by a thread that a fork left behind, does
 * without the kept blocks.
 */
#ifndef FASTACT_BUFFERS_H
#define FASTACT_BUFFERS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define FASTACT_MAPPED 1
#endif

#define FASTACT_LARGE ((size_t) 1 << 20)            /* bytes of a result whose memory comes from here */
#define FASTACT_HUGE ((size_t) 1 << 21)             /* bytes of a huge page */
#define FASTACT_PAGE ((size_t) 1 << 16)             /* a multiple of the bytes of a page on every system */
/* Bytes before the numbers.  They begin half a page after a page: where a result lies just behind its argument in terms
 * of places within a page, the processor takes reading for reading what was written last, and waits. */
#define FASTACT_HEAD ((size_t) 2048 + 64)

typedef struct fastact_buffer {
    size_t capacity;                                /* bytes after the head */
    struct fastact_buffer *next;                    /* the one that was given back before */
} fastact_buffer;

static struct {
    PyThread_type_lock lock;
    fastact_buffer *kept;
    size_t bytes;                                   /* of all that are kept */
    size_t limit;
} fastact_buffers;

static int fastact_open_buffers(void) { return PyThread_acquire_lock(fastact_buffers.lock, NOWAIT_LOCK); }
static void fastact_close_buffers(void) { PyThread_release_lock(fastact_buffers.lock); }

/* For who has time */
static int fastact_wait_for_buffers(void) {
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

static void fastact_end_buffers(fastact_buffer *buffer) {
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

/* Takes what is beyond `limit` bytes out of those that are kept, the oldest first. */
static fastact_buffer *fastact_beyond(size_t limit) {
    fastact_buffer **place = &fastact_buffers.kept, *beyond;
    size_t bytes = 0;
    while (*place && bytes + (*place)->capacity <= limit) {
        bytes += (*place)->capacity;
        place = &(*place)->next;
    }
    beyond = *place;
    *place = NULL;
    fastact_buffers.bytes = bytes;
    return beyond;
}

/* Ends all that is kept, for somebody who finds no memory.  Returns whether there was any. */
static int fastact_give_up_buffers(void) {
    fastact_buffer *kept;
    int found;
    if (!fastact_buffers.bytes || !fastact_wait_for_buffers())
        return 0;
    kept = fastact_beyond(0);
    fastact_close_buffers();
    found = kept != NULL;
    fastact_end_buffers(kept);
    return found;
}

/* malloc, which goes without what is kept where that is the last resort */
static void *fastact_allocate(size_t size) {
    void *memory = malloc(size);
    return memory || !fastact_give_up_buffers() ? memory : malloc(size);
}

static void *fastact_take(void *context, size_t size) {
    fastact_buffer **place, **best = NULL, *buffer = NULL;
    (void) context;
    if (fastact_open_buffers()) {
        for (place = &fastact_buffers.kept; *place; place = &(*place)->next)
            if ((*place)->capacity >= size && (*place)->capacity - size <= size / 8 + FASTACT_PAGE
                    && (!best || (*place)->capacity < (*best)->capacity))
                best = place;
        if (best) {
            buffer = *best;
            *best = buffer->next;
            fastact_buffers.bytes -= buffer->capacity;
        }
        fastact_close_buffers();
    }
    if (!buffer && !(buffer = fastact_new_buffer(size)) && fastact_give_up_buffers())
        buffer = fastact_new_buffer(size);
    if (!buffer)
        return NULL;
    return (char *) buffer + FASTACT_HEAD;
}

static void fastact_give_back(void *context, void *numbers, size_t size) {
    fastact_buffer *buffer, *beyond;
    (void) context, (void) size;
    if (!numbers)
        return;
    beyond = buffer = (fastact_buffer *) ((char *) numbers - FASTACT_HEAD);
    buffer->next = NULL;
    if (buffer->capacity <= fastact_buffers.limit && fastact_open_buffers()) {
        buffer->next = fastact_buffers.kept;
        fastact_buffers.kept = buffer;
        beyond = fastact_beyond(fastact_buffers.limit);
        fastact_close_buffers();
    }
    fastact_end_buffers(beyond);
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

/* Before anything else of this page */
static int fastact_start_buffers(void) {
    fastact_buffers.lock = PyThread_allocate_lock();
    fastact_handler_capsule = PyCapsule_New(&fastact_handler, "mem_handler", NULL);
    return fastact_buffers.lock && fastact_handler_capsule ? 0 : -1;
}

/* Ends all but so many bytes of what is kept, and sets the limit.  Returns whether the lock was to be had. */
static int fastact_reduce_buffers(size_t bytes, size_t limit) {
    fastact_buffer *beyond;
    if (!fastact_wait_for_buffers())
        return 0;
    fastact_buffers.limit = limit;
    beyond = fastact_beyond(bytes);
    fastact_close_buffers();
    fastact_end_buffers(beyond);
    return 1;
}

static size_t fastact_buffer_limit(void) { return fastact_buffers.limit; }
static size_t fastact_buffer_bytes(void) { return fastact_buffers.bytes; }

/* np.empty_like of a plain array, by the shortest way there is */
static PyObject *fastact_empty_like(PyArrayObject *array) {
    PyObject *empty, *callers = NULL;
    int large = fastact_buffers.limit && (size_t) PyArray_NBYTES(array) >= FASTACT_LARGE;
    if (large && !(callers = PyDataMem_SetHandler(fastact_handler_capsule)))
        return NULL;
    for (;;) {
        Py_INCREF(PyArray_DESCR(array));
        empty = PyArray_NewFromDescr(&PyArray_Type, PyArray_DESCR(array), PyArray_NDIM(array), PyArray_DIMS(array),
                                     NULL, NULL, 0, NULL);
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

#endif
