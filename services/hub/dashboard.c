/* dashboard - the page that shows the hub in a browser (dashboard/): a handful of files inside the
 * program.  They hold no data; the page asks the API for it, as anybody would. */
#include <string.h>

#include "base/embed.h"
#include "hub/hub_api_json.h"

/* X(symbol, file, type) */
#define JAVASCRIPT "text/javascript; charset=utf-8"
#define DASHBOARD_FILES(X)                                                                         \
    X(index, "index.html", "text/html; charset=utf-8")                                             \
    X(style, "style.css", "text/css; charset=utf-8")                                               \
    X(icon, "icon.svg", "image/svg+xml")                                                           \
    X(app, "app.js", JAVASCRIPT)                                                                   \
    X(api, "api.js", JAVASCRIPT)                                                                   \
    X(board, "board.js", JAVASCRIPT)                                                               \
    X(dialogs, "dialogs.js", JAVASCRIPT)                                                           \
    X(dom, "dom.js", JAVASCRIPT)                                                                   \
    X(events, "events.js", JAVASCRIPT)                                                             \
    X(format, "format.js", JAVASCRIPT)                                                             \
    X(sheet, "sheet.js", JAVASCRIPT)                                                               \
    X(sparkline, "sparkline.js", JAVASCRIPT)                                                       \
    X(store, "store.js", JAVASCRIPT)                                                               \
    X(words, "words.js", JAVASCRIPT)

#define X(symbol, file, type)                                                                      \
    EMBED_TEXT(dashboard_##symbol, "../services/hub/dashboard/" file);                             \
    extern const char dashboard_##symbol[];
DASHBOARD_FILES(X)
#undef X

static const struct admin_page pages[] = {
#define X(symbol, file, type) {file, type, dashboard_##symbol},
    DASHBOARD_FILES(X)
#undef X
};

void api_get_dashboard(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply_page(r, &pages[0]);
}

void api_get_dashboard_file(void *service, struct admin_request *r)
{
    const char *name = admin_param(r, "file");

    (void)service;
    for (size_t i = 1; i < ARRAY_LEN(pages); i++)
        if (strcmp(pages[i].name, name) == 0) {
            admin_reply_page(r, &pages[i]);
            return;
        }
    admin_problem(r, 404, "notFound", "the dashboard has no such file");
}
