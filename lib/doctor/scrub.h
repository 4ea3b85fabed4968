/* scrub - takes secrets out of a text before it leaves the machine.
 *
 * Nothing that goes into a bundle is meant to hold one; this is for the day when something does.
 * What it knows: the values that it is told, and the shapes of secrets (a bearer token, a
 * connection token, a private key in PEM). */
#ifndef DOCTOR_SCRUB_H
#define DOCTOR_SCRUB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must.h"

#define SCRUB_SECRET_MIN 8u    /* shorter ones would blot out words */
#define SCRUB_MAX        4096u /* further ones: scrub_is_full() */

struct scrub {
    char **secrets; /* owned, wiped */
    size_t count;
    bool is_full;
};

void scrub_init(struct scrub *s);
void scrub_fini(struct scrub *s);
/* Copied; of several lines each is one.  Short ones are passed over. */
void scrub_add(struct scrub *s, const char *secret);
/* Every word of the file that could be one: 22 characters or more of base64, base64url, "." "~". */
void scrub_add_file(struct scrub *s, const char *path);
/* The files right in the folder, and in the folder `edges` in it. */
void scrub_add_folder(struct scrub *s, const char *path);
/* Overwrites them by '*', in place. */
void scrub_text(const struct scrub *s, char *text, size_t n);

#endif
