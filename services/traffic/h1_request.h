/* h1_request - a request's head in HTTP/1: from bytes to struct http_request, or the reason why
 * not.
 *
 * Every ambiguity is an error (RFC 9112 sections 3, 6 and 11.2): see the table of tests in
 * tests/e2e/test_traffic_smuggling.py.
 */
#ifndef TRAFFIC_H1_REQUEST_H
#define TRAFFIC_H1_REQUEST_H

#include "traffic/h1_scan.h"

/* A whole head (h1_scan_run() found its end).  `scheme` is what an absolute-form target must have:
 * "https" or "http".  Texts in *out point into the head. */
enum traffic_reason h1_request_parse(struct http_request *out, const char *head,
                                     const struct h1_scan *scan, const struct h1_limits *limits,
                                     const char *scheme);

/* An early look at a first line when the head is not whole: REASON_NONE, or why it will never be.
 */
enum traffic_reason h1_request_line_check(const char *line, size_t n);

#endif
