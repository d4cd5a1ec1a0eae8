/**
 * The example of the page `guide/sync-apps.md`.
 */
import * as Thread from "@ambit/node/Thread"

export const House = Thread.contract<{
  temperature: (room: string) => number
  heat: (room: string) => void
}>("house")

export const Rules = Thread.app(import.meta, "rules", {
  onStart: (config: { readonly wanted: number }) => ({ wanted: config.wanted, heated: 0 }),
  handlers: {
    check: (state, room: string): boolean => {
      if (Thread.call(House, "temperature", room) >= state.wanted) return false
      Thread.call(House, "heat", room)
      state.heated++
      return true
    },
    want: (state, celsius: number) => {
      state.wanted = celsius
    },
    heated: (state) => state.heated
  },
  onStop: (state) => Thread.log("Info", `heated ${state.heated} times`)
})
