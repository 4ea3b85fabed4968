/* hub_openapi - api/hub.yaml and what it refers to, inside the program: GET /openapi.yaml. */
#include "hub/hub.h"

/* The assembler looks below the folders of -I, one of which is lib/. */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".globl " symbol "\n" symbol ":\n"                                                     \
            ".incbin \"../api/" file "\"\n"                                                        \
            ".byte 0\n"                                                                            \
            ".popsection\n")

EMBED("hub_openapi", "hub.yaml");
EMBED("hub_openapi_common", "common.yaml");
