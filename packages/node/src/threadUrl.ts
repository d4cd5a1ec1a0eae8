/**
 * Where the code of a thread is.
 *
 * @since 0.1.0
 */

// This file stands beside `threadMain`, and has the same ending: as TypeScript, compiled, and in a bundle that has
// `@ambit/node/threadMain` as an input of its own.
const ending = import.meta.url.slice(import.meta.url.lastIndexOf("."))

/**
 * The URL of the module that every thread begins with.
 *
 * @category threads
 * @since 0.1.0
 */
export const threadUrl: string = new URL(`./threadMain${ending}`, import.meta.url).href
