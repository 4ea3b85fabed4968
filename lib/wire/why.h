/* why - what was wrong with something a peer, or a person, gave: one line for the log. */
#ifndef WIRE_WHY_H
#define WIRE_WHY_H

#define WIRE_WHY_MAX 200

/* Filled by a parse function that fails, always ended by a NUL; never holds a secret. */
struct wire_why {
    char text[WIRE_WHY_MAX];
};

#endif
