/* hub_api_json - the hub's part of the management API (api/hub.yaml).  Its handlers, one file a
 * noun:
 *
 *   hub_api_json.c        the table of routes, GET /v1/status
 *   edges_api_json.c      /v1/edges and /v1/edges/{id}
 *   credentials_api_json.c  /v1/edges/{id}/token, /secret, /connection
 *   streams_api_json.c    /v1/edges/{id}/streams
 *   dashboard.c           / and /dashboard/: the page that a browser shows
 */
#ifndef HUB_HUB_API_JSON_H
#define HUB_HUB_API_JSON_H

#include "admin/admin.h"
#include "hub/hub.h"

struct json_object;

/* The edge of the path, or NULL: 404 has been answered. */
struct edge *api_find_edge(const struct hub *h, struct admin_request *r);
void api_add_str(struct json_object *o, const char *key, const char *value); /* NULL: null */
void api_add_int(struct json_object *o, const char *key, uint64_t value);
struct json_object *api_ports(const struct port_list *l);

void api_get_edges(void *service, struct admin_request *r);
void api_post_edges(void *service, struct admin_request *r);
void api_put_edges(void *service, struct admin_request *r);
void api_get_edge(void *service, struct admin_request *r);
void api_patch_edge(void *service, struct admin_request *r);
void api_delete_edge(void *service, struct admin_request *r);

void api_post_token(void *service, struct admin_request *r);
void api_post_secret(void *service, struct admin_request *r);
void api_delete_connection(void *service, struct admin_request *r);

void api_get_streams(void *service, struct admin_request *r);

void api_get_dashboard(void *service, struct admin_request *r);
void api_get_dashboard_file(void *service, struct admin_request *r);

#endif
