/* The datums of a block as one block of ClickHouse's Native format: see native.py.

   Strict: it knows what our writers write, and gives up (None) at whatever else Avro allows or forbids, which the engine
   then judges. Nothing outside a datum is read, and a datum that ends too soon or goes on is not ordinary either.

   A first walk over the datums finds how long each column is, a second one writes them where they belong.

   Sources: Avro 1.12 specification, "Binary Encoding"; ClickHouse, src/Formats/NativeWriter.cpp. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers lie in another order than Avro's and Native's: do without this module"
#endif

typedef enum { FIXED, LONG, INT, DATE, UUID, STRING, DOUBLES, STRINGS, KINDS } Kind;

static const char *const NAMES[KINDS] = {"fixed", "long", "int", "date", "uuid", "string", "doubles", "strings"};

/* Bytes of a value in a column, where all take as many; of an array its end among the items. */
static const size_t WIDTHS[KINDS] = {0, 8, 4, 2, 16, 0, 8, 8};

enum { UUID_TEXT = 36, AHEAD = 8 };

typedef struct {
    const uint8_t *at, *end;
} Datum;

/* A column while it is measured, and while it is written. */
typedef struct {
    const char *head;   /* its name and type, each with its length before it */
    size_t head_bytes;
    size_t bytes;       /* of its values; of an array's, of their ends */
    size_t item_bytes;  /* of an array's items */
    uint64_t items;
    uint8_t *values_to, *items_to;  /* NULL while it is measured */
    int is_read;                    /* by a field; else every row has the default */
} Column;

typedef struct {
    Kind kind;
    size_t fixed_bytes;
    Column *column;  /* one without a place where the table has none for it */
} Field;

static uint8_t *put_varint(uint8_t *to, uint64_t number)
{
    for (; number > 0x7F; number >>= 7)
        *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

static size_t varint_bytes(uint64_t number)
{
    size_t bytes = 1;
    for (; number > 0x7F; number >>= 7)
        bytes++;
    return bytes;
}

/* Each of these returns where a value ends; NULL where it is out of the ordinary. */

static inline const uint8_t *number(const uint8_t *p, const uint8_t *end, int64_t *value)
{
    uint64_t zigzag = 0;
    if (p < end && *p < 0x80) { /* most are lengths of one byte */
        *value = (*p >> 1) ^ -(*p & 1);
        return p + 1;
    }
    for (int shift = 0; shift < 64 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return NULL;
        zigzag |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
            return p;
        }
    }
    return NULL;
}

/* A length or count, whose every unit takes so many bytes of what is left. */
static const uint8_t *count_of(const uint8_t *p, const uint8_t *end, size_t unit_bytes, size_t *count)
{
    int64_t value;
    p = number(p, end, &value);
    if (p == NULL || value < 0 || (uint64_t)value > (uint64_t)(end - p) / unit_bytes)
        return NULL;
    *count = (size_t)value;
    return p;
}

static const uint8_t *string(const uint8_t *p, const uint8_t *end, uint8_t **to, size_t *bytes)
{
    size_t size;
    p = count_of(p, end, 1, &size);
    if (p == NULL)
        return NULL;
    uint8_t *at = *to;
    if (at) {
        at = put_varint(at, size);
        memcpy(at, p, size);
        *to = at + size;
    }
    else
        *bytes += varint_bytes(size) + size;
    return p + size;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A UUID's text as two numbers, the one of its first half first. */
static const uint8_t *uuid(const uint8_t *p, const uint8_t *end, uint8_t *to)
{
    size_t size;
    uint64_t halves[2] = {0, 0};
    int digits = 0;
    p = count_of(p, end, 1, &size);
    if (p == NULL || size != UUID_TEXT)
        return NULL;
    for (int i = 0; i < UUID_TEXT; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (p[i] != '-')
                return NULL;
            continue;
        }
        int value = hex_digit(p[i]);
        if (value < 0)
            return NULL;
        halves[digits / 16] = halves[digits / 16] << 4 | (uint64_t)value;
        digits++;
    }
    if (to)
        memcpy(to, halves, sizeof(halves));
    return p + UUID_TEXT;
}

