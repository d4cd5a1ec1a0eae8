/** Milliseconds, about 25 days. A timer of Node that is longer comes at once. */
export const longestTimer = 2 ** 31 - 1
