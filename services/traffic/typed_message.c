/* typed_message - see typed_message.h. */
#include "traffic/typed_message.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"

#define ROOM_FIRST 4096u

static const char *const part_keys[] = {
    [TYPED_METHOD] = "method",
    [TYPED_CORRELATION] = "correlation",
    [TYPED_RESPONSE] = "response",
    [TYPED_ERROR] = "error",
};

void typed_message_init(struct typed_message *m)
{
    *m = (struct typed_message){.part = TYPED_PART_COUNT};
}

void typed_message_clear(struct typed_message *m)
{
    if (m->text)
        tls_wipe(m->text, m->len);
    free(m->text);
    typed_message_init(m);
}

/* Not realloc(): it would leave what it moves from. */
static int set_room(struct typed_message *m, size_t room)
{
    char *text = malloc(room); /* not zeroed: of a large one only what is used costs memory */

    if (!text)
        return -ERR_NOMEM;
    if (m->text) {
        memcpy(text, m->text, m->len);
        tls_wipe(m->text, m->len);
        free(m->text);
    }
    m->text = text;
    m->room = room;
    return 0;
}

int typed_message_reserve(struct typed_message *m, size_t len)
{
    return len > m->room ? set_room(m, MAX(len, 2 * m->room)) : 0;
}

/* --- finding the parts ----------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum typed_part part_of(const char *key, size_t n)
{
    for (unsigned i = 0; i < TYPED_PART_COUNT; i++)
        if (n == strlen(part_keys[i]) && memcmp(key, part_keys[i], n) == 0)
            return (enum typed_part)i;
    return TYPED_PART_COUNT;
}

/* The value that began at `mark` ends in front of `end`. */
static void end_value(struct typed_message *m, size_t end)
{
    if (m->part != TYPED_PART_COUNT) {
        m->from[m->part] = m->mark;
        m->to[m->part] = end;
    }
    m->scan = TYPED_NEXT;
}

static void begin_value(struct typed_message *m, char c)
{
    m->mark = m->at;
    m->depth = c == '{' || c == '[' ? 1 : 0;
    m->is_string = c == '"';
    m->scan = m->is_string ? TYPED_IN_STRING : TYPED_IN_VALUE;
    if (c == '}' || c == ']' || c == ',' || c == ':')
        m->scan = TYPED_BROKEN;
}

/* Goes to the quote that ends the string, or to the end of what is there. */
static void skip_string(struct typed_message *m)
{
    while (m->at < m->len) {
        const char *from = m->text + m->at;
        size_t left = m->len - m->at;
        const char *quote, *backslash;

        if (m->is_escape) {
            m->is_escape = false;
            m->at++;
            continue;
        }
        backslash = memchr(from, '\\', left);
        quote = memchr(from, '"', backslash ? (size_t)(backslash - from) : left);
        if (quote) {
            m->at += (size_t)(quote - from);
            return;
        }
        m->at = backslash ? (size_t)(backslash - m->text) + 1 : m->len;
        m->is_escape = backslash != NULL;
    }
}

static void step_value(struct typed_message *m, char c)
{
    switch (c) {
    case '"':
        m->scan = m->depth > 0 ? TYPED_IN_STRING : TYPED_BROKEN;
        break;
    case '{':
    case '[':
        m->depth++;
        break;
    case '}':
    case ']':
        if (m->depth == 0) { /* the object's own: the value was a number or a word */
            end_value(m, m->at);
            m->scan = c == '}' ? TYPED_DONE : TYPED_BROKEN;
        } else if (--m->depth == 0) {
            end_value(m, m->at + 1);
        }
        break;
    case ',':
        if (m->depth == 0) {
            end_value(m, m->at);
            m->scan = TYPED_KEY;
        }
        break;
    default:
        break;
    }
}

/* Between values: only this byte, or blanks, may stand here. */
static void expect(struct typed_message *m, char c, char wanted, enum typed_scan next)
{
    if (c == wanted)
        m->scan = next;
    else if (!is_blank(c))
        m->scan = TYPED_BROKEN;
}

static void step(struct typed_message *m, char c)
{
    switch (m->scan) {
    case TYPED_BEGIN:
        expect(m, c, '{', TYPED_FIRST);
        break;
    case TYPED_FIRST:
        if (c == '}') {
            m->scan = TYPED_DONE;
            break;
        }
        expect(m, c, '"', TYPED_IN_KEY);
        m->mark = m->at + 1;
        break;
    case TYPED_KEY:
        expect(m, c, '"', TYPED_IN_KEY);
        m->mark = m->at + 1;
        break;
    case TYPED_IN_KEY: /* at its quote */
        m->part = part_of(m->text + m->mark, m->at - m->mark);
        m->scan = TYPED_COLON;
        break;
    case TYPED_COLON:
        expect(m, c, ':', TYPED_VALUE);
        break;
    case TYPED_VALUE:
        if (!is_blank(c))
            begin_value(m, c);
        break;
    case TYPED_IN_VALUE:
        step_value(m, c);
        break;
    case TYPED_IN_STRING: /* at its quote */
        m->scan = TYPED_IN_VALUE;
        if (m->is_string && m->depth == 0)
            end_value(m, m->at + 1);
        break;
    case TYPED_NEXT:
        if (c == '}')
            m->scan = TYPED_DONE;
        else
            expect(m, c, ',', TYPED_KEY);
        break;
    case TYPED_DONE:
        if (!is_blank(c))
            m->scan = TYPED_BROKEN;
        break;
    case TYPED_BROKEN:
        break;
    }
}

int typed_message_push(struct typed_message *m, const void *bytes, size_t n)
{
    if (typed_message_reserve(m, MAX(m->len + n, ROOM_FIRST)) != 0)
        return -ERR_NOMEM;
    memcpy(m->text + m->len, bytes, n);
    m->len += n;
    while (m->at < m->len) {
        if (m->scan == TYPED_IN_STRING || m->scan == TYPED_IN_KEY)
            skip_string(m);
        if (m->at == m->len)
            break;
        step(m, m->text[m->at]);
        m->at++;
    }
    return 0;
}

bool typed_message_is_object(const struct typed_message *m)
{
    return m->scan == TYPED_DONE;
}

const char *typed_message_part(const struct typed_message *m, enum typed_part part, size_t *n)
{
    *n = m->to[part] - m->from[part];
    return *n > 0 ? m->text + m->from[part] : NULL;
}

char *typed_message_take(struct typed_message *m, size_t *n)
{
    char *text = m->text;

    *n = m->len;
    typed_message_init(m);
    return text;
}
