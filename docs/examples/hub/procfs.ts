/**
 * The texts that Linux shows under `/proc`, as numbers. Pure: text in, numbers
 * out, `undefined` when the text is not what it should be.
 */

/** Processor time since the start of the machine, in ticks of all processors together. */
export interface CpuTime {
  readonly busy: number
  readonly total: number
}

/** Bytes. */
export interface Memory {
  readonly used: number
  readonly total: number
}

/** Bytes since the start of the machine, in both directions. */
export interface Traffic {
  readonly read: number
  readonly written: number
}

const fieldsOf = (line: string): ReadonlyArray<string> => line.trim().split(/\s+/)

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line.trim() !== "")

/** Reads the line of all processors from `/proc/stat`. */
export const parseCpu = (text: string): CpuTime | undefined => {
  const line = linesOf(text).find((line) => line.startsWith("cpu "))
  if (line === undefined) return undefined
  // user nice system idle iowait irq softirq steal; the guest times that follow are part of user and nice.
  const ticks = fieldsOf(line).slice(1, 9).map(Number)
  if (ticks.length < 4 || ticks.some(Number.isNaN)) return undefined
  const total = ticks.reduce((sum, tick) => sum + tick, 0)
  return { busy: total - ticks[3]! - (ticks[4] ?? 0), total }
}

/** Reads `/proc/meminfo`. What the kernel can take back at once counts as free. */
export const parseMemory = (text: string): Memory | undefined => {
  const kilobytes = new Map(
    linesOf(text).map((line) => {
      const [name = "", value] = line.split(":")
      return [name, Number.parseInt(value ?? "", 10)] as const
    })
  )
  const total = kilobytes.get("MemTotal")
  const available = kilobytes.get("MemAvailable") ?? kilobytes.get("MemFree")
  if (total === undefined || available === undefined || Number.isNaN(total - available)) return undefined
  return { used: (total - available) * 1024, total: total * 1024 }
}

/** A sector is 512 bytes in `/proc/diskstats`, whatever the disk says of itself. */
const sectorBytes = 512

/** Devices that live in memory, in a file or on top of other disks. */
const isVirtualDisk = (name: string): boolean => /^(?:loop|ram|zram|dm-|md|sr|fd)/.test(name)

/** A partition is named after its disk: `sda1` is on `sda`, `nvme0n1p2` on `nvme0n1`. */
const isPartition = (name: string, names: ReadonlyArray<string>): boolean =>
  names.some((disk) => disk !== name && name.startsWith(disk) && /^p?\d+$/.test(name.slice(disk.length)))

/** Adds up `/proc/diskstats`, each real disk once. */
export const parseDisks = (text: string): Traffic | undefined => {
  const devices = linesOf(text).map(fieldsOf)
  const names = devices.map((fields) => fields[2] ?? "")
  const disks = devices.filter(([, , name = ""]) => !isVirtualDisk(name) && !isPartition(name, names))
  return sum(disks.map((fields) => ({
    read: Number(fields[5]) * sectorBytes,
    written: Number(fields[9]) * sectorBytes
  })))
}

/** Interfaces whose traffic stays inside, or passes through another one that is counted. */
const isVirtualInterface = (name: string): boolean => /^(?:lo$|veth|docker|br-|virbr|tun|tap)/.test(name)

/** Adds up `/proc/net/dev`: bytes received and sent, each real interface once. */
export const parseNetwork = (text: string): Traffic | undefined => {
  const interfaces = linesOf(text).flatMap((line) => {
    const [name = "", counters] = line.split(":")
    if (counters === undefined || isVirtualInterface(name.trim())) return []
    const fields = fieldsOf(counters)
    return [{ read: Number(fields[0]), written: Number(fields[8]) }]
  })
  return sum(interfaces)
}

const sum = (all: ReadonlyArray<Traffic>): Traffic | undefined => {
  const total = all.reduce((sum, one) => ({ read: sum.read + one.read, written: sum.written + one.written }), {
    read: 0,
    written: 0
  })
  return Number.isNaN(total.read + total.written) ? undefined : total
}
