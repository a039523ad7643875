/* A compiled module of a framework: when it is loaded it does what the description wants of "framework.load". */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "standin.h"

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", 0, -1, 0, 0, 0, 0, 0};

__attribute__((constructor)) static void loaded(void)
{
    enter("framework.load");
}

PyMODINIT_FUNC PyInit__C(void)
{
    int code = enter("framework.init");
    if (code) {
        PyErr_Format(PyExc_RuntimeError, "CUDA error %d: the framework gives up", code);
        return NULL;
    }
    return PyModule_Create(&definition);
}
