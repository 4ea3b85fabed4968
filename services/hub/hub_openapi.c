/* hub_openapi - api/hub.yaml and what it refers to, inside the program: GET /openapi.yaml. */
#include "base/embed.h"
#include "hub/hub.h"

EMBED_TEXT(hub_openapi, "../api/hub.yaml");
EMBED_TEXT(hub_openapi_common, "../api/common.yaml");
