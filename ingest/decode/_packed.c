/* A batch of signals in one pass, its samples from JSON to the bytes of 64-bit floats: see packed.py.

   Strict: it knows the members of signals and no escapes, and gives up (None) at whatever else a signal may hold, which
   the decoder of every batch then judges. What is no signal stays text. A body is a `bytes`, so a NUL follows it: every
   loop ends there, and none looks further ahead than the byte it has not yet passed. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "doubles are rounded in another way, or lie in another order than Avro's: do without this module"
#endif

enum { SAMPLES_MAX = 1024, ID_MAX = 100, SESSION_MAX = 64, SLOTS = 7, EXACT_DIGITS = 15, DIGITS_MAX = 64 };

static const char *const NAMES[SLOTS] = {"t", "x", "y", "z", "force", "t_down", "t_up"};

static const double POWERS[EXACT_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

typedef struct {
    const char *at;
    Py_ssize_t size;
} Text;

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '.' || c == ':' ||
           c == '-';
}

static int same(Text text, const char *other, Py_ssize_t size)
{
    return text.size == size && memcmp(text.at, other, (size_t)size) == 0;
}

static const char *blank(const char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
        p++;
    return p;
}

/* Each of these returns where a value ends; NULL where there is none such. */

static const char *plain_text(const char *p, Text *text)
{
    if (*p++ != '"')
        return NULL;
    text->at = p;
    while (is_plain(*p))
        p++;
    text->size = p - text->at;
    return *p == '"' ? p + 1 : NULL;
}

static const char *natural(const char *p, int64_t *number)
{
    const char *first = p;
    *number = 0;
    while (is_digit(*p) && p - first < 18)
        *number = *number * 10 + (*p++ - '0');
    return p == first || (*first == '0' && p - first > 1) || is_digit(*p) ? NULL : p;
}

static const char *real(const char *p, double *number)
{
    const char *start = p, *first = p + (*p == '-');
    uint64_t digits = 0;
    for (p = first; is_digit(*p); p++)
        digits = digits * 10 + (uint64_t)(*p - '0');
    Py_ssize_t whole = p - first, fraction = 0;
    if (whole == 0 || (*first == '0' && whole > 1))
        return NULL;
    if (*p == '.') {
        const char *point = ++p;
        while (is_digit(*p))
            digits = digits * 10 + (uint64_t)(*p++ - '0');
        fraction = p - point;
        if (fraction == 0)
            return NULL;
    }
    if (whole + fraction > DIGITS_MAX)
        return NULL;
    if (whole + fraction <= EXACT_DIGITS && *p != 'e' && *p != 'E') {
        /* Both are exact, so the one division rounds once: W. D. Clinger, "How to read floating point numbers
           accurately", 1990. */
        double value = (double)digits / POWERS[fraction];
        *number = first == start || (digits == 0 && fraction == 0) ? value : -value; /* -0 is the integer 0 */
        return p;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        const char *exponent = p;
        while (is_digit(*p))
            p++;
        if (p == exponent)
            return NULL;
    }
    char *end = NULL;
    *number = PyOS_string_to_double(start, &end, NULL);
    if (PyErr_Occurred())
        PyErr_Clear();
    return end == p && isfinite(*number) ? p : NULL;
}

/* An array of numbers; `*packed` becomes a new reference. */
static const char *samples(const char *p, Py_ssize_t samples_max, PyObject **packed)
{
    double numbers[SAMPLES_MAX];
    Py_ssize_t count = 0;
    if (*p++ != '[')
        return NULL;
    for (;;) {
        if (count == samples_max || (p = real(blank(p), &numbers[count++])) == NULL)
            return NULL;
        p = blank(p);
        if (*p == ']')
            break;
        if (*p++ != ',')
            return NULL;
    }
    *packed = PyBytes_FromStringAndSize((const char *)numbers, count * (Py_ssize_t)sizeof(double));
    return *packed ? p + 1 : NULL;
}

