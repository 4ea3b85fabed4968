/* script - an input as steps: opcodes and operands, a byte each; past its end all are 0. */
#ifndef FUZZ_SCRIPT_H
#define FUZZ_SCRIPT_H

#include <stdint.h>

struct script {
    const uint8_t *at, *end;
};

static inline uint8_t take(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

#endif
