import { assert, describe, it } from "@effect/vitest"
import { parseCpu, parseDisks, parseMemory, parseNetwork } from "../procfs.ts"

describe("/proc/stat", () => {
  const text = `cpu  100 20 30 800 40 5 3 2 10 1
cpu0 50 10 15 400 20 3 2 1 5 1
intr 12345 0 0
`

  it("what is neither idle nor waiting for a disk is busy, and guests are not counted twice", () => {
    assert.deepStrictEqual(parseCpu(text), { busy: 160, total: 1000 })
  })

  it("an old kernel that tells four numbers is understood", () => {
    assert.deepStrictEqual(parseCpu("cpu 1 2 3 4\n"), { busy: 6, total: 10 })
  })

  it("another text is refused", () => {
    for (const other of ["", "cpu0 1 2 3 4\n", "cpu  one two three four\n", "cpu 1 2\n"]) {
      assert.isUndefined(parseCpu(other), other)
    }
  })
})

describe("/proc/meminfo", () => {
  it("what the kernel can take back at once counts as free", () => {
    const text = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\nHugePages_Total:   0\n"
    assert.deepStrictEqual(parseMemory(text), { used: 300 * 1024, total: 1000 * 1024 })
  })

  it("an old kernel that tells only what is free is understood", () => {
    assert.deepStrictEqual(parseMemory("MemTotal: 10 kB\nMemFree: 4 kB\n"), { used: 6 * 1024, total: 10 * 1024 })
  })

  it("another text is refused", () => {
    for (const other of ["", "MemTotal: 10 kB\n", "MemTotal: x kB\nMemFree: y kB\n"]) {
      assert.isUndefined(parseMemory(other), other)
    }
  })
})

describe("/proc/diskstats", () => {
  const line = (name: string, sectorsRead: number, sectorsWritten: number) =>
    `   8       0 ${name} 9 9 ${sectorsRead} 9 9 9 ${sectorsWritten} 9 9 9 9\n`

  it("a sector is 512 bytes, and disks are added up", () => {
    const text = line("sda", 2, 4) + line("nvme0n1", 10, 20)
    assert.deepStrictEqual(parseDisks(text), { read: 12 * 512, written: 24 * 512 })
  })

  it("a partition is not counted again", () => {
    const text = ["sda", "sda1", "sda12", "nvme0n1", "nvme0n1p1", "mmcblk0", "mmcblk0p2", "vdb"]
      .map((name) => line(name, 1, 1))
      .join("")
    assert.deepStrictEqual(parseDisks(text), { read: 4 * 512, written: 4 * 512 })
  })

  it("a disk whose partitions alone are listed is counted by them", () => {
    assert.deepStrictEqual(parseDisks(line("xvda1", 1, 2)), { read: 512, written: 1024 })
  })

  it("devices in memory, in files and on top of other disks are left out", () => {
    const text = ["loop0", "ram1", "zram0", "dm-0", "md127", "sr0"].map((name) => line(name, 1, 1)).join("")
    assert.deepStrictEqual(parseDisks(text), { read: 0, written: 0 })
  })

  it("another text is refused", () => {
    assert.isUndefined(parseDisks("   8 0 sda many few\n"))
  })
})

describe("/proc/net/dev", () => {
  const header = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
`

  it("real interfaces are added up, in both directions", () => {
    const text = `${header}  eth0: 1000 9 0 0 0 0 0 0 200 9 0 0 0 0 0 0\n wlan0:30 9 0 0 0 0 0 0 4 9 0 0 0 0 0 0\n`
    assert.deepStrictEqual(parseNetwork(text), { read: 1030, written: 204 })
  })

  it("traffic that stays inside is left out", () => {
    const names = ["lo", "docker0", "veth12ab", "br-77", "virbr0", "tun0"]
    const text = header + names.map((name) => `${name}: 5 9 0 0 0 0 0 0 5 9 0 0 0 0 0 0\n`).join("")
    assert.deepStrictEqual(parseNetwork(text), { read: 0, written: 0 })
  })

  it("another text is refused", () => {
    assert.isUndefined(parseNetwork(`${header}  eth0: lots\n`))
  })
})
