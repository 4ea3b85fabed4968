/* pass_hash - hashes of passwords as crypt(5) writes them: which ones a route may have, made and
 * checked.  A check takes between a few and some hundred milliseconds: never on a loop.
 */
#ifndef TRAFFIC_PASS_HASH_H
#define TRAFFIC_PASS_HASH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must.h"

#define PASS_HASH_MAX 384 /* bytes */

/* yescrypt ($y$), bcrypt ($2b$, $2y$, $2a$; at most 2^15 rounds) and SHA-512 ($6$, at most 5
 * million rounds), and whole.  NULL: good; else why not. */
const char *pass_hash_fault(const char *hash);
/* Any thread; the memory that it takes is given back. */
bool pass_hash_is_right(const char *hash, const char *password);
/* A new hash with a fresh salt by "yescrypt", "bcrypt" or "sha512".  0; -ERR_NOT_FOUND: another
 * method; -ERR_SYS. */
MUST_USE int pass_hash_make(const char *method, const char *password, char *out, size_t size);

#endif
