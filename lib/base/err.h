/* err - the errors that functions return, and what one step of input or output can say.
 *
 * A function that can fail returns 0 or -ERR_x; its header lists which.  Three kinds exist:
 * ours (a bug: must()), theirs (bytes of a peer: ERR_PROTO and its relatives), the world's
 * (memory, descriptors, the network).  Would-block and end of file are no errors: enum io.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_LIST(X)                                                                                \
    X(NONE, "none")                                                                                \
    X(PROTO, "the peer broke the protocol")                                                        \
    X(SYNTAX, "the text is not well formed")                                                       \
    X(TOO_BIG, "larger than its limit allows")                                                     \
    X(FULL, "no room")                                                                             \
    X(NOMEM, "out of memory")                                                                      \
    X(LIMIT, "a limit is reached")                                                                 \
    X(NOT_FOUND, "not found")                                                                      \
    X(CONFLICT, "in conflict with the present state")                                              \
    X(AUTH, "not authenticated")                                                                   \
    X(DENIED, "not allowed")                                                                       \
    X(TIMEOUT, "timed out")                                                                        \
    X(RESOLVE, "the name does not resolve")                                                        \
    X(CONNECT, "no connection could be made")                                                      \
    X(RESET, "the connection was reset")                                                           \
    X(CLOSED, "the connection was closed")                                                         \
    X(TLS, "TLS failed")                                                                           \
    X(CERT, "the certificate is not acceptable")                                                   \
    X(IO, "input or output failed")                                                                \
    X(SYS, "a system call failed")

#define X(name, text) ERR_##name,
enum err { ERR_LIST(X) ERR_COUNT };
#undef X

/* "proto" for -ERR_PROTO or ERR_PROTO: a metric label, a log field. */
const char *err_name(int err);
/* "the peer broke the protocol": for people. */
const char *err_text(int err);

/* What one step of reading or writing ended with. */
enum io {
    IO_OK,   /* it moved: more may be possible */
    IO_WAIT, /* nothing now: wait for the descriptor */
    IO_EOF,  /* the other side ended in order */
    IO_FAIL, /* broken for good */
};

#endif
