/* json_scan - is a text RFC 8259 JSON by the letter, and without a key twice in one object?
 *
 * json-c lets NaN, control characters in strings, half surrogate pairs, NUL in keys and numbers
 * beyond a double pass, and keeps the last of two equal keys.  So every text is scanned before it
 * is parsed.  Keys are compared after unescaping: "a" and "\u0061" are the same key.
 */
#ifndef JSON_JSON_SCAN_H
#define JSON_JSON_SCAN_H

#include "json/json.h"

#define JSON_NUMBER_MAX 64 /* bytes of one number */

/* Where the value begins and ends, without the white space around it; or -ERR_SYNTAX, *why filled.
 * `list` (may be NULL) has its path and is zeroed else: where that list is, and its elements. */
MUST_USE int json_scan(const char *text, size_t n, size_t *from, size_t *to, struct json_list *list,
                       struct json_syntax *why);
/* Where the run of characters ends that need no look of their own in a string: ASCII, no control
 * character, no quote, no backslash. */
const char *json_skip_plain(const char *p, const char *end);

#endif
