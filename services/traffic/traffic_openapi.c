/* traffic_openapi - api/traffic.yaml and what it refers to, inside the program: GET /openapi.yaml.
 */
#include "traffic/traffic_api_json.h"

/* The assembler looks below the folders of -I, one of which is lib/. */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".globl " symbol "\n" symbol ":\n"                                                     \
            ".incbin \"../api/" file "\"\n"                                                        \
            ".byte 0\n"                                                                            \
            ".popsection\n")

EMBED("traffic_openapi", "traffic.yaml");
EMBED("traffic_openapi_common", "common.yaml");
