/* database - see database.h. */
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "tls/tls.h"

#define APPLICATION_ID "1348824691" /* "Pens": what file(1) and we know our files by */
#define META_KIND      "meta"
#define CHECK_ID       "key"
#define CHECK_TEXT     "penstock"

/* One step a version of the schema: step n makes version n + 1 out of version n. */
static const char *const steps[] = {
    "CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, secret BLOB,"
    " PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;"
    "PRAGMA application_id = " APPLICATION_ID ";"
    "PRAGMA user_version = 1",
};

/* --- faults --- */

static int fail(char *why, size_t why_size, int err, const char *path, const char *what)
{
    snprintf(why, why_size, "%s: %s", path, what);
    return err;
}

/* What SQLite's code means to us.  A disk that is full shows as such only where SQLite looked. */
static int error_of(sqlite3 *db, int code)
{
    int system = db ? sqlite3_system_errno(db) : 0;

    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ERR_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return -ERR_DENIED;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_ERROR: /* no such table: somebody else's database */
        return -ERR_SYNTAX;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -ERR_CONFLICT;
    default:
        return system == ENOSPC || system == EDQUOT ? -ERR_FULL
               : system == EROFS                    ? -ERR_DENIED
                                                    : -ERR_IO;
    }
}

static int fail_sql(const struct database *d, int code, char *why, size_t why_size)
{
    return fail(why, why_size, error_of(d->db, code), d->path,
                d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(code));
}

static void close_db(struct database *d)
{
    sqlite3_close(d->db);
    d->db = NULL;
}

static int run(struct database *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL);
}

/* The single value of a query; NULL when there is none.  The caller's. */
static char *value_of(struct database *d, const char *sql)
{
    sqlite3_stmt *query = NULL;
    char *value = NULL;

    if (sqlite3_prepare_v2(d->db, sql, -1, &query, NULL) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW && sqlite3_column_text(query, 0))
        value = must_strdup((const char *)sqlite3_column_text(query, 0));
    sqlite3_finalize(query);
    return value;
}

/* --- secrets --- */

/* What a sealed secret is bound to: kind, NUL, id. */
static char *binding_of(const char *kind, const char *id, size_t *n)
{
    size_t kind_n = strlen(kind) + 1, id_n = strlen(id);
    char *out = must_alloc(kind_n + id_n);

    memcpy(out, kind, kind_n);
    memcpy(out + kind_n, id, id_n);
    *n = kind_n + id_n;
    return out;
}

static uint8_t *seal(const struct database *d, const struct store_change *c, size_t *n)
{
    size_t binding_n;
    char *binding = binding_of(c->kind, c->id, &binding_n);
    uint8_t *out = must_alloc(c->secret_len + TLS_SEAL_BYTES);

    tls_seal(d->key, binding, binding_n, c->secret, c->secret_len, out);
    *n = c->secret_len + TLS_SEAL_BYTES;
    free(binding);
    return out;
}

/* The caller's: wipe it.  NULL: another key, or not what was sealed. */
static uint8_t *unseal(const struct database *d, const char *kind, const char *id,
                       const void *sealed, size_t n, size_t *out_n)
{
    size_t binding_n;
    char *binding = binding_of(kind, id, &binding_n);
    uint8_t *out = must_alloc(n + 1);
    int err = tls_unseal(d->key, binding, binding_n, sealed, n, out);

    free(binding);
    *out_n = n - TLS_SEAL_BYTES;
    if (!err)
        return out;
    free(out);
    return NULL;
}

/* --- reading --- */

/* One row of a load; 0, -ERR_AUTH. */
static int read_row(const struct database *d, const char *kind, sqlite3_stmt *query,
                    void (*on_record)(void *arg, const struct store_record *record), void *arg)
{
    const void *sealed = sqlite3_column_blob(query, 2);
    size_t sealed_n = (size_t)sqlite3_column_bytes(query, 2);
    struct store_record record = {.id = (const char *)sqlite3_column_text(query, 0),
                                  .body = (const char *)sqlite3_column_text(query, 1)};
    uint8_t *secret = NULL;

    if (sealed) {
        secret = unseal(d, kind, record.id, sealed, sealed_n, &record.secret_len);
        if (!secret)
            return -ERR_AUTH;
        record.secret = secret;
    }
    on_record(arg, &record);
    if (secret)
        tls_wipe(secret, record.secret_len);
    free(secret);
    return 0;
}