/* An array's items, block by block, and how many they are. */
static const uint8_t *items(Kind kind, const uint8_t *p, const uint8_t *end, Column *column, uint8_t **to)
{
    size_t count;
    for (;;) {
        p = count_of(p, end, kind == DOUBLES ? sizeof(double) : 1, &count);
        if (p == NULL || count == 0)
            return p;
        column->items += count;
        if (kind == DOUBLES) {
            size_t bytes = count * sizeof(double);
            if (*to) {
                memcpy(*to, p, bytes);
                *to += bytes;
            }
            else
                column->item_bytes += bytes;
            p += bytes;
        }
        else
            while (count-- && p)
                p = string(p, end, to, &column->item_bytes);
        if (p == NULL)
            return NULL;
    }
}

/* A value of a field; written where its column has a place. */
static inline const uint8_t *value_of(const Field *field, const uint8_t *p, const uint8_t *end)
{
    Column *column = field->column;
    uint8_t *to = column->values_to;
    int64_t value;
    switch (field->kind) {
    case FIXED:
        return (size_t)(end - p) < field->fixed_bytes ? NULL : p + field->fixed_bytes;
    case STRING:
        return string(p, end, &column->values_to, &column->bytes);
    case UUID:
        p = uuid(p, end, to);
        break;
    case DOUBLES:
    case STRINGS:
        p = items(field->kind, p, end, column, &column->items_to);
        value = (int64_t)column->items;
        break;
    default:
        p = number(p, end, &value);
        if (p && ((field->kind == INT && value != (int32_t)value) || (field->kind == DATE && value != (uint16_t)value)))
            return NULL;
    }
    if (p == NULL)
        return NULL;
    if (to) {
        if (field->kind != UUID)
            memcpy(to, &value, WIDTHS[field->kind]);
        column->values_to += WIDTHS[field->kind];
    }
    return p;
}

/* Whether each of the datums is an ordinary one, with nothing behind it. */
static int walk(const Datum *datums, Py_ssize_t rows, const Field *fields, Py_ssize_t field_count)
{
    for (Py_ssize_t row = 0; row < rows; row++) {
        const uint8_t *p = datums[row].at, *end = datums[row].end;
        if (row + AHEAD < rows)
            __builtin_prefetch(datums[row + AHEAD].at); /* they lie anywhere, and are looked at in turn */
        for (Py_ssize_t i = 0; i < field_count; i++)
            if ((p = value_of(&fields[i], p, end)) == NULL)
                return 0;
        if (p != end)
            return 0;
    }
    return 1;
}

/* What the arguments say; -1 with an exception where they say what cannot be. Behind the columns is one without a place. */
static int read_plan(PyObject *field_args, PyObject *column_args, Py_ssize_t rows, Field *fields, Column *columns)
{
    Py_ssize_t count = PyTuple_GET_SIZE(column_args);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t head_bytes, default_bytes;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(column_args, i), "y#n", &columns[i].head, &head_bytes, &default_bytes))
            return -1;
        columns[i].head_bytes = (size_t)head_bytes;
        columns[i].bytes = (size_t)rows * (size_t)default_bytes;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(field_args); i++) {
        int kind;
        Py_ssize_t column, fixed_bytes;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(field_args, i), "inn", &kind, &column, &fixed_bytes))
            return -1;
        if (kind < 0 || kind >= KINDS || column >= count || (kind == FIXED && column >= 0) || fixed_bytes < 0) {
            PyErr_SetString(PyExc_ValueError, "no such kind, or no such column");
            return -1;
        }
        Column *read = &columns[column < 0 ? count : column];
        if (column >= 0 && read->is_read) {
            PyErr_SetString(PyExc_ValueError, "two fields of one column");
            return -1;
        }
        read->is_read = 1;
        read->bytes = (size_t)rows * WIDTHS[kind];
        fields[i] = (Field){(Kind)kind, (size_t)fixed_bytes, read};
    }
    return 0;
}

/* Gives each column its place, and writes what comes before it. */
static void place(uint8_t *to, Py_ssize_t rows, Column *columns, Py_ssize_t count)
{
    to = put_varint(to, (uint64_t)count);
    to = put_varint(to, (uint64_t)rows);
    for (Column *column = columns; column < columns + count; column++) {
        memcpy(to, column->head, column->head_bytes);
        to += column->head_bytes;
        column->values_to = to;
        to += column->bytes;
        column->items_to = to;
        to += column->item_bytes;
        column->items = 0;
    }
}

