/* The records of one decompressed batch as rows: see row_reader.py.

   Strict: it gives up (None) at whatever a table's records do not have, which the reader of every record then judges.
   Source: KIP-98, "Message Format"; org.apache.kafka.common.record.DefaultRecord. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { HEADER_BYTES = 5 };

/* Each of these returns where what it reads ends; NULL where that is not before `end`. */

static const char *number(const char *p, const char *end, int64_t *value)
{
    uint64_t read = 0;
    for (int shift = 0; p < end && shift < 64; shift += 7) {
        uint64_t byte = (unsigned char)*p++;
        read |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(read >> 1) ^ -(int64_t)(read & 1);
            return p;
        }
    }
    return NULL;
}

/* Bytes with their length before them; a length of -1 stands for none. */
static const char *sized(const char *p, const char *end, const char **at, int64_t *size)
{
    if ((p = number(p, end, size)) == NULL || *size < -1 || *size > end - p)
        return NULL;
    *at = p;
    return *size > 0 ? p + *size : p;
}

/* What the records of a batch share, and what was made of them. */
typedef struct {
    PyObject *schemas, *make, *rows;
    PyObject *schema, *key; /* of the last row; the first is borrowed */
    char header[HEADER_BYTES];
    int64_t base, first;
    Py_ssize_t bytes;
} Batch;

/* Appends a row; whether it could. Another schema than the row's before it is nothing that it can do. */
static int add(Batch *batch, int64_t offset, const char *key, int64_t key_size, const char *value, int64_t value_size)
{
    PyObject *schema = batch->schema;
    if (schema == NULL || memcmp(value, batch->header, HEADER_BYTES) != 0) {
        PyObject *header = PyBytes_FromStringAndSize(value, HEADER_BYTES);
        if (header == NULL)
            return 0;
        schema = PyDict_GetItemWithError(batch->schemas, header);
        Py_DECREF(header);
        if (schema == NULL || (batch->schema != NULL && batch->schema != schema))
            return 0;
        batch->schema = schema;
        memcpy(batch->header, value, HEADER_BYTES);
    }
    if (key_size < 0)
        Py_CLEAR(batch->key);
    else if (batch->key == NULL || PyBytes_GET_SIZE(batch->key) != key_size ||
             memcmp(PyBytes_AS_STRING(batch->key), key, (size_t)key_size) != 0)
        Py_XSETREF(batch->key, PyBytes_FromStringAndSize(key, (Py_ssize_t)key_size));
    PyObject *key_made = key_size < 0 ? Py_None : batch->key, *row = NULL;
    PyObject *offset_made = PyLong_FromLongLong(offset);
    PyObject *value_made = PyBytes_FromStringAndSize(value, (Py_ssize_t)value_size);
    if (key_made && offset_made && value_made) {
        PyObject *values[] = {offset_made, schema, value_made, key_made, value_made};
        row = PyObject_Vectorcall(batch->make, values, 5, NULL);
    }
    Py_XDECREF(offset_made);
    Py_XDECREF(value_made);
    if (row == NULL)
        return 0;
    int failed = PyList_Append(batch->rows, row);
    Py_DECREF(row);
    batch->bytes += (Py_ssize_t)value_size;
    return !failed;
}

/* Reads one record: its length, attributes, steps of time and offset, key, value, and no headers. */
static const char *record(Batch *batch, const char *p, const char *end)
{
    const char *key, *value;
    int64_t length, time, offset, key_size, value_size, headers;
    if ((p = number(p, end, &length)) == NULL || length < 1 || length > end - p)
        return NULL;
    end = p + length;
    if (*p++ != 0) /* attributes: none are in use */
        return NULL;
    if ((p = number(p, end, &time)) == NULL || (p = number(p, end, &offset)) == NULL ||
        (p = sized(p, end, &key, &key_size)) == NULL || (p = sized(p, end, &value, &value_size)) == NULL ||
        (p = number(p, end, &headers)) == NULL || headers != 0 || p != end)
        return NULL;
    if (value_size < HEADER_BYTES || offset < 0 || offset > INT32_MAX)
        return NULL;
    if (batch->base + offset < batch->first)
        return p;
    return add(batch, batch->base + offset, key, key_size, value, value_size) ? p : NULL;
}

PyDoc_STRVAR(rows_doc, "rows(records, count, base, first, schemas, make, /)\n--\n\n"
                       "(rows, bytes of their values, their schema) of a batch; None where it is out of the ordinary.\n\n"
                       "Args:\n"
                       "    records: decompressed.\n"
                       "    base: the offset of the batch.\n"
                       "    first: records below this offset are left out.\n"
                       "    schemas: by the first bytes of a value.\n"
                       "    make: called with offset, schema, datum, key and value.");

static PyObject *rows(PyObject *module, PyObject *args)
{
    Py_buffer records;
    Py_ssize_t count;
    long long base, first;
    Batch batch = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*nLLO!O:rows", &records, &count, &base, &first, &PyDict_Type, &batch.schemas,
                          &batch.make))
        return NULL;
    const char *p = records.buf, *end = p + records.len;
    batch.base = base;
    batch.first = first;
    /* Offsets beyond 2**62 are nobody's; below them base and step add up. */
    if (base >= 0 && base < INT64_MAX / 2 && (batch.rows = PyList_New(0)) != NULL) {
        for (Py_ssize_t i = 0; i < count && p != NULL; i++)
            p = record(&batch, p, end);
        if (p == end && !PyErr_Occurred())
            result = Py_BuildValue("OnO", batch.rows, batch.bytes, batch.schema ? batch.schema : Py_None);
    }
    PyBuffer_Release(&records);
    Py_XDECREF(batch.rows);
    Py_XDECREF(batch.key);
    if (result || PyErr_Occurred())
        return result;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"rows", rows, METH_VARARGS, rows_doc}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_rows", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__rows(void) { return PyModuleDef_Init(&definition); }