/* An object, whatever is inside it. */
static const char *object(const char *p)
{
    Py_ssize_t depth = 0;
    if (*p != '{')
        return NULL;
    for (;; p++) {
        if (*p == '{' || *p == '[')
            depth++;
        else if ((*p == '}' || *p == ']') && --depth == 0)
            return p + 1;
        else if (*p == '"') {
            while (*++p != '"') {
                if (*p == '\\')
                    p++;
                if (*p == '\0')
                    return NULL;
            }
        }
        else if (*p == '\0')
            return NULL;
    }
}

/* The kind of signal with that tag, a borrowed reference; NULL where no kind has it. */
static PyObject *kind_of(PyObject *kinds, Text tag)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kinds); i++) {
        PyObject *kind = PyTuple_GET_ITEM(kinds, i), *name = PyTuple_GET_ITEM(kind, 0);
        if (same(tag, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)))
            return kind;
    }
    return NULL;
}

/* The event of that kind, a new reference; NULL where it lacks something, has too much, or arrays of two lengths. */
static PyObject *made(PyObject *kind, Text id, int64_t ts, PyObject *const *arrays)
{
    PyObject *slots = PyTuple_GET_ITEM(kind, 2), *values[SLOTS + 2], *event = NULL;
    Py_ssize_t count = PyBytes_GET_SIZE(slots), there = 0;
    for (int i = 0; i < SLOTS; i++)
        there += arrays[i] != NULL;
    if (there != count)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        values[2 + i] = arrays[(unsigned char)PyBytes_AS_STRING(slots)[i]];
        if (values[2 + i] == NULL || PyBytes_GET_SIZE(values[2 + i]) != PyBytes_GET_SIZE(values[2]))
            return NULL;
    }
    values[0] = PyUnicode_DecodeASCII(id.at, id.size, NULL);
    values[1] = PyLong_FromLongLong(ts);
    if (values[0] && values[1])
        event = PyObject_Vectorcall(PyTuple_GET_ITEM(kind, 1), values, 0, PyTuple_GET_ITEM(kind, 3));
    Py_XDECREF(values[0]);
    Py_XDECREF(values[1]);
    return event;
}

/* A signal, a new reference; NULL where it is none, or one that is out of the ordinary. */
static const char *signal_of(const char *p, PyObject *kinds, int64_t ts_max, Py_ssize_t samples_max, PyObject **event)
{
    PyObject *arrays[SLOTS] = {NULL}, *kind = NULL;
    Text id = {NULL, 0}, key, tag;
    int64_t ts = -1;
    *event = NULL;
    if (*p++ != '{')
        return NULL;
    for (;;) {
        if ((p = plain_text(blank(p), &key)) == NULL || *(p = blank(p)) != ':')
            break;
        p = blank(p + 1);
        if (same(key, "id", 2) && id.at == NULL) {
            if ((p = plain_text(p, &id)) == NULL || id.size == 0 || id.size > ID_MAX)
                break;
        }
        else if (same(key, "ts", 2) && ts < 0) {
            if ((p = natural(p, &ts)) == NULL || ts > ts_max)
                break;
        }
        else if (same(key, "type", 4) && kind == NULL) {
            if ((p = plain_text(p, &tag)) == NULL || (kind = kind_of(kinds, tag)) == NULL)
                break;
        }
        else {
            int slot = 0;
            while (slot < SLOTS && !same(key, NAMES[slot], (Py_ssize_t)strlen(NAMES[slot])))
                slot++;
            if (slot == SLOTS || arrays[slot] || (p = samples(p, samples_max, &arrays[slot])) == NULL)
                break;
        }
        p = blank(p);
        if (*p == '}') {
            if (kind && id.at && ts >= 0)
                *event = made(kind, id, ts, arrays);
            break;
        }
        if (*p++ != ',')
            break;
    }
    for (int i = 0; i < SLOTS; i++)
        Py_XDECREF(arrays[i]);
    return *event ? p + 1 : NULL;
}

