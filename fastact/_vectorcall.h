/* Calls without an argument tuple or dict (PEP 590), which Cython does not generate for the classes and methods here. */
#ifndef FASTACT_VECTORCALL_H
#define FASTACT_VECTORCALL_H

#include <Python.h>

/* Make the type of `object` call the function that the object holds at `place`. */
static inline void fastact_enable_vectorcall(PyObject *object, const void *place) {
    PyTypeObject *type = Py_TYPE(object);
    type->tp_vectorcall_offset = (const char *) place - (const char *) object;
    type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
}

/* Replace a method by a function with the signature of METH_FASTCALL | METH_KEYWORDS. */
static inline int fastact_replace_method(PyTypeObject *type, const char *name, const char *doc, void *function) {
    PyMethodDef *method = PyMem_Calloc(1, sizeof *method);     /* never freed: it lives as long as the type */
    PyObject *descriptor;
    int failed;
    if (!method)
        return -1;
    method->ml_name = name;
    method->ml_doc = doc;
    method->ml_meth = (PyCFunction) function;
    method->ml_flags = METH_FASTCALL | METH_KEYWORDS;
    if (!(descriptor = PyDescr_NewMethod(type, method)))
        return -1;
    failed = PyDict_SetItemString(type->tp_dict, name, descriptor);
    Py_DECREF(descriptor);
    PyType_Modified(type);
    return failed;
}

#endif
