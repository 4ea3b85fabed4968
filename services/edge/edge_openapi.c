/* edge_openapi - api/edge.yaml and what it refers to, inside the program: GET /openapi.yaml. */
#include "base/embed.h"
#include "edge/edge.h"

EMBED_TEXT(edge_openapi, "../api/edge.yaml");
EMBED_TEXT(edge_openapi_common, "../api/common.yaml");
