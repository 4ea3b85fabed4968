/* token_command - `penstock-hub token encode|decode`, for scripts. */
#ifndef HUB_TOKEN_COMMAND_JSON_H
#define HUB_TOKEN_COMMAND_JSON_H

/* The arguments behind "token" (NULL-ended); the exit status: 0, 1 (a bad token), 2 (bad usage).
 *
 *   encode [hubHost=H] [hubPort=P] [edgeId=E] [pin=X]   the rest, with the secret, as JSON on
 * standard input: arguments are seen by every user decode [--show-secret] [FILE] the token from
 * FILE or standard input */
int token_command(char **rest);

#endif