/* The block, a new reference; None where a datum is out of the ordinary. */
static PyObject *made(const Datum *datums, Py_ssize_t rows, const Field *fields, Py_ssize_t field_count,
                      Column *columns, Py_ssize_t column_count)
{
    int ordinary;
    Py_BEGIN_ALLOW_THREADS
    ordinary = walk(datums, rows, fields, field_count);
    Py_END_ALLOW_THREADS
    if (!ordinary)
        Py_RETURN_NONE;
    size_t bytes = varint_bytes((uint64_t)column_count) + varint_bytes((uint64_t)rows);
    for (Py_ssize_t i = 0; i < column_count; i++)
        bytes += columns[i].head_bytes + columns[i].bytes + columns[i].item_bytes;
    PyObject *block = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (block == NULL)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(block);
    Py_BEGIN_ALLOW_THREADS
    place(to, rows, columns, column_count);
    for (Py_ssize_t i = 0; i < column_count; i++)
        if (!columns[i].is_read)
            memset(columns[i].values_to, 0, columns[i].bytes);
    walk(datums, rows, fields, field_count);
    Py_END_ALLOW_THREADS
    return block;
}

PyDoc_STRVAR(native_doc, "native(datums, fields, columns, /)\n--\n\n"
                         "The block as bytes; None where a datum is out of the ordinary.\n\n"
                         "Args:\n"
                         "    datums: bytes each.\n"
                         "    fields: (index in `KINDS`, number of its column or -1, bytes of a fixed) of each, in the\n"
                         "        order in which a datum has them; a fixed has no column.\n"
                         "    columns: (name and type as Native has them, bytes of the default of its type, all zero) of each.");

static PyObject *native(PyObject *module, PyObject *args)
{
    PyObject *given, *field_args, *column_args, *result = NULL;
    if (!PyArg_ParseTuple(args, "OO!O!:native", &given, &PyTuple_Type, &field_args, &PyTuple_Type, &column_args))
        return NULL;
    PyObject *kept = PySequence_Tuple(given); /* whatever becomes of a list while Python's lock is released */
    if (kept == NULL)
        return NULL;
    Py_ssize_t rows = PyTuple_GET_SIZE(kept), field_count = PyTuple_GET_SIZE(field_args);
    Py_ssize_t column_count = PyTuple_GET_SIZE(column_args);
    Datum *datums = PyMem_New(Datum, rows);
    Field *fields = PyMem_New(Field, field_count);
    Column *columns = PyMem_Calloc((size_t)column_count + 1, sizeof(Column));
    if (!datums || !fields || !columns) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t row = 0; row < rows; row++) {
        PyObject *datum = PyTuple_GET_ITEM(kept, row);
        if (!PyBytes_Check(datum)) {
            PyErr_SetString(PyExc_TypeError, "a datum is bytes");
            goto done;
        }
        datums[row].at = (const uint8_t *)PyBytes_AS_STRING(datum);
        datums[row].end = datums[row].at + PyBytes_GET_SIZE(datum);
    }
    if (read_plan(field_args, column_args, rows, fields, columns) == 0)
        result = made(datums, rows, fields, field_count, columns, column_count);
done:
    PyMem_Free(columns);
    PyMem_Free(fields);
    PyMem_Free(datums);
    Py_DECREF(kept);
    return result;
}

static PyMethodDef methods[] = {{"native", native, METH_VARARGS, native_doc}, {NULL, NULL, 0, NULL}};

static int exec_module(PyObject *module)
{
    PyObject *kinds = PyTuple_New(KINDS);
    for (int i = 0; kinds && i < KINDS; i++) {
        PyObject *name = PyUnicode_FromString(NAMES[i]);
        if (name == NULL)
            Py_CLEAR(kinds);
        else
            PyTuple_SET_ITEM(kinds, i, name);
    }
    int failed = PyModule_AddObjectRef(module, "KINDS", kinds);
    Py_XDECREF(kinds);
    return failed;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec_module}, {0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
