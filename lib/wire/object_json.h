/* object_json - reading and writing the JSON objects of the wire: what hello, control and token
 * share.  Only for the *_json.c files of this folder. */
#ifndef WIRE_OBJECT_JSON_H
#define WIRE_OBJECT_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/control.h"
#include "wire/why.h"

struct json_check;
struct json_object;

/* The object that the bytes are, the caller's; or -ERR_PROTO. */
MUST_USE int object_read(struct json_object **out, const uint8_t *src, size_t n,
                         struct wire_why *why);
/* 0, or -ERR_PROTO with the first fault in *why; ends the check either way. */
MUST_USE int object_end_check(struct json_check *c, struct wire_why *why);

/* A text for people, required: cut to cap - 1 bytes between two characters, control characters
 * become blanks, so that no peer's wording can break a line. */
void object_read_text(struct json_check *c, const char *base, struct json_object *obj,
                      const char *key, char *out, size_t cap);
/* Seconds, cut to max; 0 when the key is absent and needs not be there. */
uint32_t object_read_secs(struct json_check *c, const char *base, struct json_object *obj,
                          const char *key, bool is_required, uint32_t max);
void object_read_ports(struct json_check *c, const char *base, struct json_object *obj,
                       const char *key, struct port_list *out);
/* Revision, ports, interval; *out is fit for wire_config_fini() in every case. */
void object_read_config(struct json_check *c, const char *base, struct json_object *obj,
                        struct wire_config *out);

struct json_object *object_new(void);
void object_add(struct json_object *obj, const char *key, struct json_object *value); /* takes it */
void object_add_str(struct json_object *obj, const char *key, const char *value);
void object_add_int(struct json_object *obj, const char *key, uint64_t value);
void object_add_ports(struct json_object *obj, const char *key, const struct port_list *l);
struct json_object *object_of_config(const struct wire_config *c);
/* As a text of the caller's, `end` behind it; puts the object. */
char *object_emit(struct json_object *obj, const char *end, size_t *len) MUST_USE;

/* Cuts s to n bytes at the most, and not inside of a UTF-8 sequence. */
void text_cut(char *s, size_t n);

#endif
