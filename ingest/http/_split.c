/* Splits a request whose head can be known: see known_heads.py, whose `plain_split` says the same in Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

typedef const unsigned char *Bytes;

/* What a line of a head is to a collector. */
typedef enum { NOTHING, SAYS, LENGTH, AGENT, FORWARDED, CONNECTION, PARSED } Meaning;

static const struct {
    const char *name;
    Meaning meaning;
} FIELDS[] = {
    {"authorization", SAYS},    {"content-type", SAYS},   {"host", SAYS},      {"origin", SAYS},
    {"sec-gpc", SAYS},          {"content-length", LENGTH}, {"user-agent", AGENT}, {"x-forwarded-for", FORWARDED},
    {"connection", CONNECTION}, {"content-encoding", PARSED}, {"expect", PARSED}, {"proxy-connection", PARSED},
    {"transfer-encoding", PARSED}, {"upgrade", PARSED},
};
enum { FIELDS_COUNT = sizeof FIELDS / sizeof FIELDS[0], LENGTH_DIGITS_MAX = 7 };

/* Of a byte: itself in lower case where it may stand in a name of a field, else 0. Source: RFC 9110, 5.6.2. */
static unsigned char token[256];

static int may_be_in_value(unsigned char byte) { return byte == '\t' || (byte >= ' ' && byte != 0x7F); }

static int is_name(Bytes at, Py_ssize_t size, const char *name)
{
    if (strlen(name) != (size_t)size)
        return 0;
    for (Py_ssize_t i = 0; i < size; i++)
        if (token[at[i]] != (unsigned char)name[i])
            return 0;
    return 1;
}

static Meaning meaning_of(Bytes at, Py_ssize_t size)
{
    for (int i = 0; i < FIELDS_COUNT; i++)
        if (is_name(at, size, FIELDS[i].name))
            return FIELDS[i].meaning;
    return NOTHING;
}

/* The end of `POST /path HTTP/1.1` at `at`; NULL where another line stands there. */
static Bytes request_line(Bytes at, Bytes end)
{
    static const char method[] = "POST ", version[] = " HTTP/1.1\r";
    const Py_ssize_t method_size = sizeof method - 1, version_size = sizeof version - 1;
    if (end - at < method_size || memcmp(at, method, method_size) != 0)
        return NULL;
    at += method_size;
    if (at == end || *at != '/')
        return NULL;
    while (at < end && *at > ' ' && *at < 0x7F)
        at++;
    if (end - at < version_size || memcmp(at, version, version_size) != 0)
        return NULL;
    return at + version_size - 1;
}

/* Puts the value of a field there, as `: value` has it; fails where there was one, or there is white space around it. */
static int put(PyObject **where, Bytes at, Bytes end)
{
    if (*where != NULL || end - at < 2 || *at != ' ' || at[1] <= ' ' || end[-1] <= ' ')
        return 0;
    *where = PyBytes_FromStringAndSize((const char *)at + 1, end - at - 1);
    return *where != NULL;
}

/* The value of a Content-Length as `: digits` has it; -1 for another. */
static Py_ssize_t length_in(Bytes at, Bytes end)
{
    if (end - at < 2 || *at++ != ' ' || end - at > LENGTH_DIGITS_MAX)
        return -1;
    Py_ssize_t length = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -1;
        length = length * 10 + (*at - '0');
    }
    return length;
}

PyDoc_STRVAR(split_doc, "split(data, head_bytes_max, /)\n--\n\n"
                        "Head, where the body begins, X-Forwarded-For and User-Agent; None for what has to be parsed.\n\n"
                        "See `plain_split`.");

static PyObject *split(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_Check(arguments[0]))
        return PyErr_Format(PyExc_TypeError, "split() takes bytes and a number");
    Py_ssize_t head_bytes_max = PyLong_AsSsize_t(arguments[1]);
    if (head_bytes_max == -1 && PyErr_Occurred())
        return NULL;
    const Bytes data = (Bytes)PyBytes_AS_STRING(arguments[0]);
    const Py_ssize_t size = PyBytes_GET_SIZE(arguments[0]);
    const Bytes end = data + (size < head_bytes_max ? size : head_bytes_max);

    Bytes at = request_line(data, end), body = NULL;
    if (at == NULL)
        Py_RETURN_NONE;
    PyObject *head = PyBytes_FromStringAndSize(NULL, end - data), *agent = NULL, *forwarded = NULL, *found = NULL;
    if (head == NULL)
        return NULL;
    char *written = PyBytes_AS_STRING(head);
    memcpy(written, data, at - data);
    written += at - data;
    Py_ssize_t length = -1;

    while (end - at >= 4 && at[0] == '\r' && at[1] == '\n') {
        const Bytes line = at;
        const Bytes name = at += 2;
        if (at[0] == '\r' && at[1] == '\n') {
            body = at + 2;
            break;
        }
        while (at < end && token[*at])
            at++;
        const Py_ssize_t name_size = at - name;
        if (at == end || *at != ':' || name_size == 0)
            break;
        const Bytes value = ++at;
        while (at < end && may_be_in_value(*at))
            at++;
        if (at == end || *at != '\r')
            break;
        const Meaning meaning = meaning_of(name, name_size);
        if (meaning == SAYS) {
            memcpy(written, line, at - line);
            written += at - line;
        } else if (meaning == LENGTH) {
            if (length >= 0 || (length = length_in(value, at)) < 0)
                break;
        } else if (meaning == AGENT || meaning == FORWARDED) {
            if (!put(meaning == AGENT ? &agent : &forwarded, value, at))
                break;
        } else if (meaning == CONNECTION) {
            if (at - value < 1 || *value != ' ' || !is_name(value + 1, at - value - 1, "keep-alive"))
                break;
        } else if (meaning == PARSED)
            break;
    }
    if (body != NULL && length >= 0 && size - (body - data) == length) {
        if (_PyBytes_Resize(&head, written - PyBytes_AS_STRING(head)) == 0)
            found = Py_BuildValue("OnOO", head, (Py_ssize_t)(body - data), forwarded ? forwarded : Py_None,
                                  agent ? agent : Py_None);
    } else if (!PyErr_Occurred())
        found = Py_NewRef(Py_None);
    Py_XDECREF(head);
    Py_XDECREF(agent);
    Py_XDECREF(forwarded);
    return found;
}

static int prepare(PyObject *module)
{
    for (const char *at = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"; *at; at++)
        token[(unsigned char)*at] = (unsigned char)*at;
    for (int letter = 'A'; letter <= 'Z'; letter++)
        token[letter] = (unsigned char)(letter - 'A' + 'a');
    return 0;
}

static PyMethodDef methods[] = {{"split", (PyCFunction)(void (*)(void))split, METH_FASTCALL, split_doc}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_split", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__split(void) { return PyModuleDef_Init(&definition); }
