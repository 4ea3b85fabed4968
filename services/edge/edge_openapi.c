/* edge_openapi - api/edge.yaml and api/common.yaml inside the program, as GET /openapi.yaml gives
 * them.  The assembler looks below the folders of -I, one of which is lib/. */
#include "edge/edge.h"

__asm__(".pushsection .rodata\n"
        ".globl edge_openapi\n"
        "edge_openapi:\n"
        ".incbin \"../api/edge.yaml\"\n"
        ".byte 0\n"
        ".globl edge_openapi_common\n"
        "edge_openapi_common:\n"
        ".incbin \"../api/common.yaml\"\n"
        ".byte 0\n"
        ".popsection\n");