int database_load(struct database *d, const char *kind,
                  void (*on_record)(void *arg, const struct store_record *record), void *arg,
                  char *why, size_t why_size)
{
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(
        d->db, "SELECT id, body, secret FROM record WHERE kind = ?1 ORDER BY id", -1, &query, NULL);
    int err = 0;

    if (code == SQLITE_OK)
        code = sqlite3_bind_text(query, 1, kind, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        while (!err && (code = sqlite3_step(query)) == SQLITE_ROW)
            err = read_row(d, kind, query, on_record, arg);
    if (err)
        (void)fail(why, why_size, err, d->path,
                   "a secret cannot be opened: the key is another one, or the record was changed");
    else if (code != SQLITE_DONE && code != SQLITE_OK)
        err = fail_sql(d, code, why, why_size);
    sqlite3_finalize(query);
    return err;
}

/* --- writing --- */

static int write_change(struct database *d, const struct store_change *c)
{
    sqlite3_stmt *statement = NULL;
    const char *sql = c->is_removal ? "DELETE FROM record WHERE kind = ?1 AND id = ?2"
                                    : "INSERT INTO record (kind, id, body, secret)"
                                      " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, id)"
                                      " DO UPDATE SET body = excluded.body,"
                                      " secret = excluded.secret";
    uint8_t *sealed = NULL;
    size_t n;
    int code = sqlite3_prepare_v2(d->db, sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, c->kind, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 2, c->id, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && !c->is_removal)
        code = sqlite3_bind_text(statement, 3, c->body, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && c->secret) {
        sealed = seal(d, c, &n);
        code = sqlite3_bind_blob(statement, 4, sealed, (int)n, SQLITE_STATIC);
    }
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    free(sealed);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int write_batch(struct database *d, const struct store_batch *b)
{
    int code = run(d, "BEGIN IMMEDIATE");

    LIST_EACH (&b->changes, node, after)
        if (code == SQLITE_OK)
            code = write_change(d, container_of(node, struct store_change, node));
    if (code == SQLITE_OK)
        code = run(d, "COMMIT");
    return code;
}

/* --- opening --- */

/* A path as a URI: what has a meaning there is escaped. */
static char *uri_of(const char *path, const char *query)
{
    static const char scheme[] = "file:";
    char *out = must_alloc(sizeof(scheme) + 3 * strlen(path) + strlen(query));
    char *p = stpcpy(out, scheme);

    for (; *path; path++)
        if (strchr("?#%", *path))
            p += snprintf(p, 4, "%%%02X", (unsigned)(unsigned char)*path);
        else
            *p++ = *path;
    memcpy(p, query, strlen(query) + 1);
    return out;
}

static int open_at(struct database *d, const char *query, int flags)
{
    char *uri = uri_of(d->path, query);
    int code = sqlite3_open_v2(uri, &d->db, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);

    free(uri);
    if (code == SQLITE_OK)
        code = sqlite3_extended_result_codes(d->db, 1);
    return code;
}

/* SQLite would give it the mode of the umask. */
static bool make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Before anything of it is changed: ours, or nobody's yet, for a file that somebody else made has a
 * version, a table or another mark. */
static int check_owner(struct database *d, char *why, size_t why_size)
{
    char *is_ours = value_of(d, "SELECT application_id = " APPLICATION_ID
                                " OR (application_id = 0 AND user_version = 0"
                                " AND NOT EXISTS (SELECT 1 FROM sqlite_schema))"
                                " FROM pragma_application_id, pragma_user_version");
    bool is_good = is_ours && strcmp(is_ours, "1") == 0;
    int err = 0;

    if (!is_ours)
        err = fail_sql(d, sqlite3_errcode(d->db), why, why_size);
    else if (!is_good)
        err = fail(why, why_size, -ERR_SYNTAX, d->path, "it is a database of something else");
    free(is_ours);
    return err;
}

/* -ERR_DENIED when SQLite had to do with less than writing. */
static int try_for_writing(struct database *d, char *why, size_t why_size)
{
    int code = open_at(d, "?mode=rw", SQLITE_OPEN_READWRITE), err = 0;
    char *mode = NULL;

    if (code == SQLITE_OK && sqlite3_db_readonly(d->db, "main") == 1)
        code = SQLITE_READONLY;
    if (code == SQLITE_OK)
        code = run(d, "PRAGMA locking_mode = NORMAL; PRAGMA synchronous = FULL;"
                      "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY");
    if (code == SQLITE_OK && (err = check_owner(d, why, why_size)) != 0)
        return err;
    if (code == SQLITE_OK) {
        mode = value_of(d, "PRAGMA journal_mode = WAL");
        if (!mode || strcmp(mode, "wal") != 0)
            code = mode ? SQLITE_READONLY : sqlite3_errcode(d->db);
        free(mode);
    }
    if (code == SQLITE_OK) /* the log can be read, and its index be made */
        code = run(d, "SELECT count(*) FROM sqlite_schema");
    return code == SQLITE_OK ? 0 : fail_sql(d, code, why, why_size);
}

/* For writing, on a disk that lets us. */
static int open_for_writing(struct database *d, char *why, size_t why_size)
{
    int err = try_for_writing(d, why, why_size);

    if (err)
        close_db(d);
    d->is_read_only = err == -ERR_DENIED;
    return err;
}

static bool has_log(const struct database *d)
{
    char *path = must_printf("%s-wal", d->path);
    struct stat st;
    bool has = stat(path, &st) == 0 && st.st_size > 0;

    free(path);
    return has;
}

/* For reading, where nothing can be written: not even the index of the log. */
static int open_for_reading(struct database *d, char *why, size_t why_size)
{
    static const char *const ways[] = {"?mode=ro", "?immutable=1"};
    int code = SQLITE_CANTOPEN, err = -ERR_IO;

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (i == 1 && has_log(d)) /* it would be passed over, and with it what was acknowledged */
            break;
        code = open_at(d, ways[i], SQLITE_OPEN_READONLY);
        err = code == SQLITE_OK ? check_owner(d, why, why_size) : fail_sql(d, code, why, why_size);
        if (!err)
            return 0;
        close_db(d);
    }
    return err;
}

static int migrate(struct database *d, char *why, size_t why_size)
{
    char *text = value_of(d, "PRAGMA user_version");
    unsigned long version = text ? strtoul(text, NULL, 10) : ARRAY_LEN(steps) + 1;
    int code = SQLITE_OK;

    free(text);
    if (version > ARRAY_LEN(steps))
        return fail(why, why_size, -ERR_SYNTAX, d->path, "it is of a newer version than this");
    for (; version < ARRAY_LEN(steps) && code == SQLITE_OK; version++) {
        code = run(d, "BEGIN IMMEDIATE");
        if (code == SQLITE_OK)
            code = run(d, steps[version]);
        if (code == SQLITE_OK)
            code = run(d, "COMMIT");
    }
    return code == SQLITE_OK ? 0 : fail_sql(d, code, why, why_size);
}

/* It is whole. */
static int check(struct database *d, char *why, size_t why_size)
{
    char *found = value_of(d, "PRAGMA quick_check(1)");

    if (found && strcmp(found, "ok") == 0) {
        free(found);
        return 0;
    }
    (void)fail(why, why_size, 0, d->path, found ? found : sqlite3_errmsg(d->db));
    free(found);
    return -ERR_SYNTAX;
}

/* --- the key --- */

static void on_check(void *arg, const struct store_record *record)
{
    bool *is_right = arg;

    *is_right = strcmp(record->id, CHECK_ID) == 0 && record->secret_len == strlen(CHECK_TEXT) &&
                memcmp(record->secret, CHECK_TEXT, strlen(CHECK_TEXT)) == 0;
}

static int write_check(struct database *d, char *why, size_t why_size)
{
    struct store_batch *b = store_batch_new();
    int err;

    store_batch_put(b, META_KIND, CHECK_ID, "", CHECK_TEXT, strlen(CHECK_TEXT));
    err = database_write(d, b, why, why_size);
    store_batch_free(b);
    return err;
}

/* A record that only this key opens is there from the beginning: a wrong one is told as such. */
static int check_key(struct database *d, char *why, size_t why_size)
{
    char *count = value_of(d, "SELECT count(*) FROM record WHERE kind = '" META_KIND "'");
    bool is_new = count && strcmp(count, "0") == 0, is_right = false;
    int err;

    free(count);
    if (is_new && sqlite3_db_readonly(d->db, "main") == 1)
        return fail(why, why_size, -ERR_DENIED, d->path, "it is empty and cannot be written");
    if (is_new)
        return write_check(d, why, why_size);
    err = database_load(d, META_KIND, on_check, &is_right, why, why_size);
    if (err == -ERR_AUTH || (!err && !is_right))
        return fail(why, why_size, -ERR_AUTH, d->path, "it was made with another key");
    return err;
}

static void note_file(struct database *d)
{
    struct stat st;

    if (stat(d->path, &st) == 0) {
        d->dev = st.st_dev;
        d->ino = st.st_ino;
    }
}

/* With the schema as it is now, in a file that is made where there is none. */
static int make_writable(struct database *d, char *why, size_t why_size)
{
    int err;

    if (make_file(d->path))
        log_info("store", "made", LOG_S("path", d->path));
    err = open_for_writing(d, why, why_size);
    return err ? err : migrate(d, why, why_size);
}

int database_init(struct database *d, const char *path, const uint8_t key[STORE_KEY_BYTES],
                  const char *no_lock, char *why, size_t why_size)
{
    char for_writing[STORE_WHY_BYTES] = "";
    bool is_for_reading = false;
    int err = -ERR_DENIED;

    *d = (struct database){.path = must_strdup(path)};
    memcpy(d->key, key, STORE_KEY_BYTES);
    if (no_lock)
        snprintf(for_writing, sizeof(for_writing), "%s", no_lock);
    else
        err = make_writable(d, for_writing, sizeof(for_writing));
    if (err && err != -ERR_SYNTAX && err != -ERR_CONFLICT) {
        close_db(d);
        d->is_read_only = err == -ERR_DENIED;
        is_for_reading = open_for_reading(d, why, why_size) == 0;
        err = is_for_reading ? 0 : err;
    }
    if (err) /* the first: that it cannot be read either is the same trouble */
        snprintf(why, why_size, "%s", for_writing);
    if (!err)
        err = check(d, why, why_size);
    if (!err)
        err = check_key(d, why, why_size);
    if (!err)
        note_file(d);
    if (!err && is_for_reading)
        log_warn("store", "read_only", LOG_S("why", for_writing));
    return err;
}

int database_look(struct database *d, const char *path, const uint8_t key[STORE_KEY_BYTES],
                  char *why, size_t why_size)
{
    int code, err;

    *d = (struct database){.path = must_strdup(path), .is_read_only = true};
    memcpy(d->key, key, STORE_KEY_BYTES);
    /* Without a log nothing is missed, and SQLite makes no file beside it. */
    code = open_at(d, has_log(d) ? "?mode=ro" : "?immutable=1", SQLITE_OPEN_READONLY);
    err = code == SQLITE_OK ? check_owner(d, why, why_size) : fail_sql(d, code, why, why_size);
    if (!err)
        err = check(d, why, why_size);
    if (!err)
        err = check_key(d, why, why_size);
    return err;
}

void database_fini(struct database *d)
{
    close_db(d);
    free(d->path);
    tls_wipe(d->key, sizeof(d->key));
    *d = (struct database){0};
}

/* The one that was loaded: another one in its place would lack what is known to be durable. */
static bool is_same_file(const struct database *d)
{
    struct stat st;

    return d->dev == 0 || (stat(d->path, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino);
}

static int be_writable(struct database *d, char *why, size_t why_size)
{
    if (!is_same_file(d))
        return fail(why, why_size, -ERR_IO, d->path, "the file was moved or replaced");
    if (d->db && sqlite3_db_readonly(d->db, "main") == 0)
        return 0;
    close_db(d);
    return open_for_writing(d, why, why_size);
}

int database_write(struct database *d, const struct store_batch *b, char *why, size_t why_size)
{
    int err = be_writable(d, why, why_size), code;

    if (err)
        return err;
    code = write_batch(d, b);
    if (code == SQLITE_OK)
        return 0;
    err = fail_sql(d, code, why, why_size);
    if (!sqlite3_get_autocommit(d->db))
        (void)run(d, "ROLLBACK");
    if (err != -ERR_FULL) /* what a disk fault left of the connection is not relied on */
        close_db(d);
    return err;
}
