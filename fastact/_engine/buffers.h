/* Memory of large results: see buffers.c, which holds its state and is linked into one module, _engine.runtime. */
#ifndef FASTACT_BUFFERS_H
#define FASTACT_BUFFERS_H

#include <Python.h>
#include <numpy/arrayobject.h>
#include <stddef.h>

int fastact_start_buffers(void);                            /* before any other function here */
int fastact_give_up_buffers(void);
void *fastact_allocate(size_t size);
PyObject *fastact_empty(PyArrayObject *array, const npy_intp *shape);
int fastact_reduce_buffers(size_t bytes, size_t limit);
size_t fastact_buffer_limit(void);
size_t fastact_buffer_bytes(void);

#endif
