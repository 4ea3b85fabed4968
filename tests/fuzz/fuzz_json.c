/* Fuzz target of json/json: what is taken reads the same again once it is written, and the typed
 * readers keep their limits whatever the document is. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same_again(struct json_object *doc)
{
    struct json_object *again;
    struct json_syntax why;
    size_t n;
    const char *text = json_object_to_json_string_length(doc, JSON_C_TO_STRING_PLAIN, &n);

    must(json_read(&again, text, n, &why) == 0);
    must(json_object_equal(doc, again));
    json_object_put(again);
}

/* Read without a list, and the list's elements put in again. */
static void check_list(const struct json_object *doc, const char *text, size_t n)
{
    static const char *const path[] = {"routes", NULL};
    struct json_object *again, *array, *part;
    struct json_syntax why;
    struct json_list list;

    must(json_read_list(&again, &list, path, text, n, &why) == 0);
    array = json_object_is_type(again, json_type_array) ? again
                                                        : json_object_object_get(again, path[0]);
    must(!list.from ||
         (json_object_is_type(array, json_type_array) && json_object_array_length(array) == 0));
    for (size_t i = 0; i < list.count; i++) {
        must(json_list_read(&list, i, &part, &why) == 0);
        json_object_array_add(array, part);
    }
    must(json_object_equal((struct json_object *)(uintptr_t)doc, again));
    json_list_fini(&list);
    json_object_put(again);
}

/* Asks for every member as each type: at most one of the answers is without a fault. */
static void check_readers(struct json_object *doc)
{
    struct json_check c;
    static const char *const none[] = {NULL};

    json_check_init(&c);
    json_only(&c, "", doc, none);
    if (!json_object_is_type(doc, json_type_object)) {
        must(c.total == 1);
        json_check_fini(&c);
        return;
    }
    must(c.total == (size_t)json_object_object_length(doc));
    json_object_object_foreach(doc, key, value)
    {
        size_t before = c.total;
        (void)value;
        const char *s = json_str(&c, "", doc, key, JSON_REQUIRED, 1, 8);
        must(!s || (strlen(s) >= 1 && strlen(s) <= 8));
        int64_t n = json_int(&c, "", doc, key, JSON_REQUIRED, -3, 1000, 2000);
        must(n == 2000 || (n >= -3 && n <= 1000));
        json_flag(&c, "", doc, key, JSON_REQUIRED, false);
        struct json_object *a = json_array(&c, "", doc, key, JSON_REQUIRED, 1, 3);
        must(!a || json_object_array_length(a) <= 3);
        json_obj(&c, "", doc, key, JSON_REQUIRED);
        must(c.total - before == 4 || c.total - before == 5);
    }
    json_object_put(json_faults_emit(&c));
    json_check_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_object *doc;
    struct json_syntax why;

    int rc = json_read(&doc, (const char *)data, size, &why);
    if (rc != 0) {
        must(rc == -ERR_SYNTAX);
        must(why.offset <= size);
        must(memchr(why.reason, 0, sizeof(why.reason)) != NULL);
        must(memchr(why.pointer, 0, sizeof(why.pointer)) != NULL);
        return 0;
    }
    check_same_again(doc);
    check_list(doc, (const char *)data, size);
    check_readers(doc);
    json_object_put(doc);
    return 0;
}
