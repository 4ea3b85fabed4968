/* embed - the text of a file inside the program, NUL-ended:
 *
 *   EMBED_TEXT(edge_openapi, "../api/edge.yaml");        in one .c file
 *   extern const char edge_openapi[];                    where it is used
 *
 * The assembler looks for the file below the folders of -I, one of which is lib/.  The compiler's
 * dependencies do not show it: CMake has to (OBJECT_DEPENDS).
 */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#define EMBED_TEXT(symbol, file)                                                                   \
    __asm__(".pushsection .rodata\n"                                                               \
            ".globl " #symbol "\n" #symbol ":\n"                                                   \
            ".incbin \"" file "\"\n"                                                               \
            ".byte 0\n"                                                                            \
            ".popsection\n")

#endif
