/* A batch of signals in one pass, from JSON to the values of their records: see signal_values.py.

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

enum { SAMPLES_MAX = 1024, ID_MAX = 100, SESSION_MAX = 64, SITE_MAX = 128, EXACT_DIGITS = 15, DIGITS_MAX = 64 };
/* What goes before a record's arrays: seven numbers or lengths, of ten bytes at most, and four texts. */
enum { HEADER_BYTES = 5, TAG_MAX = 32, LONG_MAX_BYTES = 10 };
enum { FRONT_MAX = HEADER_BYTES + 7 * LONG_MAX_BYTES + ID_MAX + SITE_MAX + SESSION_MAX + TAG_MAX };

/* The record's arrays in its order; then what a key event calls the first of them. */
enum { ARRAYS = 6, SLOTS = 7, T_DOWN = 6 };
static const char *const NAMES[SLOTS] = {"t", "x", "y", "z", "force", "t_up", "t_down"};

static const double POWERS[EXACT_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

typedef struct {
    const char *at;
    Py_ssize_t size;
} Text;

/* What a batch's events share. */
typedef struct {
    PyObject *kinds, *make;
    int64_t ts_max, received_at, sent_at;
    Py_ssize_t samples_max, event_bytes_max;
    Text header, site, session;
    double numbers[SLOTS][SAMPLES_MAX];
} Batch;

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

/* An array of numbers. */
static const char *samples(const char *p, Py_ssize_t samples_max, double *numbers, Py_ssize_t *count)
{
    *count = 0;
    if (*p++ != '[')
        return NULL;
    for (;;) {
        if (*count == samples_max || (p = real(blank(p), &numbers[(*count)++])) == NULL)
            return NULL;
        p = blank(p);
        if (*p == ']')
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
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

/* Each of these writes, and returns where what it wrote ends. Source: Avro 1.12 specification, binary encoding. */

static char *put(char *at, const void *bytes, Py_ssize_t size)
{
    memcpy(at, bytes, (size_t)size);
    return at + size;
}

static char *put_long(char *at, int64_t number) /* of 0 or more */
{
    uint64_t left = (uint64_t)number << 1;
    for (; left > 0x7F; left >>= 7)
        *at++ = (char)(left | 0x80);
    *at++ = (char)left;
    return at;
}

static char *put_text(char *at, Text text) { return put(put_long(at, text.size), text.at, text.size); }

/* The value of a signal's record, a new reference; NULL where arrays lack, are too many, or have two lengths. */
static PyObject *value_of(const Batch *batch, PyObject *kind, Text id, int64_t ts, const Py_ssize_t *counts)
{
    long wanted = PyLong_AsLong(PyTuple_GET_ITEM(kind, 1)), there = 0;
    Py_ssize_t kept = PyLong_AsSsize_t(PyTuple_GET_ITEM(kind, 2)), count = 0;
    PyObject *tag = PyTuple_GET_ITEM(kind, 0), *value;
    char front[FRONT_MAX], length[LONG_MAX_BYTES], *at = front;
    for (int slot = 0; slot < SLOTS; slot++) {
        if (counts[slot] == 0)
            continue;
        if (count != 0 && counts[slot] != count)
            return NULL;
        count = counts[slot];
        there |= 1L << slot;
    }
    if (there != wanted || PyBytes_GET_SIZE(tag) > TAG_MAX)
        return NULL;
    if (count > kept)
        count = kept;
    at = put(at, batch->header.at, batch->header.size);
    at = put_text(at, id);
    at = put_text(at, batch->site);
    at = put_text(at, batch->session);
    at = put_text(at, (Text){PyBytes_AS_STRING(tag), PyBytes_GET_SIZE(tag)});
    at = put_long(put_long(put_long(at, ts), batch->received_at), batch->sent_at);
    Py_ssize_t of_length = put_long(length, count) - length, size = at - front + ARRAYS;
    for (long slots = wanted; slots != 0; slots &= slots - 1)
        size += of_length + count * (Py_ssize_t)sizeof(double);
    if ((value = PyBytes_FromStringAndSize(NULL, size)) == NULL)
        return NULL;
    at = put(PyBytes_AS_STRING(value), front, at - front);
    for (int array = 0; array < ARRAYS; array++) {
        int slot = array == 0 && wanted >> T_DOWN & 1 ? T_DOWN : array;
        if (wanted >> slot & 1)
            at = put(put(at, length, of_length), batch->numbers[slot], count * (Py_ssize_t)sizeof(double));
        *at++ = 0;
    }
    return value;
}

/* The event with that value, a new reference. */
static PyObject *made(const Batch *batch, Text id, int64_t ts, PyObject *value)
{
    PyObject *values[] = {PyUnicode_DecodeASCII(id.at, id.size, NULL), PyLong_FromLongLong(ts), value}, *event = NULL;
    if (values[0] && values[1])
        event = PyObject_Vectorcall(batch->make, values, 3, NULL);
    Py_XDECREF(values[0]);
    Py_XDECREF(values[1]);
    return event;
}

/* A signal, a new reference; NULL where it is none, or one that is out of the ordinary. */
static const char *signal_of(const char *p, Batch *batch, PyObject **event)
{
    PyObject *kind = NULL, *value;
    Py_ssize_t counts[SLOTS] = {0};
    Text id = {NULL, 0}, key, tag;
    int64_t ts = -1;
    *event = NULL;
    if (*p++ != '{')
        return NULL;
    for (;;) {
        if ((p = plain_text(blank(p), &key)) == NULL || *(p = blank(p)) != ':')
            return NULL;
        p = blank(p + 1);
        if (same(key, "id", 2) && id.at == NULL) {
            if ((p = plain_text(p, &id)) == NULL || id.size == 0 || id.size > ID_MAX)
                return NULL;
        }
        else if (same(key, "ts", 2) && ts < 0) {
            if ((p = natural(p, &ts)) == NULL || ts > batch->ts_max)
                return NULL;
        }
        else if (same(key, "type", 4) && kind == NULL) {
            if ((p = plain_text(p, &tag)) == NULL || (kind = kind_of(batch->kinds, tag)) == NULL)
                return NULL;
        }
        else {
            int slot = 0;
            while (slot < SLOTS && !same(key, NAMES[slot], (Py_ssize_t)strlen(NAMES[slot])))
                slot++;
            if (slot == SLOTS || counts[slot] != 0)
                return NULL;
            if ((p = samples(p, batch->samples_max, batch->numbers[slot], &counts[slot])) == NULL)
                return NULL;
        }
        p = blank(p);
        if (*p == '}')
            break;
        if (*p++ != ',')
            return NULL;
    }
    if (kind == NULL || id.at == NULL || ts < 0 || (value = value_of(batch, kind, id, ts, counts)) == NULL)
        return NULL;
    *event = made(batch, id, ts, value);
    Py_DECREF(value);
    return *event ? p + 1 : NULL;
}

/* The events of an array, each a signal or the text of an object, into a list of (index, event); the indexes of texts
   into another one. */
static const char *events_of(const char *p, Batch *batch, PyObject *events, PyObject *texts)
{
    if (*p++ != '[')
        return NULL;
    p = blank(p);
    if (*p == ']')
        return p + 1;
    for (;;) {
        PyObject *event, *entry;
        const char *start = p = blank(p);
        int is_text = (p = signal_of(start, batch, &event)) == NULL;
        if (is_text) {
            if (PyErr_Occurred() || (p = object(start)) == NULL)
                return NULL;
            event = PyBytes_FromStringAndSize(start, p - start);
        }
        if (event == NULL || (entry = Py_BuildValue("(nN)", PyList_GET_SIZE(events), event)) == NULL)
            return NULL;
        int failed = PyList_Append(events, entry) || (is_text && PyList_Append(texts, PyTuple_GET_ITEM(entry, 0)));
        Py_DECREF(entry);
        if (failed || p - start > batch->event_bytes_max)
            return NULL;
        p = blank(p);
        if (*p == ']')
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

PyDoc_STRVAR(read_doc,
             "read(body, kinds, make, header, site, received_at, ts_max, samples_max, event_bytes_max, /)\n--\n\n"
             "(session, events, indexes of texts, sent_at, text of the consent or None) of a batch; None where it\n"
             "is out of the ordinary. Of each event there is (index, signal), or the text of another one.\n\n"
             "Args:\n"
             "    kinds: (tag, bits of its arrays' numbers in `SLOTS`, how many of its samples are kept) of each.\n"
             "    make: called with id, ts and record value of a signal.\n"
             "    header: goes before each value.\n"
             "    site: in ASCII.\n"
             "    received_at: Unix milliseconds.");

static PyObject *read_body(PyObject *module, PyObject *args)
{
    PyObject *body, *consent = NULL, *result = NULL, *events = NULL, *texts = NULL;
    long long ts_max, received_at;
    Text key;
    Batch batch;
    batch.sent_at = -1;
    batch.session = (Text){NULL, 0};
    if (!PyArg_ParseTuple(args, "SO!Oy#y#LLnn:read", &body, &PyTuple_Type, &batch.kinds, &batch.make, &batch.header.at,
                          &batch.header.size, &batch.site.at, &batch.site.size, &received_at, &ts_max,
                          &batch.samples_max, &batch.event_bytes_max))
        return NULL;
    if (batch.header.size > HEADER_BYTES || batch.site.size > SITE_MAX || received_at < 0)
        Py_RETURN_NONE;
    batch.ts_max = ts_max;
    batch.received_at = received_at;
    if (batch.samples_max > SAMPLES_MAX)
        batch.samples_max = SAMPLES_MAX;
    const char *p = blank(PyBytes_AS_STRING(body));
    if (*p++ != '{')
        Py_RETURN_NONE;
    for (;;) {
        if ((p = plain_text(blank(p), &key)) == NULL || *(p = blank(p)) != ':')
            break;
        p = blank(p + 1);
        if (same(key, "session", 7) && batch.session.at == NULL) {
            if ((p = plain_text(p, &batch.session)) == NULL || batch.session.size == 0 ||
                batch.session.size > SESSION_MAX)
                break;
        }
        else if (same(key, "sent_at", 7) && batch.sent_at < 0) { /* not behind the events, which hold it */
            if ((p = natural(p, &batch.sent_at)) == NULL || batch.sent_at > batch.ts_max)
                break;
        }
        else if (same(key, "events", 6) && events == NULL && batch.session.at) {
            if ((events = PyList_New(0)) == NULL || (texts = PyList_New(0)) == NULL)
                break;
            if (batch.sent_at < 0)
                batch.sent_at = 0;
            if ((p = events_of(p, &batch, events, texts)) == NULL)
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
            if (events && p - PyBytes_AS_STRING(body) == PyBytes_GET_SIZE(body))
                result = Py_BuildValue("s#OOLO", batch.session.at, batch.session.size, events, texts,
                                       (long long)batch.sent_at, consent ? consent : Py_None);
            break;
        }
        if (*p++ != ',')
            break;
    }
    Py_XDECREF(events);
    Py_XDECREF(texts);
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
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_signal_values", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__signal_values(void) { return PyModuleDef_Init(&definition); }
