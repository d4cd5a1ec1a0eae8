/**
 * Watches the event loop: ticks whenever the loop lets it, and keeps the
 * longest gap between two ticks. `stop` gives that in milliseconds.
 */
export const watchLoop = (): { readonly stop: () => number } => {
  let last = performance.now()
  let longest = 0
  let watching = true
  const look = () => {
    const at = performance.now()
    longest = Math.max(longest, at - last)
    last = at
  }
  const tick = () => {
    if (!watching) return
    look()
    setImmediate(tick)
  }
  setImmediate(tick)
  return {
    stop: () => {
      watching = false
      look()
      return longest
    }
  }
}
