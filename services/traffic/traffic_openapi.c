/* traffic_openapi - api/traffic.yaml and what it refers to, inside the program: GET /openapi.yaml.
 */
#include "base/embed.h"
#include "traffic/traffic_api_json.h"

EMBED_TEXT(traffic_openapi, "../api/traffic.yaml");
EMBED_TEXT(traffic_openapi_common, "../api/common.yaml");