/* The events of an array, each a signal or the text of an object, into a list. */
static const char *events_of(const char *p, PyObject *kinds, int64_t ts_max, Py_ssize_t samples_max,
                             Py_ssize_t event_bytes_max, PyObject *events)
{
    if (*p++ != '[')
        return NULL;
    p = blank(p);
    if (*p == ']')
        return p + 1;
    for (;;) {
        PyObject *event;
        const char *start = p = blank(p);
        p = signal_of(start, kinds, ts_max, samples_max, &event);
        if (p == NULL) {
            if (PyErr_Occurred() || (p = object(start)) == NULL)
                return NULL;
            event = PyBytes_FromStringAndSize(start, p - start);
        }
        if (event == NULL)
            return NULL;
        int failed = PyList_Append(events, event);
        Py_DECREF(event);
        if (failed || p - start > event_bytes_max)
            return NULL;
        p = blank(p);
        if (*p == ']')
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

PyDoc_STRVAR(read_doc, "read(body, kinds, ts_max, samples_max, event_bytes_max, /)\n--\n\n"
                       "(session, events, sent_at, text of the consent or None) of a batch; None where it is out of\n"
                       "the ordinary. An event is a signal, or the text of another one.\n\n"
                       "Args:\n"
                       "    kinds: (tag, class, number in `SLOTS` of each array, names of its arguments) of each.");

static PyObject *read_body(PyObject *module, PyObject *args)
{
    PyObject *body, *kinds, *consent = NULL, *result = NULL, *events = NULL;
    long long ts_max;
    Py_ssize_t samples_max, event_bytes_max;
    int64_t sent_at = -1;
    Text session = {NULL, 0}, key;
    if (!PyArg_ParseTuple(args, "SO!Lnn:read", &body, &PyTuple_Type, &kinds, &ts_max, &samples_max, &event_bytes_max))
        return NULL;
    if (samples_max > SAMPLES_MAX)
        samples_max = SAMPLES_MAX;
    const char *p = blank(PyBytes_AS_STRING(body));
    if (*p++ != '{')
        Py_RETURN_NONE;
    for (;;) {
        if ((p = plain_text(blank(p), &key)) == NULL || *(p = blank(p)) != ':')
            break;
        p = blank(p + 1);
        if (same(key, "session", 7) && session.at == NULL) {
            if ((p = plain_text(p, &session)) == NULL || session.size == 0 || session.size > SESSION_MAX)
                break;
        }
        else if (same(key, "sent_at", 7) && sent_at < 0) {
            if ((p = natural(p, &sent_at)) == NULL || sent_at > ts_max)
                break;
        }
        else if (same(key, "events", 6) && events == NULL) {
            if ((events = PyList_New(0)) == NULL)
                break;
            if ((p = events_of(p, kinds, ts_max, samples_max, event_bytes_max, events)) == NULL)
                break;
        }
        else if (same(key, "consent", 7) && consent == NULL) {
            const char *start = p;
            if ((p = object(p)) == NULL || (consent = PyBytes_FromStringAndSize(start, p - start)) == NULL)
                break;
        }
        else
            break;
        p = blank(p);
        if (*p == '}') {
            p = blank(p + 1);
            if (session.at && events && p - PyBytes_AS_STRING(body) == PyBytes_GET_SIZE(body))
                result = Py_BuildValue("s#OLO", session.at, session.size, events, (long long)Py_MAX(sent_at, 0),
                                       consent ? consent : Py_None);
            break;
        }
        if (*p++ != ',')
            break;
    }
    Py_XDECREF(events);
    Py_XDECREF(consent);
    if (result || PyErr_Occurred())
        return result;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"read", read_body, METH_VARARGS, read_doc}, {NULL, NULL, 0, NULL}};

static int exec_module(PyObject *module)
{
    PyObject *slots = PyTuple_New(SLOTS);
    for (int i = 0; slots && i < SLOTS; i++) {
        PyObject *name = PyUnicode_FromString(NAMES[i]);
        if (name == NULL)
            Py_CLEAR(slots);
        else
            PyTuple_SET_ITEM(slots, i, name);
    }
    int failed = PyModule_AddObjectRef(module, "SLOTS", slots);
    Py_XDECREF(slots);
    return failed;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec_module}, {0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_packed", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__packed(void) { return PyModuleDef_Init(&definition); }
