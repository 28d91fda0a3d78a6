/* The hash by which Kafka's clients choose a key's partition: see partitioner.py. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

static const uint32_t SEED = 0x9747B28C, FACTOR = 0x5BD1E995;

static uint32_t hash_of(const unsigned char *at, Py_ssize_t size)
{
    uint32_t hashed = SEED ^ (uint32_t)size;
    for (; size >= 4; at += 4, size -= 4) {
        uint32_t word = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        word *= FACTOR;
        hashed = hashed * FACTOR ^ (word ^ word >> 24) * FACTOR;
    }
    if (size > 0) {
        for (Py_ssize_t i = 0; i < size; i++)
            hashed ^= (uint32_t)at[i] << 8 * i;
        hashed *= FACTOR;
    }
    hashed = (hashed ^ hashed >> 13) * FACTOR;
    return hashed ^ hashed >> 15;
}

PyDoc_STRVAR(murmur2_doc, "murmur2(key, /)\n--\n\nThe hash of some bytes, 32 bits.\n\n"
                          "Source: org.apache.kafka.common.utils.Utils.murmur2.");

static PyObject *murmur2(PyObject *module, PyObject *key)
{
    if (!PyBytes_Check(key))
        return PyErr_Format(PyExc_TypeError, "a key is bytes, not %.100s", Py_TYPE(key)->tp_name);
    return PyLong_FromUnsignedLong(hash_of((const unsigned char *)PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)));
}

static PyMethodDef methods[] = {{"murmur2", murmur2, METH_O, murmur2_doc}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_murmur2", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__murmur2(void) { return PyModuleDef_Init(&definition); }
